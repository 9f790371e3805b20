"""A crew grows while it gets faster by that, and not otherwise."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from downloader.cancellation import Cancellation
from downloader.errors import InternalError, Stalled
from downloader.progress import ProgressMeter
from downloader.transfer.workers import LOOK, SETTLE, ConcurrencyRamp, WorkerPool, guarded

if TYPE_CHECKING:
    from collections.abc import Callable

MB = 1_000_000


def grown(growth: ConcurrencyRamp, rate: Callable[[int], float], *, seconds: int = 10, busy: float = 0.1) -> int:
    """Let a crew work; `rate` is what so many bring in a second, `busy` their share of a processor."""
    received, step = 0.0, LOOK / 5
    for number in range(int(seconds / step) + 1):
        growth.look(number * step, int(received), number * step * busy)
        received += rate(growth.count) * step
    return growth.count


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (lambda count: count * MB, 16),
        (lambda _: 8 * MB, 4),
        (lambda count: min(count, 7) * MB, 16),
        (lambda count: min(count, 5) * MB, 8),
        (lambda count: min(count, 4) * MB, 8),
        (lambda count: MB * (1 if count < 4 else 1.1), 4),
        (lambda _: 0, 2),
    ],
    ids=[
        "each has its share",
        "the link is full",
        "the link is nearly full after the second look",
        "the link fills up on the way",
        "the link is full after the second look",
        "twice as many bring a little more",
        "nothing comes",
    ],
)
def test_it_grows_as_long_as_that_helps(rate: Callable[[int], float], expected: int) -> None:
    assert grown(ConcurrencyRamp(2, 16), rate) == expected


def test_it_is_judged_when_its_connections_have_become_fast() -> None:
    growth, received, step = ConcurrencyRamp(2, 16), 0.0, LOOK / 5
    for number in range(100):
        growth.look(number * step, int(received), 0.0)
        received += (2 if number * step < SETTLE else 10) * MB * step
    assert growth.count == 4, "the link was full with two; their slow start is nothing that more of them have mended"


def test_it_never_grows_beyond_what_it_may() -> None:
    assert grown(ConcurrencyRamp(3, 5), lambda count: count * MB) == 5
    assert grown(ConcurrencyRamp(4, 4), lambda count: count * MB) == 4


def test_it_does_not_grow_where_the_processor_is_what_is_slow() -> None:
    assert grown(ConcurrencyRamp(2, 16), lambda count: count * MB, busy=0.9) == 2


def test_it_goes_on_looking_where_answers_take_long() -> None:
    growth = ConcurrencyRamp(2, 16)
    assert grown(growth, lambda _: 0) == 2
    for seconds in range(11, 16):
        growth.look(seconds, growth.count * (seconds - 10) * MB, seconds * 0.1)
    assert growth.count > 2


def test_it_judges_no_sooner_than_it_can() -> None:
    assert grown(ConcurrencyRamp(2, 16), lambda count: count * MB, seconds=0) == 2


def test_a_growing_pool_works_with_every_source() -> None:
    here = threading.Barrier(4, timeout=60)

    class Doubling(ConcurrencyRamp):
        def look(self, *_: float) -> None:
            self.count = min(2 * self.count, 4)

    workers = WorkerPool(lambda: _wait_for_all(here), ProgressMeter(), Cancellation())
    workers.run(Doubling(1, 4))
    assert not here.broken
    assert here.n_waiting == 0


def _wait_for_all(barrier: threading.Barrier) -> None:
    """Only when all are there does anybody go on."""
    barrier.wait()


def test_what_goes_wrong_in_a_thread_ends_the_run() -> None:
    cancellation = Cancellation()

    def stumble() -> None:
        raise KeyError("oh")

    WorkerPool(lambda: guarded(stumble, cancellation), ProgressMeter(), cancellation).run(ConcurrencyRamp(1, 1))
    assert isinstance(cancellation.reason, InternalError)


def test_it_does_not_wait_after_a_cancellation() -> None:
    cancellation, free = Cancellation(), threading.Event()

    def work() -> None:
        free.wait(60)

    workers = WorkerPool(work, ProgressMeter(), cancellation)
    cancellation.cancel(Stalled("enough"))
    began = time.monotonic()
    workers.run(ConcurrencyRamp(2, 2))
    workers.join(0.1)
    assert time.monotonic() - began < 30
    free.set()
    workers.join(60)
