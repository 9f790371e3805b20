"""One run from start to end: signals, watchers, the engine in a thread of its own, and one last line."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
import threading
from typing import TYPE_CHECKING, TypeVar

from downloader.cancellation import Cancellation
from downloader.cli.failure import unexpected
from downloader.errors import Cancelled, DownloadError, Stalled
from downloader.progress import ProgressMeter
from downloader.sources.pause import SharedPause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

T = TypeVar("T")
STDERR = 2
GRACE = 7.0
"""Seconds that a cancelled run gets to close its journal: SIGTERM must end the process within ten."""

log = logging.getLogger(__name__)


class Runner:
    """What a command needs around its work. Not reusable."""

    def __init__(self, deadline: float | None = None, *, grace: float = GRACE) -> None:
        """End the work after `deadline` seconds; a cancelled run has `grace` seconds to leave things in order."""
        self._grace = grace
        self.cancellation = Cancellation()
        self.meter = ProgressMeter()
        self.pause = SharedPause(self.meter.clock)
        self.abandoned = False
        """A thread did not end in time: the process must be left without waiting for it."""
        self._deadline = deadline

    def run(self, action: Callable[[], T]) -> T:
        """Return what `action` returns, or raise one of our errors: its own, or the reason of the cancellation."""
        results: list[T] = []
        errors: list[DownloadError] = []

        def work() -> None:
            try:
                results.append(action())
            except DownloadError as error:
                errors.append(error)
            except Exception as error:  # a traceback is a bug: it becomes one line, and a status that says so
                log.debug("a bug", exc_info=True)
                errors.append(unexpected(error))

        worker = threading.Thread(target=work, name="engine", daemon=True)
        with self._signals(), self._timer():
            worker.start()
            while worker.is_alive() and self.cancellation.reason is None:
                worker.join(0.2)
            worker.join(self._grace)
        self.abandoned = worker.is_alive()
        if self.cancellation.reason is not None:
            raise self.cancellation.reason
        if errors:
            raise errors[0]
        return results[0]

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Turn the first SIGTERM or SIGINT into a cancellation; the second ends the process at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(signum: int, _frame: FrameType | None) -> None:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, leave_at_once)
            self.cancellation.cancel(Cancelled(signum))

        before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            if self.cancellation.reason is None:
                for number, handler in before.items():
                    signal.signal(number, handler)

    @contextlib.contextmanager
    def _timer(self) -> Iterator[None]:
        if self._deadline is None:
            yield
            return
        error = Stalled(
            f"the run did not end within its deadline of {self._deadline:g} s", hint="run it again to resume"
        )
        timer = threading.Timer(self._deadline, self.cancellation.cancel, (error,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def leave_at_once(signum: int, _frame: FrameType | None) -> None:
    """End the process upon a second signal, with a last line of its own."""
    # Nothing is flushed, and nothing is waited for: the main thread may be in the middle of a write, or hang in it.
    with contextlib.suppress(OSError, ValueError):
        if select.select([], [STDERR], [], 0)[1]:
            os.write(STDERR, f"\nfailed: {Cancelled(signum, again=True)}\n".encode())
    os._exit(128 + signum)


def leave(status: int) -> None:
    """End the process without waiting for threads that hang in the file system or in a library."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)
