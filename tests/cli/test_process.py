"""The process around a run: what the first signal does, and what the second one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from downloader.cli.process import cancelled_by_signals
from downloader.errors import Cancelled, DownloadError
from downloader.runs.runner import Runner
from downloader.terminal import ERASE
from tests.waiting import AT_LAST

STATUS = {signal.SIGTERM: 143, signal.SIGINT: 130}

HANGS = """
import functools, signal, sys, threading, time
from downloader.cli.process import cancelled_by_signals
from downloader.terminal import ERASE
from downloader.runs.runner import Runner

class Blocked:
    def write(self, text): return len(text)
    def flush(self): time.sleep(600)

runner = Runner(interruptible=functools.partial(cancelled_by_signals, erase=ERASE))
runner.cancellation.on_cancel(lambda: (sys.__stdout__.write("cancelled\\n"), sys.__stdout__.flush()))
def hang():
    sys.stdout = sys.stderr = Blocked()
    sys.__stdout__.write("running\\n"); sys.__stdout__.flush()
    time.sleep(600)
runner.run(hang)
"""


@pytest.mark.parametrize("signum", STATUS)
def test_a_signal_cancels_the_run(signum: signal.Signals) -> None:
    runner = Runner(interruptible=cancelled_by_signals)

    def work() -> None:
        os.kill(os.getpid(), signum)
        runner.cancellation.sleep(AT_LAST)

    with pytest.raises(Cancelled) as caught:
        runner.run(work)
    assert caught.value.exit_status == STATUS[signum]
    assert not runner.thread_hangs


def test_signals_are_handled_as_before_once_a_run_has_ended() -> None:
    before = [signal.getsignal(number) for number in STATUS]
    during = Runner(interruptible=cancelled_by_signals).run(lambda: [signal.getsignal(number) for number in STATUS])
    assert all(handler not in before for handler in during)
    assert [signal.getsignal(number) for number in STATUS] == before


def test_a_run_outside_of_the_main_thread_leaves_signals_alone() -> None:
    results: list[int | DownloadError] = []
    before = signal.getsignal(signal.SIGTERM)
    runner = Runner(interruptible=cancelled_by_signals)
    thread = threading.Thread(target=lambda: results.append(runner.run(lambda: 7)))
    thread.start()
    thread.join(AT_LAST)
    assert results == [7]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("second", STATUS)
def test_the_second_signal_ends_the_process_at_once_even_if_its_output_hangs(second: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-c", HANGS], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        assert process.stdout.readline() == b"running\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == b"cancelled\n"
        process.send_signal(second)
        assert process.wait(AT_LAST) == STATUS[second]
        assert process.stderr.read().startswith(f"{ERASE}\nfailed: ".encode())
