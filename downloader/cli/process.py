"""The process around a run: its signals and its end."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING

from downloader.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from downloader.cancellation import Cancellation
    from downloader.errors import DownloadError
    from downloader.terminal import Terminal

STDERR = 2


@contextlib.contextmanager
def cancelled_by_signals(
    cancellation: Cancellation, *, last_line: Callable[[DownloadError], str] = "failed: {}".format, erase: str = ""
) -> Iterator[None]:
    """Turn the first SIGTERM, SIGINT or SIGHUP into a cancellation.

    A second SIGTERM or SIGINT ends the process at once, with a last line. A SIGHUP that `nohup` has ignored stays so.
    `erase` removes from a terminal what is drawn below the log; it is written before that line.
    Only the main thread can handle signals; in other threads this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(signum: int, _frame: FrameType | None) -> None:
        for number in handled:  # a shell that ends sends SIGHUP, and the kernel another one
            again = signal.SIG_IGN if number == signal.SIGHUP else partial(exit_at_once, last_line, erase)
            signal.signal(number, again)
        cancellation.cancel(Cancelled(signum))

    handled = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        handled.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in handled}
    try:
        yield
    finally:
        if cancellation.reason is None:
            for number, handler in before.items():
                signal.signal(number, handler)


def erased_while_stopped(terminal: Terminal) -> None:
    """From now on, remove what is drawn on a terminal when Ctrl-Z stops the process: the shell writes there then.

    Only the main thread can handle signals; in other threads, and where the signal is ignored, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTSTP) != signal.SIG_DFL:
        return

    def handle(signum: int, _frame: FrameType | None) -> None:
        with terminal.erased():
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)  # returns when the process goes on
            signal.signal(signum, handle)

    signal.signal(signal.SIGTSTP, handle)


def exit_at_once(last_line: Callable[[DownloadError], str], erase: str, signum: int, _frame: FrameType | None) -> None:
    """End the process at a second signal, with a last line of its own."""
    # Nothing is flushed or waited for: the main thread may hang in the middle of a write.
    with contextlib.suppress(OSError, ValueError):
        if select.select([], [STDERR], [], 0)[1]:
            os.write(STDERR, f"{erase}\n{last_line(Cancelled(signum, again=True))}\n".encode())
    os._exit(128 + signum)


def leave(status: int) -> None:
    """End the process without waiting for threads that hang in the file system or in a library."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)
