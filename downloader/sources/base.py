"""Sources: where an artifact is listed and served."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from downloader.artifact import Manifest, RemoteFile, Span


class Body(Protocol):
    """The bytes of one span on their way."""

    def readinto(self, view: memoryview, /) -> int:
        """Put the next bytes into `view` and return how many; 0 only after the span's last byte.

        Must raise one of our errors where bytes end early, are too many, or are of another version.
        """

    def interrupt(self) -> None:
        """Wake a reader that is blocked in another thread; its `readinto` must then raise soon."""

    def close(self) -> None:
        """Give the connection up, or keep it for the next span after the last byte. For the reading thread."""


class Source(Protocol):
    """A place that lists an artifact and serves spans of its files. Must be usable from many threads."""

    def version(self) -> str | None:
        """Return a name for what `manifest` would list now, contents included; None where that costs as much.

        Two equal names must mean equal files. Raises what `manifest` does; what was learned is kept for its next call.
        """

    def manifest(self) -> Manifest:
        """Return the complete list of files, pinned to one version. Must raise rather than leave anything out."""

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Start reading exactly these bytes of exactly this version. Raises only our errors."""

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Hear what the calling thread will `open` next, in this order, so as to ask for all of it at once.

        What was announced and has not been opened yet comes first again. Must cost nothing where it is not used, and
        raise nothing. An empty list lets go of what was announced.
        """

    def close(self) -> None:
        """Release connections."""


@runtime_checkable
class Presigning(Protocol):
    """A source whose files can also be read from plain addresses that carry their signature themselves."""

    def presigned(self) -> Source:
        """Return a source that reads them so."""


@runtime_checkable
class Recalling(Protocol):
    """A source that can name its version without being asked, if it is told what a volume holds of it."""

    def recall(self, revision: str) -> None:
        """Take `revision` for what the URI stands for, unless that is known better."""


@dataclass(frozen=True, slots=True)
class XetAccess:
    """A token for Xet's storage, and how to get the next one."""

    endpoint: str
    """The content-addressed store."""
    token: str = field(repr=False)
    expires: int
    """Seconds since the epoch."""
    refresh_url: str
    refresh_headers: Mapping[str, str] = field(repr=False)


class SourceWrapper:
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

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Pass on what will be opened next."""
        self._source.prefetch(pieces)

    def close(self) -> None:
        """Close the source."""
        self._source.close()


def folder_of(uri: str) -> str:
    """Return the URI of the folder that a URI's file lies in."""
    return uri.rpartition("/")[0] + "/"


def version_of(uri: str, facts: Iterable[str | bytes]) -> str:
    """Return one name for what these facts, in this order, say of the artifact that a URI names."""
    name = hashlib.sha256()
    for fact in (uri, *facts):
        raw = fact.encode(errors="surrogatepass") if isinstance(fact, str) else fact
        name.update(b"%d " % len(raw))  # so that no two lists of facts read the same
        name.update(raw)
    return name.hexdigest()
