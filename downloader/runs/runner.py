"""One run from start to end: its work in a thread of its own, with a deadline, a cancellation and observers."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from downloader.cancellation import Cancellation
from downloader.deadlines import CHECK_INTERVAL, LAST_STEP, RUN_END, RUN_GRACE
from downloader.errors import Cancelled, DownloadError, Stalled, unexpected
from downloader.progress import ProgressMeter, Ticker
from downloader.sources.pause import SharedPause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from downloader.progress import Snapshot

T = TypeVar("T")

log = logging.getLogger(__name__)


class Runner:
    """Executes the work of one run, and owns what its parts share: cancellation, meter and pause. Used once."""

    def __init__(
        self,
        deadline: float | None = None,
        *,
        grace: float = RUN_GRACE,
        cancellation: Cancellation | None = None,
        interruptible: Callable[[Cancellation], AbstractContextManager[None]] | None = None,
    ) -> None:
        """Cancel the work after `deadline` seconds; a cancelled run has `grace` seconds to leave things in order.

        The run is ended by `cancellation`, which others may share: what ends this run alone does not reach them.
        `interruptible` returns a context that is entered while the work goes on: the command line turns signals into a
        cancellation there.
        """
        self._deadline = deadline
        self._grace = grace
        self._interruptible = interruptible or (lambda _: contextlib.nullcontext())
        self.cancellation = Cancellation(cancellation)
        self.meter = ProgressMeter()
        self.pause = SharedPause(self.meter.clock)
        self._ends_at: float | None = None
        self.thread_hangs = False
        """The thread of the run did not end in time: the process must end without waiting for it."""

    def left(self, limit: float, *, share: float = 1.0) -> float:
        """Return how many of `limit` seconds a step after the run may take.

        After a signal, steps get a share of the time that is left: all of the end has one bound.
        """
        if self._ends_at is None:
            return limit
        return max(LAST_STEP, min(limit, share * (self._ends_at - time.monotonic())))

    def run(
        self,
        work: Callable[[], T],
        *,
        observers: Sequence[Callable[[Snapshot], None]] = (),
        stuck_volume: Callable[[], str] = str,
    ) -> T:
        """Return what `work` returns, or raise one of our errors: its own, or the reason of the cancellation.

        Meanwhile the observers get a snapshot twice a second, whose `stuck_volume` is what that function returns.
        """
        with contextlib.closing(self.cancellation):
            if not observers:
                return self._run(work)
            ticker = Ticker(self.meter, list(observers), stuck_volume=stuck_volume)
            ticker.start()
            try:
                return self._run(work)
            finally:
                ticker.stop()

    def _run(self, work: Callable[[], T]) -> T:
        results: list[T] = []
        errors: list[DownloadError] = []
        ended = threading.Event()

        def execute() -> None:
            try:
                results.append(work())
            except DownloadError as error:
                errors.append(error)
            except Exception as error:  # a bug: it becomes an error with one line and a status of its own
                log.debug("a bug", exc_info=True)
                errors.append(unexpected(error))
            finally:
                ended.set()

        worker = threading.Thread(target=execute, name="engine", daemon=True)
        with self._interruptible(self.cancellation), self._timer():
            worker.start()
            try:
                # The main thread wakes up regularly: Python runs signal handlers in it, and only between two waits.
                # Not by `join`: after Ctrl-C in it, Python 3.11 reports a living thread as dead.
                while self.cancellation.reason is None and not ended.wait(CHECK_INTERVAL):
                    pass
            except BaseException:  # Ctrl-C in a program that uses the API: the run must not go on without its caller
                self.cancellation.cancel()
                raise
            finally:
                if isinstance(self.cancellation.reason, Cancelled):
                    self._ends_at = time.monotonic() + RUN_END
                self.thread_hangs = not ended.wait(self._grace)
                if not self.thread_hangs:
                    worker.join()
        if self.cancellation.reason is not None:
            raise self.cancellation.reason
        if errors:
            raise errors[0]
        return results[0]

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
