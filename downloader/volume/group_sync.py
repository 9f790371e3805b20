"""Decides when partials are synced: as soon as a limit of bytes, over all of them, is in no journal yet.

A kill loses exactly the bytes that are in no journal, and they are downloaded again.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from downloader.volume.journal import ByteRanges

SYNC_TOGETHER = 3
"""Number of files from which one sync of the whole file system is cheaper than a sync of each file (ADR 29)."""


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

    def __init__(self, limit: int, sync_everything: Callable[[], bool]) -> None:
        """`sync_everything` syncs the whole file system; it returns False if it cannot, or cannot be trusted."""
        self._limit = limit
        self._sync_everything = sync_everything
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
            synced = len(pending) >= SYNC_TOGETHER and self._sync_everything()
            for partial, ranges in pending:
                partial.write_journal(ranges, synced=synced)

    def forget(self, partial: Syncable) -> None:
        """Remove a partial: its bytes are in the journal, or it is closed."""
        with self._lock:
            self._pending.pop(partial, None)
