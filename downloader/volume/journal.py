"""The byte ranges of a partial, its journal of those that are on the disk for certain, and when that is written.

A record is written only after its bytes have been synced. So a journal that is lost, torn, damaged or of a newer
version costs at worst a second download of bytes, and never their correctness. A kill loses exactly the bytes that are
in no journal: as soon as they reach a limit, over all partials together, a group sync writes them down.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

from downloader.artifact import Span
from downloader.filesystem import InTheWay, NotThere, discard
from downloader.volume.record_log import RecordLog, encode, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from downloader.filesystem import FileOperations

VERSION = 1
_MAX_RANGES = 10_000
"""Disjoint ranges of one partial; a run leaves about as many as it has connections."""
_MAX_SIZE = 64 << 20
"""Size in bytes from which a journal is ignored: ours are far smaller."""
SYNC_PARTIALS_TOGETHER = 3
"""Number of files from which one sync of the whole file system is cheaper than a sync of each file (ADR 29)."""


class ByteRanges:
    """Bytes of one file as sorted ranges that neither touch nor overlap. Not thread-safe."""

    def __init__(self, ranges: Iterable[Span] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for span in ranges:
            self.add(span)

    def add(self, span: Span) -> None:
        """Add a range; bytes that are in the set already do no harm."""
        if span.start >= span.stop:
            return
        if not self._starts:
            self._starts, self._stops = [span.start], [span.stop]
            return
        first = bisect_left(self._stops, span.start)
        last = bisect_right(self._starts, span.stop)
        start, stop = span.start, span.stop
        if first < last:
            start, stop = min(start, self._starts[first]), max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]

    def has_all(self, size: int) -> bool:
        """Return whether there is no gap between 0 and `size`."""
        starts, stops = self._starts, self._stops
        return not size or (len(starts) == 1 and starts[0] == 0 and stops[0] >= size)

    def missing(self, size: int) -> list[Span]:
        """Return the gaps between 0 and `size`."""
        starts, stops = [0, *self._stops], [*self._starts, size]
        return [Span(start, stop) for start, stop in zip(starts, stops, strict=True) if start < stop]

    @property
    def size(self) -> int:
        """Bytes in the set."""
        return sum(self._stops) - sum(self._starts)

    def __iter__(self) -> Iterator[Span]:
        return (Span(start, stop) for start, stop in zip(self._starts, self._stops, strict=True))

    def __len__(self) -> int:
        return len(self._starts)

    def __bool__(self) -> bool:
        return bool(self._starts)


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


class Syncable(Protocol):
    """A file with a journal: what a group sync needs of it."""

    def pending(self) -> AbstractContextManager[ByteRanges]:
        """Yield the ranges that are complete but not journalled yet. No other thread syncs or closes meanwhile."""

    def write_journal(self, ranges: ByteRanges, *, synced: bool) -> None:
        """Sync, unless everything has been `synced` already, and append the ranges to the journal."""


class GroupSync:
    """Flushes every partial as soon as `limit` bytes are pending, in the thread that wrote the last of them.

    The limit is shared, so that a killed run loses the same few bytes whether it had one file open or fifty.
    """

    def __init__(
        self, limit: int, sync_everything: Callable[[], bool], *, written: Callable[[], None] = lambda: None
    ) -> None:
        """`sync_everything` syncs the whole file system; it returns False if it cannot, or cannot be trusted.

        `written` is called after the journals of a group, or one of a file alone: to write where they are one file.
        """
        self._limit = limit
        self._sync_everything = sync_everything
        self.written = written
        self._pending: dict[Syncable, int] = {}
        self._lock = threading.Lock()
        self._flushing = threading.Lock()

    def add(self, partial: Syncable, count: int) -> None:
        """Add `count` pending bytes of a partial, and flush if the limit is reached.

        One thread flushes while the others continue to write. Only when they have written another `limit` bytes do they
        wait for it: on a slow disk, pending bytes would otherwise grow without bound.
        """
        with self._lock:
            self._pending[partial] = self._pending.get(partial, 0) + count
            pending = sum(self._pending.values())
        if pending < self._limit or not self._flushing.acquire(blocking=pending >= 2 * self._limit):
            return
        try:
            self.flush()
        finally:
            self._flushing.release()

    def flush(self) -> None:
        """Flush every partial with pending bytes; many of them with one sync of the file system where that works."""
        with self._lock:
            partials = list(self._pending)
        with ExitStack() as locks:
            # All ranges are taken before the sync: bytes that are written during it go into the next journal record.
            pending = [(partial, locks.enter_context(partial.pending())) for partial in partials]
            synced = len(pending) >= SYNC_PARTIALS_TOGETHER and self._sync_everything()
            for partial, ranges in pending:
                partial.write_journal(ranges, synced=synced)
        self.written()

    def forget(self, partial: Syncable) -> None:
        """Remove a partial: its bytes are in the journal, or it is closed."""
        with self._lock:
            self._pending.pop(partial, None)
