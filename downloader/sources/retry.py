"""The one retry policy: nobody else loops. `persistent.py` puts it around a source.

Passing trouble is tried again with growing, jittered pauses until there was silence for too long; what counts is the
time since bytes last arrived, not the number of tries. A server's `Retry-After` makes one pause for all threads.
"""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Never, TypeVar

import tenacity

from downloader.errors import DownloadError, ProtocolFailed, SourceSilent, Stalled, Throttled, UnknownHost, Verdict
from downloader.formatting import format_duration
from downloader.progress import Wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.cancellation import Cancellation
    from downloader.progress import ProgressMeter
    from downloader.sources.pause import SharedPause

T = TypeVar("T")
FIRST_PAUSE = 0.3
LONGEST_PAUSE = 15.0
LONGEST_RETRY_AFTER = 600.0
THROTTLED_PATIENCE = 900.0
REAL_PROGRESS = 1 << 16
"""Bytes after which a connection counts as having worked; fewer do not reset the clock of silence."""

UNKNOWN_HOST_PATIENCE = 3.0
"""Seconds for which a name that nobody knows is tried before anything was heard: a pod's DNS may be late by that."""
WORTH_TELLING = 5.0
"""Seconds of trouble after which its end is told, too."""
NUMBERS = re.compile(r"\d+")

_BACKOFF = tenacity.wait_random_exponential(FIRST_PAUSE, LONGEST_PAUSE)

log = logging.getLogger(__name__)


@dataclass
class RetryPolicy:
    """How long trouble is borne, shared by all threads of a run.

    `silence` is in seconds: trouble that lasts longer without a byte is raised. Pauses that a server asked for do
    not count, but altogether they may not exceed a quarter of an hour without progress either.
    """

    silence: float
    meter: ProgressMeter
    cancellation: Cancellation
    shared: SharedPause
    """The pause that servers asked for, which outlasts a protocol."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _troubles: dict[Retrier, Wait] = field(default_factory=dict, init=False)
    _told: set[str] = field(default_factory=set, init=False)
    _troubled_since: float = field(default=0.0, init=False)

    def honour_retry_after(self, error: Throttled) -> None:
        """Take note of a pause that a server asks for. Raises the error if it is too long to be waited for."""
        if error.retry_after is None:
            return
        if error.retry_after > LONGEST_RETRY_AFTER:
            hint = f"more than the {LONGEST_RETRY_AFTER:.0f} s that are waited; try again later"
            raise ProtocolFailed(error.message, hint=hint) from error
        if self.shared.extend(error, error.retry_after):
            log.info("%s; pausing all requests", error.message)

    def pause(self) -> float:
        """Sit the common pause out; returns the seconds that it took."""
        taken = 0.0
        while left := self.shared.left:
            with self.meter.paused(self.shared.reason, left):
                self.cancellation.sleep(left)
            taken += left
        return taken

    def endure(self, retrier: Retrier, what: str, error: DownloadError, left: float) -> None:
        """Take note of trouble that is borne for `left` more seconds; the same of many threads is told once."""
        now = self.meter.clock()
        trouble = Wait(f"{error.message}; trying again", now, now + left)
        kind = NUMBERS.sub("#", error.message)
        with self._lock:
            if not self._troubles:
                self._troubled_since = now
            before = self._troubles.get(retrier)
            self._troubles[retrier] = trouble
            told = kind in self._told or (isinstance(error, Throttled) and error.retry_after is not None)
            self._told.add(kind)
        if before is not None:
            self.meter.end_retry(before)
        self.meter.begin_retry(trouble)
        if not told:
            log.info("%s: %s; trying again for %s at most", what, error, format_duration(left))

    def relieve(self, retrier: Retrier, *, worked: bool) -> None:
        """Take note that this effort's trouble is over, if it had any, and whether it worked in the end."""
        with self._lock:
            trouble = self._troubles.pop(retrier, None)
            over = trouble is not None and not self._troubles
            if over:
                self._told.clear()
        if trouble is None:
            return
        self.meter.end_retry(trouble)
        lasted = self.meter.clock() - self._troubled_since
        if over and worked and lasted >= WORTH_TELLING:
            log.info("recovered after %s", format_duration(lasted))


class Retrier:
    """One thing that is tried until it works: a listing, or the reading of a span.

    Silence is time in which somebody waited for an answer: what the caller does between `rest` and `resume` does not
    count, and neither does the first try of an action, since a long listing may work for minutes before it fails.
    """

    def __init__(self, patience: RetryPolicy, what: str) -> None:
        self._patience = patience
        self._what = what
        self._clock = patience.meter.clock
        self._fresh = 0
        self.progressed()
        self.rest()

    def rest(self) -> None:
        """Stop the clock of silence until `resume`."""
        self._resting_since = self._clock()

    def resume(self) -> None:
        """Let the clock of silence go on."""
        self._alive += self._clock() - self._resting_since

    def progressed(self) -> None:
        """Start the clock of silence anew."""
        self._alive = self._clock()
        self._paused = 0.0

    def received(self, count: int) -> None:
        """Count bytes; enough of them are progress."""
        self._fresh += count
        if self._fresh >= REAL_PROGRESS:
            self._fresh = 0
            self.progressed()

    def sit_out(self) -> None:
        """Wait for the end of the pause that a server asked for, if there is one."""
        self._paused += self._patience.pause()

    def run(self, action: Callable[[], T], earlier: DownloadError | None = None) -> T:
        """Return what `action` returns, trying again after passing trouble. Raises our errors.

        `earlier` is trouble that has happened already: it counts as the first try.
        """
        first = True

        def once() -> T:
            nonlocal first
            if first and earlier is not None:
                first = False
                return self._fail(earlier)
            self.sit_out()
            self._patience.cancellation.check()
            began = self._clock()
            try:
                return action()
            except Throttled as error:
                return self._fail(error)
            finally:
                self._alive += self._clock() - began if first else 0.0
                first = False

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_passing),
            wait=self._pause,
            stop=self._too_long,
            sleep=self._patience.cancellation.sleep,
            before_sleep=self._tell,
            reraise=True,
        )
        worked = False
        try:
            result = retrying(once)
            worked = True
        except SourceSilent as error:
            raise Stalled(f"{error.message}: nothing came for {self._patience.silence:.0f} s") from error
        finally:
            self._patience.relieve(self, worked=worked)
        return result

    def _fail(self, error: DownloadError) -> Never:
        """Raise an error as it comes: a pause that it asks for begins before anybody waits for anything."""
        if isinstance(error, Throttled):
            self._patience.honour_retry_after(error)
        raise error

    def _pause(self, state: tenacity.RetryCallState) -> float:
        """Wait longer each time, but never beyond the end of patience."""
        return min(_BACKOFF(state), self._left(state))

    def _left(self, state: tenacity.RetryCallState) -> float:
        """Return the seconds for which this trouble will be borne."""
        return max(0.0, self._silence(state) - (self._clock() - self._alive - self._paused))

    def _too_long(self, state: tenacity.RetryCallState) -> bool:
        elapsed = self._clock() - self._alive
        return elapsed - self._paused >= self._silence(state) or elapsed >= THROTTLED_PATIENCE

    def _silence(self, state: tenacity.RetryCallState) -> float:
        """Return how long this trouble is borne: a wrong address is the likeliest reason why nothing ever came."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, UnknownHost) and not self._patience.meter.has_response:
            return min(UNKNOWN_HOST_PATIENCE, self._patience.silence)
        return self._patience.silence

    def _tell(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, DownloadError):
            self._patience.endure(self, self._what, error, self._left(state))


def is_passing(error: BaseException) -> bool:
    """Tell whether the same thing may work at another time."""
    return isinstance(error, DownloadError) and error.verdict is Verdict.RETRY
