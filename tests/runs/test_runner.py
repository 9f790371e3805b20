"""One run from start to end: results, errors, cancellations, deadlines, observers, and threads that hang."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from downloader.cancellation import Cancellation
from downloader.deadlines import LAST_STEP, RUN_END, RUN_GRACE, TRANSFER_GRACE
from downloader.errors import AccessDenied, Cancelled, InternalError, Stalled
from downloader.runs.runner import Runner
from tests.waiting import AT_LAST, eventually

if TYPE_CHECKING:
    from downloader.progress import Snapshot


def test_a_runner_returns_what_its_work_returns() -> None:
    runner = Runner()
    assert runner.run(lambda: 42) == 42
    assert not runner.thread_hangs
    assert runner.cancellation.reason is None


def test_the_work_runs_in_a_thread_of_its_own() -> None:
    assert Runner().run(threading.current_thread) is not threading.current_thread()


def test_an_error_of_ours_is_raised_as_it_is() -> None:
    error = AccessDenied("no")

    def work() -> None:
        raise error

    with pytest.raises(AccessDenied) as caught:
        Runner().run(work)
    assert caught.value is error


def test_a_bug_is_told_in_one_line_and_chained() -> None:
    def work() -> None:
        raise KeyError("oops")

    with pytest.raises(InternalError, match="KeyError: 'oops'") as caught:
        Runner().run(work)
    assert isinstance(caught.value.__cause__, KeyError)
    assert "report" in caught.value.hint


def test_a_cancellation_that_was_handed_in_ends_the_run() -> None:
    cancellation = Cancellation()
    runner = Runner(cancellation=cancellation)

    def work() -> None:
        cancellation.cancel(Cancelled())
        runner.cancellation.sleep(AT_LAST)

    with pytest.raises(Cancelled):
        runner.run(work)
    assert not runner.thread_hangs


def test_a_run_leaves_signals_alone_unless_it_is_told_otherwise() -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert Runner().run(lambda: signal.getsignal(signal.SIGTERM)) is before


def test_observers_are_called_until_the_work_has_ended() -> None:
    runner, seen = Runner(), threading.Event()
    snapshots: list[Snapshot] = []

    def observe(snapshot: Snapshot) -> None:
        snapshots.append(snapshot)
        seen.set()

    assert runner.run(lambda: seen.wait(AT_LAST), observers=[observe], stuck_volume=lambda: "late")
    assert snapshots[0].stuck_volume == "late"
    assert not any(thread.name == "ticker" for thread in threading.enumerate())


@pytest.mark.parametrize("outcome", ["result", "error"])
def test_a_run_that_ends_at_the_moment_of_a_signal_was_cancelled(outcome: str) -> None:
    """Never 0 after SIGTERM, and never another status either."""
    runner = Runner()

    def work() -> int:
        runner.cancellation.cancel(Cancelled())
        if outcome == "error":
            raise AccessDenied("no")
        return 42

    with pytest.raises(Cancelled):
        runner.run(work)


def test_a_deadline_ends_the_run() -> None:
    runner = Runner(deadline=0.05)
    with pytest.raises(Stalled, match=r"deadline of 0\.05 s"):
        runner.run(lambda: runner.cancellation.sleep(AT_LAST))


def test_a_deadline_that_is_kept_ends_nothing() -> None:
    runner = Runner(deadline=AT_LAST)
    assert runner.run(lambda: 1) == 1
    assert eventually(lambda: not any(isinstance(thread, threading.Timer) for thread in threading.enumerate()))


def test_a_thread_that_hangs_is_given_up_after_the_grace() -> None:
    runner, stuck = Runner(grace=0.1), threading.Event()

    def work() -> None:
        runner.cancellation.cancel(Cancelled())
        stuck.wait(2 * AT_LAST)

    began = time.monotonic()
    with pytest.raises(Cancelled):
        runner.run(work)
    assert runner.thread_hangs
    assert time.monotonic() - began < AT_LAST
    stuck.set()


def test_both_graces_fit_into_the_ten_seconds_that_are_promised() -> None:
    assert TRANSFER_GRACE < RUN_GRACE < RUN_END < 10


def test_after_a_signal_all_steps_of_the_end_share_one_bound() -> None:
    runner = Runner(grace=0.0)
    assert runner.left(30.0) == 30.0

    def work() -> None:
        runner.cancellation.cancel(Cancelled())

    with pytest.raises(Cancelled):
        runner.run(work)
    assert 0 < runner.left(30.0, share=0.5) <= RUN_END / 2
    assert runner.left(0.1) == max(0.1, LAST_STEP)
