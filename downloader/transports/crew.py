"""The workers of a transport: a few at first, more while more of them bring more.

Networks differ by orders of magnitude: one connection may fill the link, or a content network may give each the same
small share. So nobody has to know: after each second the crew is doubled as long as that made it faster.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from downloader.errors import DownloadError, InternalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.cancellation import Cancellation
    from downloader.meter import Meter

LOOK = 1.0
"""Seconds over which a rate is measured."""
GAIN = 1.15
"""How much faster a larger crew must be for another enlargement."""
BUSY = 0.5
"""Share of one processor from which on it is not the network that is slow."""
WAKE_UP = 0.2

log = logging.getLogger(__name__)


def guarded(action: Callable[[], None], cancellation: Cancellation) -> None:
    """Let whatever goes wrong in a thread end the run, not only the thread."""
    try:
        action()
    except DownloadError as error:
        cancellation.cancel(error)
    except Exception as error:
        log.debug("a worker failed", exc_info=True)
        bug = InternalError(f"a worker failed: {type(error).__name__}: {error}", hint="please report this")
        bug.__cause__ = error
        cancellation.cancel(bug)


class Crew:
    """Threads that all run `work` until it returns."""

    def __init__(self, work: Callable[[], None], meter: Meter, cancellation: Cancellation) -> None:
        self._work = work
        self._meter = meter
        self._cancellation = cancellation
        self._threads: list[threading.Thread] = []

    def run(self, count: int, most: int) -> None:
        """Start with `count` threads; return when all have ended, or as soon as the attempt is cancelled."""
        self._grow(count)
        growing = count < most
        began, received, work, rate = time.monotonic(), self._meter.received_bytes, time.process_time(), 0.0
        while self._cancellation.reason is None and self._wait():
            elapsed = time.monotonic() - began
            if not growing or elapsed < LOOK:
                continue
            now, worked = self._meter.received_bytes, time.process_time()
            rate, before = (now - received) / elapsed, rate
            idle = worked - work < BUSY * elapsed
            growing = idle and rate > GAIN * before and len(self._threads) < most
            if growing:
                self._grow(min(len(self._threads), most - len(self._threads)))
                log.debug("%d connections now: %.0f MiB/s before", len(self._threads), rate / (1 << 20))
            began, received, work = time.monotonic(), now, worked

    def join(self, seconds: float) -> None:
        """Wait for all to end, but no longer than that; who hangs in the file system is left behind."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _grow(self, count: int) -> None:
        for number in range(len(self._threads), len(self._threads) + count):
            self._threads.append(threading.Thread(target=self._work, name=f"worker-{number}", daemon=True))
            self._threads[-1].start()

    def _wait(self) -> bool:
        """Wait a little; tell whether anybody is still at work."""
        working = next((thread for thread in self._threads if thread.is_alive()), None)
        if working is not None:
            working.join(WAKE_UP)
        return working is not None
