"""Fewer readers where a server asks for a pause or breaks connections: two thin sources that count who reads.

The inner one, below the retry policy, notices each refusal; the outer one, above it, lets readers wait for their turn.
So nobody's patience runs out while it is somebody else's turn.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING

from downloader.errors import ConnectionBroken, DownloadError, Throttled
from downloader.sources.base import SourceWrapper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from downloader.artifact import RemoteFile, Span
    from downloader.cancellation import Cancellation
    from downloader.sources.base import Body, Source

NO_LIMIT = 1 << 16
SAME_BREATH = 1.0
"""Seconds within which several refusals count as one: they answer requests that were sent together."""
SEVERAL = 3
"""Connections that break in one breath before that counts as a refusal: fewer are accidents."""
CALM = 10.0
"""Seconds in which bytes came and nothing was refused, after which one more may read: a turn may last for hours."""
WAKE_UP = 0.2
"""Seconds between two looks for a cancellation."""

log = logging.getLogger(__name__)


class AdaptiveLimiter:
    """Those who read at one time: half as many after each refusal.

    Then one more each time that all of them came to their end, or that bytes came for a while and nothing was refused.
    """

    def __init__(self, cancellation: Cancellation, clock: Callable[[], float]) -> None:
        self._cancellation = cancellation
        self._clock = clock
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._inside = 0
        self._limit = NO_LIMIT
        self._turns = 0
        self._shrunk = -SAME_BREATH
        self._calm_since = -SAME_BREATH
        self._broken: deque[float] = deque(maxlen=SEVERAL)
        """When the last connections broke."""

    @property
    def limit(self) -> int:
        """How many may read at one time."""
        return self._limit

    def enter(self) -> None:
        """Wait for a turn. Raises the reason of the cancellation."""
        with self._lock:
            while self._inside >= self._limit:
                self._changed.wait(WAKE_UP)
                self._cancellation.check()
            self._inside += 1

    def leave(self, *, went_well: bool = True) -> None:
        """End a turn."""
        with self._lock:
            self._inside -= 1
            if self._limit == NO_LIMIT:
                return
            self._turns += went_well
            if self._turns >= self._limit:
                self._grow()
            self._changed.notify_all()

    def receive(self) -> None:
        """Take note that bytes came."""
        if self._limit == NO_LIMIT or self._clock() - self._calm_since < CALM:
            return
        with self._lock:
            if self._clock() - self._calm_since >= CALM:
                self._grow()
                self._changed.notify_all()

    def _grow(self) -> None:
        self._limit += 1
        self._turns = 0
        self._calm_since = self._clock()

    def shrink(self, asked_at: float | None = None) -> None:
        """Halve the limit after a refusal, unless the request was on its way already when that was last done."""
        with self._lock:
            self._turns = 0
            if self._clock() - self._shrunk < SAME_BREATH or (asked_at is not None and asked_at < self._shrunk):
                return
            self._shrunk = self._calm_since = self._clock()
            before, self._limit = self._limit, max(1, min(self._limit, self._inside) // 2)
        if self._limit != before:
            log.info("the server is throttling; reduced to %d connections", self._limit)

    def lose(self) -> None:
        """Take note of a connection that broke. That may be the end of the run, so nothing follows until `ask`."""
        self._broken.append(self._clock())

    def ask(self) -> None:
        """Take it to heart, before a server is asked again, if it has broken several connections in one breath."""
        with self._lock:
            several = len(self._broken) == SEVERAL and self._broken[-1] - self._broken[0] < SAME_BREATH
            if several:
                self._broken.clear()
        if several:
            self.shrink()


class ThrottleObservingSource(SourceWrapper):
    """A source that tells the limiter when it is throttled, or a connection breaks."""

    def __init__(self, source: Source, limiter: AdaptiveLimiter) -> None:
        super().__init__(source)
        self._limiter = limiter

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Start reading a span."""
        self._limiter.ask()
        try:
            return _Noticed(self._source.open(file, span), self._limiter)
        except Throttled as error:
            self._limiter.shrink(error.asked_at)
            raise
        except ConnectionBroken:
            self._limiter.lose()
            raise


class _Noticed:
    """A body whose connection is missed when it breaks."""

    def __init__(self, body: Body, limiter: AdaptiveLimiter) -> None:
        self._body = body
        self._limiter = limiter
        self.interrupt = body.interrupt
        self.close = body.close

    def readinto(self, view: memoryview, /) -> int:
        """Put the next bytes into `view`."""
        try:
            count = self._body.readinto(view)
        except ConnectionBroken:
            self._limiter.lose()
            raise
        self._limiter.receive()
        return count


class ConcurrencyLimitedSource(SourceWrapper):
    """A source that is read by no more at one time than the limiter allows."""

    def __init__(self, source: Source, limiter: AdaptiveLimiter) -> None:
        super().__init__(source)
        self._limiter = limiter

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Start reading a span when it is its turn; the turn ends when the body is closed."""
        self._limiter.enter()
        try:
            return _Turn(self._source.open(file, span), self._limiter)
        except DownloadError:
            self._limiter.leave(went_well=False)
            raise

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Pass on what will be opened next, unless fewer requests were asked for."""
        if not pieces or self._limiter.limit == NO_LIMIT:
            self._source.prefetch(pieces)


class _Turn:
    """A body whose end lets the next reader in."""

    def __init__(self, body: Body, limiter: AdaptiveLimiter) -> None:
        self._body = body
        self._limiter: AdaptiveLimiter | None = limiter
        self._at_its_end = False

    def readinto(self, view: memoryview, /) -> int:
        """Put the next bytes into `view`."""
        count = self._body.readinto(view)
        self._at_its_end = count == 0
        return count

    def interrupt(self) -> None:
        """Wake a reader that is blocked in another thread."""
        self._body.interrupt()

    def close(self) -> None:
        """Close the body; may be called twice."""
        limiter, self._limiter = self._limiter, None
        if limiter is None:
            return
        try:
            self._body.close()
        finally:
            limiter.leave(went_well=self._at_its_end)
