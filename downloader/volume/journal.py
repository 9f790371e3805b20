"""The journal of a partial: which of its bytes are on the disk for certain.

A line is written only after the bytes that it names were synced, so the worst that a lost, torn, damaged or future
journal can do is to cost bytes that are fetched again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.artifact import Span
from downloader.filesystem import InTheWay, NotThere
from downloader.volume.byte_ranges import ByteRanges
from downloader.volume.record_log import RecordLog, encode, read

if TYPE_CHECKING:
    from downloader.filesystem import FileOperations

VERSION = 1
_MOST_SPANS = 10_000
"""Spans that do not touch: a run of ours leaves about as many as it has connections."""
_LARGEST = 64 << 20
"""Bytes of a journal that is read: far more than any of ours has."""


def load(files: FileOperations, path: str, identity: str, size: int) -> ByteRanges:
    """Return what the journal at `path` says of a partial of that content and size; nothing if it is in doubt."""
    spans = ByteRanges()
    try:
        handle = files.open(path)
    except (NotThere, InTheWay):
        return spans
    try:
        lines = read(files, handle)
        if files.handle_stat(handle).size > _LARGEST or next(lines, None) != ["journal", VERSION, identity, size]:
            return spans
        for line in lines:
            match line:
                case ["bytes", int(start), int(stop)] if 0 <= start < stop <= size:
                    spans.add(Span(start, stop))
                    if len(spans) > _MOST_SPANS:
                        return ByteRanges()
    finally:
        files.close(handle)
    return spans


class Journal:
    """Writes a journal. Not for several threads at once."""

    def __init__(self, files: FileOperations, path: str, identity: str, size: int) -> None:
        self._files = files
        self._path = path
        self._header = encode("journal", VERSION, identity, size)
        self._appender: RecordLog | None = None

    def append(self, spans: ByteRanges) -> None:
        """Record bytes that were synced before, and sync the record."""
        if self._appender is None:
            self._appender = RecordLog(self._files, self._path, self._header)
        self._appender.append(b"".join(encode("bytes", span.start, span.stop) for span in spans))
        self._appender.sync()

    def close(self) -> None:
        """Close the file."""
        if self._appender is not None:
            self._appender.close()
            self._appender = None
