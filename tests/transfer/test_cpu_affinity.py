"""Threads that go through small files run on one processor, and nothing depends on it."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from downloader.transfer import cpu_affinity
from downloader.transfer.cpu_affinity import REPIN_SECONDS, CpuAffinity
from tests.clocks import Clock
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from collections.abc import Callable

ALL = os.sched_getaffinity(0)

pytestmark = pytest.mark.skipif(len(ALL) == 1, reason="one processor is no choice: taskset, docker run --cpuset-cpus")


class Worker:
    """A thread that does what it is told, one thing after the other."""

    def __init__(self) -> None:
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._action: Callable[[], object] | None = None
        self._found: set[int] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            self._go.acquire()
            if self._action is None:
                return
            self._action()
            self._found = os.sched_getaffinity(0)
            self._done.release()

    def does(self, action: Callable[[], object]) -> set[int]:
        """Return where the thread may run afterwards."""
        self._action = action
        self._go.release()
        assert self._done.acquire(timeout=AT_LAST)
        return self._found

    def end(self) -> None:
        self._action = None
        self._go.release()
        self._thread.join()


@pytest.fixture
def workers() -> list[Worker]:
    return [Worker() for _ in range(3)]


@pytest.fixture(autouse=True)
def ended(workers: list[Worker]) -> object:
    yield
    for worker in workers:
        worker.end()


def test_they_come_to_one_processor_and_leave_it(workers: list[Worker]) -> None:
    together = CpuAffinity(Clock())
    assert workers[0].does(together.pin) == ALL  # it looks around
    places = [worker.does(together.pin) for worker in workers]
    assert len(places[0]) == 1
    assert places == [places[0]] * 3
    assert [worker.does(together.unpin) for worker in workers] == [ALL] * 3
    assert os.sched_getaffinity(0) == ALL


def test_they_look_for_a_better_one_now_and_then(workers: list[Worker]) -> None:
    clock = Clock()
    together = CpuAffinity(clock)
    first, second, _ = workers
    first.does(together.pin)
    (before,) = first.does(together.pin)
    second.does(together.pin)
    clock.now += REPIN_SECONDS
    assert second.does(together.pin) == ALL
    assert first.does(together.pin) == {before}
    other = min(ALL - {before})
    second.does(lambda: os.sched_setaffinity(0, {other}))  # as the system does where `before` is busy
    assert second.does(together.pin) == {other}
    assert first.does(together.pin) == {other}


def test_a_system_that_does_not_tell_lets_them_run_anywhere(
    workers: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_affinity, "STAT", cpu_affinity.STAT / "missing")
    together = CpuAffinity(Clock())
    assert [worker.does(together.pin) for worker in workers * 2] == [ALL] * 6


def test_a_system_that_refuses_lets_them_run_anywhere(workers: list[Worker], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: int, _processors: object) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr("os.sched_setaffinity", refuse)
    together = CpuAffinity(Clock())
    assert [worker.does(together.pin) for worker in workers * 2] == [ALL] * 6
