"""One run from start to end: results, errors, signals, deadlines, and threads that hang."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from downloader.cli.runner import GRACE, Runner
from downloader.errors import AccessDenied, Cancelled, DownloadError, InternalError, Stalled
from downloader.transfer import ranged
from tests.waiting import AT_LAST, eventually

STATUS = {signal.SIGTERM: 143, signal.SIGINT: 130}

HANGS = """
import signal, sys, threading, time
from downloader.cli.runner import Runner

class Blocked:
    def write(self, text): return len(text)
    def flush(self): time.sleep(600)

session = Runner()
session.cancellation.on_cancel(lambda: (sys.__stdout__.write("cancelled\\n"), sys.__stdout__.flush()))
def hang():
    sys.stdout = sys.stderr = Blocked()
    sys.__stdout__.write("running\\n"); sys.__stdout__.flush()
    time.sleep(600)
session.run(hang)
"""


def test_a_session_returns_what_its_work_returns() -> None:
    session = Runner()
    assert session.run(lambda: 42) == 42
    assert not session.abandoned
    assert session.cancellation.reason is None


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


@pytest.mark.parametrize("signum", STATUS)
def test_a_signal_cancels_the_run(signum: signal.Signals) -> None:
    session = Runner()

    def work() -> None:
        os.kill(os.getpid(), signum)
        session.cancellation.sleep(AT_LAST)

    with pytest.raises(Cancelled) as caught:
        session.run(work)
    assert caught.value.exit_status == STATUS[signum]
    assert not session.abandoned


@pytest.mark.parametrize("outcome", ["result", "error"])
def test_a_run_that_ends_at_the_moment_of_a_signal_was_cancelled(outcome: str) -> None:
    """Never 0 after SIGTERM, and never another status either."""
    session = Runner()

    def work() -> int:
        session.cancellation.cancel(Cancelled())
        if outcome == "error":
            raise AccessDenied("no")
        return 42

    with pytest.raises(Cancelled):
        session.run(work)


def test_signals_are_handled_as_before_once_a_run_has_ended() -> None:
    before = [signal.getsignal(number) for number in STATUS]
    Runner().run(lambda: None)
    assert [signal.getsignal(number) for number in STATUS] == before


def test_a_deadline_ends_the_run() -> None:
    session = Runner(deadline=0.05)
    with pytest.raises(Stalled, match=r"deadline of 0\.05 s"):
        session.run(lambda: session.cancellation.sleep(AT_LAST))


def test_a_deadline_that_is_kept_ends_nothing() -> None:
    session = Runner(deadline=AT_LAST)
    assert session.run(lambda: 1) == 1
    assert eventually(lambda: not any(isinstance(thread, threading.Timer) for thread in threading.enumerate()))


def test_a_thread_that_hangs_is_given_up_after_the_grace() -> None:
    session, stuck = Runner(grace=0.1), threading.Event()

    def work() -> None:
        session.cancellation.cancel(Cancelled())
        stuck.wait(2 * AT_LAST)

    began = time.monotonic()
    with pytest.raises(Cancelled):
        session.run(work)
    assert session.abandoned
    assert time.monotonic() - began < AT_LAST
    stuck.set()


def test_both_graces_fit_into_the_ten_seconds_that_are_promised() -> None:
    assert ranged.GRACE < GRACE < 10


def test_a_session_outside_of_the_main_thread_leaves_signals_alone() -> None:
    results: list[int | DownloadError] = []
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=lambda: results.append(Runner().run(lambda: 7)))
    thread.start()
    thread.join(AT_LAST)
    assert results == [7]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("second", STATUS)
def test_the_second_signal_ends_the_process_at_once_even_if_its_output_hangs(second: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-c", HANGS], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "cancelled\n"
        process.send_signal(second)
        assert process.wait(AT_LAST) == STATUS[second]
