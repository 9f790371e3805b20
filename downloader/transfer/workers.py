"""The worker threads of a transport: as many as the concurrency controller has justified so far."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from downloader.deadlines import THROUGHPUT_INTERVAL
from downloader.errors import DownloadError, InternalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.cancellation import Cancellation
    from downloader.progress import ProgressMeter
    from downloader.sources.concurrency import ConcurrencyController


log = logging.getLogger(__name__)


def guarded(action: Callable[[], None], cancellation: Cancellation) -> None:
    """Run an action in a thread so that its error, whatever it is, cancels the attempt and not only the thread."""
    try:
        action()
    except DownloadError as error:
        cancellation.cancel(error)
    except Exception as error:
        log.debug("a worker failed", exc_info=True)
        bug = InternalError(f"a worker failed: {type(error).__name__}: {error}", hint="please report this")
        bug.__cause__ = error
        cancellation.cancel(bug)


class WorkerPool:
    """Threads that all call `run_worker`, until it returns.

    Not a ThreadPoolExecutor: the pool grows while it runs, and threads that hang in the file system must not prevent
    the end of the process.
    """

    def __init__(self, run_worker: Callable[[], None], meter: ProgressMeter, cancellation: Cancellation) -> None:
        self._run_worker = run_worker
        self._meter = meter
        self._cancellation = cancellation
        self._threads: list[threading.Thread] = []
        self._running: set[int] = set()
        """Numbers of the threads that have not returned."""
        self._changed = threading.Event()
        """A thread has returned, or the attempt was cancelled, since the last look."""

    def run(self, concurrency: ConcurrencyController) -> None:
        """Run until all threads have returned or the attempt is cancelled.

        The throughput is reported as long as it may justify more threads. After that, nothing is due before a thread
        returns.
        """
        with self._cancellation.waking(self._changed.set):
            self._start_up_to(concurrency.workers)
            while self._cancellation.reason is None and self._running:
                self._changed.wait(THROUGHPUT_INTERVAL if concurrency.may_grow else None)
                self._changed.clear()
                concurrency.on_throughput(time.monotonic(), self._meter.own_received_bytes, time.process_time())
                self._start_up_to(concurrency.workers)

    def join(self, seconds: float) -> None:
        """Wait for all threads to return, at most that long; threads that hang in the file system are abandoned."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _start_up_to(self, count: int) -> None:
        for number in range(len(self._threads), count):
            thread = threading.Thread(target=self._run_one, args=(number,), name=f"worker-{number}", daemon=True)
            self._threads.append(thread)
            self._running.add(number)
            thread.start()

    def _run_one(self, number: int) -> None:
        try:
            self._run_worker()
        finally:
            self._running.discard(number)
            self._changed.set()
