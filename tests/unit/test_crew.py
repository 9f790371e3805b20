"""A crew grows while it gets faster by that, and not otherwise."""

from __future__ import annotations

import threading
import time

import pytest

from downloader.cancellation import Cancellation
from downloader.errors import Stalled
from downloader.meter import Meter
from downloader.transports import crew as module
from downloader.transports.crew import Crew


class Link:
    """Brings bytes: so many a second to each worker, and so many to all of them together."""

    def __init__(self, each: float, together: float, seconds: float) -> None:
        self.meter, self.cancellation = Meter(), Cancellation()
        self.workers = 0
        self._each, self._together = each, together
        self._end = time.monotonic() + seconds
        self._lock = threading.Lock()

    def work(self) -> None:
        with self._lock:
            self.workers += 1
        while time.monotonic() < self._end:
            time.sleep(0.01)
            self.meter.received(int(min(self._each, self._together / self.workers) / 100))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 0.2)
    monkeypatch.setattr(module, "WAKE_UP", 0.02)


@pytest.mark.parametrize(
    ("each", "together", "expected"),
    [(1e6, 1e9, {16}), (1e6, 1e6, {4, 8}), (1e6, 8e6, {8, 16})],
    ids=["each has its share", "the link is full", "the link fills up"],
)
def test_it_grows_as_long_as_that_helps(each: float, together: float, expected: set[int]) -> None:
    link = Link(each, together, seconds=1.5)
    Crew(link.work, link.meter, link.cancellation).run(2, 16)
    assert link.workers in expected


def test_it_never_grows_beyond_what_it_may() -> None:
    link = Link(1e6, 1e9, seconds=0.8)
    Crew(link.work, link.meter, link.cancellation).run(3, 5)
    assert link.workers == 5
    link = Link(1e6, 1e9, seconds=0.5)
    Crew(link.work, link.meter, link.cancellation).run(4, 4)
    assert link.workers == 4


def test_it_does_not_wait_for_anybody_after_a_cancellation() -> None:
    cancellation, free = Cancellation(), threading.Event()

    def work() -> None:
        free.wait(10)

    crew = Crew(work, Meter(), cancellation)
    cancellation.cancel(Stalled("enough"))
    began = time.monotonic()
    crew.run(2, 2)
    crew.join(0.1)
    assert time.monotonic() - began < 5
    free.set()
    crew.join(5)
