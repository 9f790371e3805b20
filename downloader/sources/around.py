"""What the thin sources around a source have in common: they are that source in all that they do not change."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from downloader.artifact import Manifest, RemoteFile, Span
    from downloader.sources import Body, Source


class Around:
    """A source that hands everything on to another one."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def version(self) -> str | None:
        """Return the source's version."""
        return self._source.version()

    def manifest(self) -> Manifest:
        """Return the source's manifest."""
        return self._source.manifest()

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Start reading a span."""
        return self._source.open(file, span)

    def announce(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Pass on what will be opened next."""
        self._source.announce(pieces)

    def close(self) -> None:
        """Close the source."""
        self._source.close()
