"""The workers of a transport: a few at first, more while more of them bring more.

Networks differ by orders of magnitude: one connection may fill the link, or a content network may give each the same
small share. So nobody has to know: every half second the crew is doubled as long as that made it much faster.
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
    from downloader.progress import ProgressMeter

SETTLE = 0.25
"""Seconds that new connections get to become fast, before a rate is measured."""
LOOK = 0.25
"""Seconds over which it is."""
GAIN = 1.5
"""How much faster twice as many must be for another enlargement: on a link that is full they only crowd each other."""
BUSY = 0.5
"""Share of one processor from which on it is not the network that is slow."""
WAKE_UP = 0.1
"""Seconds between two looks at what has been brought."""

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


class ConcurrencyRamp:
    """Decides how large a crew is: twice as many each time that made it faster, until it does not or all are there."""

    def __init__(self, count: int, most: int) -> None:
        self.count = count
        """How many there are to be."""
        self._most = most
        self._growing = count < most
        self._rate = 0.0
        self._began: float | None = None
        self._settled: tuple[float, int, float] | None = None

    def look(self, now: float, received: int, worked: float) -> None:
        """Judge by the time, by the bytes received until now and by the processor time spent, both times in seconds."""
        if self._began is None:
            self._began = now
        if not self._growing or now - self._began < SETTLE:
            return
        if self._settled is None:
            self._settled = now, received, worked
        since, before, spent = self._settled
        elapsed = now - since
        if elapsed < LOOK:
            return
        self._settled = None
        slower, rate = self._rate, (received - before) / elapsed
        if not rate:
            return  # nobody has had an answer yet
        self._rate = rate
        idle = worked - spent < BUSY * elapsed
        self._growing = idle and rate > GAIN * slower
        if self._growing:
            log.debug("%d connections bring %.0f MiB/s: more may bring more", self.count, rate / (1 << 20))
            self._began, self.count = now, min(2 * self.count, self._most)
            self._growing = self.count < self._most


class WorkerPool:
    """Threads that all run `work` until it returns."""

    def __init__(self, work: Callable[[], None], meter: ProgressMeter, cancellation: Cancellation) -> None:
        self._work = work
        self._meter = meter
        self._cancellation = cancellation
        self._threads: list[threading.Thread] = []

    def run(self, growth: ConcurrencyRamp) -> None:
        """Run as many threads as `growth` says; return when all have ended, or as soon as the attempt is cancelled."""
        self._grow(growth.count)
        while self._cancellation.reason is None and self._wait():
            growth.look(time.monotonic(), self._meter.received_bytes, time.process_time())
            self._grow(growth.count)

    def join(self, seconds: float) -> None:
        """Wait for all to end, but no longer than that; who hangs in the file system is left behind."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _grow(self, count: int) -> None:
        """Start threads until there are so many."""
        for number in range(len(self._threads), count):
            self._threads.append(threading.Thread(target=self._work, name=f"worker-{number}", daemon=True))
            self._threads[-1].start()

    def _wait(self) -> bool:
        """Wait a little; tell whether anybody is still at work."""
        working = next((thread for thread in self._threads if thread.is_alive()), None)
        if working is not None:
            working.join(WAKE_UP)
        return working is not None
