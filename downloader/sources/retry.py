"""The retry policy of all sources. `retrying.py` wraps a source in it; no other code repeats a failed request.

What bounds retries is time without progress, not their number: an error is repeated, with growing random pauses between
the tries, until no bytes have come for the *retry budget*. A server that drops each connection after a mebibyte
therefore slows a download down and never ends it, while a server that is down ends it after the budget (ADR 5).

`Retry-After` and `RateLimit` make one pause for all threads and protocols of a run (ADR 59). A pause does not count
against the budget, since waiting for it is what the server has asked for.

tenacity runs the loop. Its own stop and wait rules count tries, so all five of its hooks are ours.
"""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Never, TypeVar

import tenacity

from downloader.deadlines import (
    FIRST_PAUSE,
    MAX_PAUSE,
    MAX_WITHOUT_PROGRESS,
    UNKNOWN_HOST_BUDGET,
)
from downloader.errors import DownloadError, ProtocolFailed, SourceSilent, Stalled, Throttled, UnknownHost, Verdict
from downloader.formatting import format_duration
from downloader.progress import Wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.cancellation import Cancellation
    from downloader.progress import ProgressMeter
    from downloader.sources.pause import SharedPause

T = TypeVar("T")
MIN_PROGRESS = 1 << 16
"""Bytes after which a connection counts as having worked. Fewer do not reset the budget: a server that sends a few
bytes and breaks off, again and again, would never be given up."""
LOGGED_RECOVERY = 5.0
"""Seconds that an outage must last for its end to be logged."""
NUMBERS = re.compile(r"\d+")

_BACKOFF = tenacity.wait_random_exponential(FIRST_PAUSE, MAX_PAUSE)

log = logging.getLogger(__name__)


@dataclass
class RetryPolicy:
    """How long errors are retried. Shared by all threads of an attempt."""

    budget: float
    """Seconds without a byte after which an error is final."""
    meter: ProgressMeter
    cancellation: Cancellation
    shared_pause: SharedPause
    """The pause that servers asked for. It outlasts the attempt: the next protocol asks the same servers."""
    longest: float = MAX_WITHOUT_PROGRESS
    """Seconds without a byte, pauses included, after which an error is final."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _failing: dict[Retrier, Wait] = field(default_factory=dict, init=False)
    _logged: set[str] = field(default_factory=set, init=False)
    _failing_since: float = field(default=0.0, init=False)

    def honour_retry_after(self, error: Throttled) -> None:
        """Begin the pause that a server asks for, if it names one.

        Raises ProtocolFailed if that is longer than the longest that is waited.
        """
        if error.retry_after is None:
            return
        longest = self.shared_pause.longest
        if error.retry_after > longest:
            hint = f"more than the {longest:.0f} s that are waited; try again later"
            raise ProtocolFailed(error.message, hint=hint) from error
        if self.shared_pause.extend(error, error.retry_after):
            log.info("%s; pausing all requests", error.message)

    def wait_for_pause(self) -> float:
        """Sleep until the shared pause is over, and return the seconds that it took; 0.0 without a pause."""
        taken = 0.0
        # Another thread may extend the pause meanwhile.
        while left := self.shared_pause.left:
            with self.meter.paused(self.shared_pause.reason, left):
                self.cancellation.sleep(left)
            taken += left
        return taken

    def record_failure(self, retrier: Retrier, what: str, error: DownloadError, left: float) -> None:
        """Show and log an error that is retried for `left` more seconds.

        When a server goes down, every thread fails within a second: messages that differ only in numbers are logged
        once.
        """
        now = self.meter.clock()
        wait = Wait(f"{error.message}; trying again", now, now + left)
        kind = NUMBERS.sub("#", error.message)
        with self._lock:
            if not self._failing:
                self._failing_since = now
            before = self._failing.get(retrier)
            self._failing[retrier] = wait
            # The pause of a Retry-After has been logged when it began.
            logged = kind in self._logged or (isinstance(error, Throttled) and error.retry_after is not None)
            self._logged.add(kind)
        if before is not None:
            self.meter.end_retry(before)
        self.meter.begin_retry(wait)
        if not logged:
            log.info("%s: %s; trying again for %s at most", what, error, format_duration(left))

    def record_end(self, retrier: Retrier, *, worked: bool) -> None:
        """Record that a retrier has ended. The recovery is logged once, when the last failing one works again."""
        with self._lock:
            wait = self._failing.pop(retrier, None)
            over = wait is not None and not self._failing
            if over:
                self._logged.clear()
        if wait is None:
            return
        self.meter.end_retry(wait)
        lasted = self.meter.clock() - self._failing_since
        if over and worked and lasted >= LOGGED_RECOVERY:
            log.info("recovered after %s", format_duration(lasted))


class Retrier:
    """Retries one thing: a listing, or the reading of one range. For one thread.

    It has a clock that measures time without progress. The clock runs only while the thread waits for a server: not
    between `pause_clock` and `resume_clock`, when the caller writes and hashes what has come, not during the first try
    of an action, since a long listing may work for minutes before it fails, and not while a server that ignores ranges
    sends what comes before the missing bytes. That is not progress either: it may come again and again.
    """

    def __init__(self, policy: RetryPolicy, what: str) -> None:
        """Retry under `policy`; `what` names the thing in the log."""
        self._policy = policy
        self._what = what
        self._clock = policy.meter.clock
        self._fresh = 0
        """Bytes since the last progress."""
        self._progress_at = self._paused_since = self._asked_at = self._clock()
        self._in_pauses = 0.0

    def pause_clock(self) -> None:
        """Stop the clock until `resume_clock`."""
        self._forget_skipping()
        self._paused_since = self._clock()

    def resume_clock(self) -> None:
        """Continue the clock."""
        self._asked_at = self._clock()
        self._progress_at += self._asked_at - self._paused_since

    def reset_clock(self) -> None:
        """Start the clock again at zero: there was progress."""
        self._progress_at = self._asked_at = self._clock()
        self._in_pauses = 0.0

    def _forget_skipping(self) -> None:
        """Take off the clock what this try took until the last byte that came before the missing ones, if any did."""
        if (skipped_at := self._policy.meter.skipped_at) > self._asked_at:
            self._progress_at += skipped_at - self._asked_at
            self._asked_at = skipped_at

    def received(self, count: int) -> None:
        """Count bytes; every `MIN_PROGRESS` of them are progress."""
        self._fresh += count
        if self._fresh >= MIN_PROGRESS:
            self._fresh = 0
            self.reset_clock()

    def wait_for_pause(self) -> None:
        """Wait for the end of the pause that a server asked for, if there is one."""
        self._in_pauses += self._policy.wait_for_pause()
        self._asked_at = self._clock()

    def run(self, action: Callable[[], T], earlier: DownloadError | None = None) -> T:
        """Return what `action` returns, after as many tries as the policy allows.

        `earlier` is an error that has happened already: it counts as the first try. Raises the last error of `action`;
        Stalled instead of SourceSilent, since a server that has said nothing for the whole budget stalls.
        """
        first = True
        self._forget_skipping()

        def once() -> T:
            nonlocal first
            if first and earlier is not None:
                first = False
                return self._fail(earlier)
            self.wait_for_pause()
            self._policy.cancellation.check()
            began = self._asked_at = self._clock()
            try:
                return action()
            except Throttled as error:
                return self._fail(error)
            finally:
                if first:  # what it took is not waiting after an error: see the class
                    self._progress_at += self._clock() - began
                else:
                    self._forget_skipping()
                first = False

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_passing),
            wait=self._pause,
            stop=self._is_exhausted,
            sleep=self._policy.cancellation.sleep,
            before_sleep=self._record,
            reraise=True,
        )
        worked = False
        try:
            result = retrying(once)
            worked = True
        except SourceSilent as error:
            raise Stalled(f"{error.message}: nothing came for {self._policy.budget:.0f} s") from error
        finally:
            self._policy.record_end(self, worked=worked)
        return result

    def _fail(self, error: DownloadError) -> Never:
        """Raise an error. A pause that it asks for begins here, before this or any other thread asks again."""
        if isinstance(error, Throttled):
            self._policy.honour_retry_after(error)
        raise error

    def _pause(self, state: tenacity.RetryCallState) -> float:
        """Return the seconds until the next try: the last one is at the end of the budget, not after it."""
        return min(_BACKOFF(state), self._left(state))

    def _left(self, state: tenacity.RetryCallState) -> float:
        """Return the seconds for which this error is retried from now on."""
        return max(0.0, self._budget(state) - (self._clock() - self._progress_at - self._in_pauses))

    def _is_exhausted(self, state: tenacity.RetryCallState) -> bool:
        elapsed = self._clock() - self._progress_at
        return elapsed - self._in_pauses >= self._budget(state) or elapsed >= self._policy.longest

    def _budget(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, UnknownHost) and not self._policy.meter.has_response:
            return min(UNKNOWN_HOST_BUDGET, self._policy.budget)
        return self._policy.budget

    def _record(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, DownloadError):
            self._policy.record_failure(self, self._what, error, self._left(state))


def is_passing(error: BaseException) -> bool:
    """Whether the same request may succeed at another time."""
    return isinstance(error, DownloadError) and error.verdict is Verdict.RETRY
