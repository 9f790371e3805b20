"""When to sync: the bytes of all partials together that no journal has yet, and so would be fetched again."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from downloader.volume.byte_ranges import ByteRanges

TOGETHER = 3
"""Files from which on one sync of everything is cheaper than a sync of each."""


class Syncable(Protocol):
    """A file with a journal: what a group sync needs of it."""

    def pending(self) -> AbstractContextManager[ByteRanges]:
        """Yield the ranges that are complete but not journalled yet. No other thread syncs or closes meanwhile."""

    def note(self, spans: ByteRanges, *, synced: bool) -> None:
        """Sync, unless everything has been `synced` already, and append the ranges to the journal."""


class GroupSync:
    """Flushes every partial as soon as `limit` bytes are waiting, in the thread that brought the last of them.

    One limit for all of them, so that a killed run loses the same few bytes whether it had one file open or fifty.
    """

    def __init__(self, limit: int, sync_everything: Callable[[], bool]) -> None:
        """`sync_everything` syncs all files at once, or tells that it cannot."""
        self._limit = limit
        self._sync_everything = sync_everything
        self._waiting: dict[Syncable, int] = {}
        self._lock = threading.Lock()
        self._flushing = threading.Lock()

    def add(self, partial: Syncable, count: int) -> None:
        """Count bytes in, and flush if it is time. Blocks only while twice the limit is waiting."""
        with self._lock:
            self._waiting[partial] = self._waiting.get(partial, 0) + count
            waiting = sum(self._waiting.values())
        if waiting < self._limit or not self._flushing.acquire(blocking=waiting >= 2 * self._limit):
            return
        try:
            self.flush()
        finally:
            self._flushing.release()

    def flush(self) -> None:
        """Flush every partial that has something waiting; several with one sync, where there is one for all."""
        with self._lock:
            partials = list(self._waiting)
        with ExitStack() as held:
            waiting = [(partial, held.enter_context(partial.pending())) for partial in partials]
            synced = len(waiting) >= TOGETHER and self._sync_everything()
            for partial, spans in waiting:
                partial.note(spans, synced=synced)

    def forget(self, partial: Syncable) -> None:
        """Count a partial out: its bytes are in the journal, or it is gone."""
        with self._lock:
            self._waiting.pop(partial, None)
