"""Reading through a source as a transport would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.artifact import Span
from tests.reading import rest_of

if TYPE_CHECKING:
    from downloader.artifact import RemoteFile
    from downloader.sources import Source


def read(source: Source, file: RemoteFile, span: Span | None = None) -> bytes:
    """Return the bytes of a span, by default of the whole file."""
    return rest_of(source.open(file, span or Span(0, file.size)))


def whole(source: Source) -> dict[str, bytes]:
    """Return everything that the source lists."""
    return {file.path: read(source, file) if file.size else b"" for file in source.manifest().files}
