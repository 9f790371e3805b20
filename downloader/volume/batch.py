"""When to sync: the bytes of all partials together that no journal has yet, and so would be fetched again."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.volume.partial import Partial

TOGETHER = 3
"""Files from which on one sync of everything is cheaper than a sync of each."""


class Batch:
    """Flushes every partial as soon as `limit` bytes are waiting, in the thread that brought the last of them.

    One limit for all of them, so that a killed run loses the same few bytes whether it had one file open or fifty.
    """

    def __init__(self, limit: int, sync_everything: Callable[[], bool]) -> None:
        """`sync_everything` syncs all files at once, or tells that it cannot."""
        self._limit = limit
        self._sync_everything = sync_everything
        self._waiting: dict[Partial, int] = {}
        self._lock = threading.Lock()
        self._flushing = threading.Lock()

    def add(self, partial: Partial, count: int) -> None:
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

    def forget(self, partial: Partial) -> None:
        """Count a partial out: its bytes are in the journal, or it is gone."""
        with self._lock:
            self._waiting.pop(partial, None)
