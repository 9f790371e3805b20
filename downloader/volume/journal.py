"""The journal of a partial: the byte ranges that are on the disk for certain.

A record is written only after its bytes have been synced. So a journal that is lost, torn, damaged or of a newer
version costs at worst a second download of bytes, and never their correctness.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.artifact import Span
from downloader.filesystem import InTheWay, NotThere, discard
from downloader.volume.byte_ranges import ByteRanges
from downloader.volume.record_log import RecordLog, encode, read

if TYPE_CHECKING:
    from downloader.filesystem import FileOperations

VERSION = 1
_MAX_RANGES = 10_000
"""Disjoint ranges of one partial; a run leaves about as many as it has connections."""
_MAX_SIZE = 64 << 20
"""Size in bytes from which a journal is ignored: ours are far smaller."""


def load(files: FileOperations, path: str, identity: str, size: int) -> ByteRanges:
    """Return the ranges in the journal at `path`; none if it is not of a partial of that content and size."""
    ranges = ByteRanges()
    try:
        handle = files.open(path)
    except (NotThere, InTheWay):
        return ranges
    try:
        lines = read(files, handle)
        if files.handle_stat(handle).size > _MAX_SIZE or next(lines, None) != ["journal", VERSION, identity, size]:
            return ranges
        for line in lines:
            match line:
                case ["bytes", int(start), int(stop)] if 0 <= start < stop <= size:
                    ranges.add(Span(start, stop))
                    if len(ranges) > _MAX_RANGES:
                        return ByteRanges()
    finally:
        files.close(handle)
    return ranges


class Journal:
    """Writes a journal. Not thread-safe."""

    def __init__(self, files: FileOperations, path: str, identity: str, size: int) -> None:
        self._files = files
        self._path = path
        self._header = encode("journal", VERSION, identity, size)
        self._appender: RecordLog | None = None

    def append(self, ranges: ByteRanges) -> None:
        """Append a record of ranges that have been synced, and sync it."""
        if self._appender is None:
            self._appender = RecordLog(self._files, self._path, self._header)
        self._appender.append(b"".join(encode("bytes", span.start, span.stop) for span in ranges))
        self._appender.sync()

    def discard(self) -> None:
        """Remove the journal of a file that has its final name."""
        discard(self._files, self._path)

    def close(self) -> None:
        """Close the journal."""
        if self._appender is not None:
            self._appender.close()
            self._appender = None
