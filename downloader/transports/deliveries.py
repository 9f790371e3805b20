"""Small files on their way to their final names: many at once, since they share the disk's syncs."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

AT_ONCE = 16
WAITING = 16 * AT_ONCE
"""Files that may wait for the disk; who brings more waits, too."""


class Deliveries:
    """Runs deliveries behind the workers. `guarded` must let nothing out of a thread."""

    def __init__(self, guarded: Callable[[Callable[[], None]], None]) -> None:
        self._guarded = guarded
        self._places = threading.BoundedSemaphore(WAITING)
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="delivery")
        self._running: set[Future[None]] = set()

    def add(self, deliver: Callable[[], None], check: Callable[[], None]) -> None:
        """Deliver soon. Waits for a place; `check` raises to end the wait."""
        while not self._places.acquire(timeout=0.5):
            check()
        delivery = self._pool.submit(self._run, deliver)
        self._running.add(delivery)
        delivery.add_done_callback(self._running.discard)

    def _run(self, deliver: Callable[[], None]) -> None:
        try:
            self._guarded(deliver)
        finally:
            self._places.release()

    def end(self, seconds: float) -> None:
        """Begin no more and wait for those that run, but no longer than so many seconds."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        wait(list(self._running), seconds)
