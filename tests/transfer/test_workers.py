"""The worker pool starts as many threads as the controller allows, and does not wait for hung ones."""

from __future__ import annotations

import threading
import time

from downloader.cancellation import Cancellation
from downloader.errors import InternalError, Stalled
from downloader.progress import ProgressMeter
from downloader.sources.concurrency import ConcurrencyController
from downloader.transfer.workers import WorkerPool, guarded
from tests.waiting import AT_LAST


def started(count: int) -> ConcurrencyController:
    concurrency = ConcurrencyController(Cancellation(), time.monotonic)
    concurrency.start(count, count)
    return concurrency


def test_a_growing_pool_starts_every_worker() -> None:
    here = threading.Barrier(4, timeout=AT_LAST)

    class Doubling(ConcurrencyController):
        def on_throughput(self, *_: float) -> None:
            self.start(min(2 * self.limit, 4), 4)

    workers = WorkerPool(lambda: _wait_for_all(here), ProgressMeter(), Cancellation())
    doubling = Doubling(Cancellation(), time.monotonic)
    doubling.start(1, 4)
    workers.run(doubling)
    assert not here.broken
    assert here.n_waiting == 0


def _wait_for_all(barrier: threading.Barrier) -> None:
    """Return once all threads are here."""
    barrier.wait()


def test_an_error_in_a_thread_ends_the_run() -> None:
    cancellation = Cancellation()

    def stumble() -> None:
        raise KeyError("oh")

    WorkerPool(lambda: guarded(stumble, cancellation), ProgressMeter(), cancellation).run(started(1))
    assert isinstance(cancellation.reason, InternalError)


def test_a_cancellation_wakes_a_pool_that_waits_for_its_threads() -> None:
    cancellation, begun, free = Cancellation(), threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        free.wait(2 * AT_LAST)

    workers = WorkerPool(hang, ProgressMeter(), cancellation)
    runner = threading.Thread(target=workers.run, args=(started(1),))
    runner.start()
    begun.wait(AT_LAST)
    cancellation.cancel(Stalled("enough"))
    runner.join(AT_LAST)
    assert not runner.is_alive()
    free.set()
    workers.join(AT_LAST)


def test_it_does_not_wait_for_threads_after_a_cancellation() -> None:
    cancellation, free = Cancellation(), threading.Event()

    def hang() -> None:
        free.wait(2 * AT_LAST)

    workers = WorkerPool(hang, ProgressMeter(), cancellation)
    cancellation.cancel(Stalled("enough"))
    began = time.monotonic()
    workers.run(started(2))
    workers.join(0.1)
    assert time.monotonic() - began < AT_LAST
    free.set()
    workers.join(AT_LAST)
