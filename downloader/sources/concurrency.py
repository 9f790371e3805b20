"""Adaptive concurrency: how many requests an attempt has in flight, decided in one place.

`ConcurrencyController` works like TCP's slow start and congestion avoidance: it doubles the limit while that raises
throughput, halves it when the server throttles, and then raises it by one at a time (AIMD, additive increase and
multiplicative decrease). Two thin source wrappers feed it:

- `ThrottleObservingSource`, below the retry policy, reports each throttling response and each broken connection;
- `ConcurrencyLimitedSource`, above the retry policy, makes readers wait for a free place, so that the time of a wait
  is not counted against the retry budget.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from downloader.condition import Condition
from downloader.deadlines import CHECK_INTERVAL
from downloader.errors import ConnectionBroken, DownloadError, Throttled
from downloader.formatting import format_count
from downloader.sources.base import SourceWrapper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from downloader.artifact import RemoteFile, Span
    from downloader.cancellation import Cancellation
    from downloader.sources.base import Body, Source

UNLIMITED = 1 << 16
WARM_UP_SECONDS = 0.25
"""Time that new connections get to become fast before throughput is measured."""
MEASURE_SECONDS = 0.25
"""Time over which throughput is measured."""
GAIN = 1.5
"""Factor by which a doubling must have raised throughput to justify the next one (ADR 38)."""
CPU_BOUND = 0.5
"""CPU seconds per second from which this process, and not the network, may be the bottleneck."""
COALESCE_SECONDS = 1.0
"""Throttling responses within this time count as one: they answer requests that were sent together."""
DISCONNECTS = 3
"""Connections that break within `COALESCE_SECONDS` and count as throttling; fewer are accidents (ADR 40)."""
RECOVERY_SECONDS = 10.0
"""Time without throttling, while bytes arrive, after which a reduced limit is raised by one."""

log = logging.getLogger(__name__)


class _Measurement(NamedTuple):
    """The counters at the start of a measurement."""

    time: float
    received_bytes: int
    cpu_seconds: float


class ConcurrencyController:
    """The number of requests that may be in flight, from 1 to a maximum. All methods are thread-safe.

    Two numbers describe its state: `workers`, the highest limit that throughput has justified, and `limit`, which
    throttling reduces below that. While `limit` is reduced, throughput is not measured: what a throttled server
    delivers says nothing about more connections. Doubling starts again once `limit` has recovered to `workers`.
    """

    def __init__(self, cancellation: Cancellation, clock: Callable[[], float]) -> None:
        """`clock` returns seconds, monotonic. Without `start` there is no limit until the server throttles."""
        self._cancellation = cancellation
        self._clock = clock
        self._lock = threading.Lock()
        self._changed = Condition(self._lock)
        self._active = 0
        self._limit = self._workers = self._maximum = UNLIMITED
        # Slow start.
        self.may_grow = False
        """Throughput may still justify more workers, so `on_throughput` wants to be called."""
        self._warm_at: float | None = None
        self._measurement: _Measurement | None = None
        self._throughput = 0.0
        # Congestion avoidance.
        self._throttled = False
        self._ever_throttled = False
        self._throttled_at = -COALESCE_SECONDS
        self._raised_at = -COALESCE_SECONDS
        self._completed = 0
        self._disconnects: deque[float] = deque(maxlen=DISCONNECTS)

    @property
    def limit(self) -> int:
        """The number of requests that may be in flight."""
        return self._limit

    @property
    def workers(self) -> int:
        """The highest limit so far. Never falls: a worker thread above the limit waits in `acquire`."""
        return self._workers

    @property
    def ever_throttled(self) -> bool:
        """Whether the server has throttled this attempt."""
        return self._ever_throttled

    def start(self, initial: int, maximum: int) -> None:
        """Set the first limit and the highest one. Called once, before the first request."""
        with self._lock:
            self._limit = self._workers = initial
            self._maximum = maximum
            self.may_grow = initial < maximum

    def acquire(self) -> None:
        """Wait until a request may be sent. Raises the reason of a cancellation."""
        with self._lock:
            while self._active >= self._limit:
                self._changed.wait(CHECK_INTERVAL)
                self._cancellation.check()
            self._active += 1

    def release(self, *, completed: bool = True) -> None:
        """End a request. As many `completed` requests as the limit allows raise a reduced limit by one."""
        with self._lock:
            self._active -= 1
            if self._throttled:
                self._completed += completed
                if self._completed >= self._limit:
                    self._raise_by_one()
            self._changed.notify_all()

    def on_throughput(self, now: float, received_bytes: int, cpu_seconds: float) -> None:
        """Double the limit if the last doubling has raised throughput by half. Called a few times per second.

        `now` is in seconds, monotonic; `received_bytes` and `cpu_seconds` are totals of this process.
        """
        if not self.may_grow or self._throttled:
            return
        if self._warm_at is None:
            self._warm_at = now + WARM_UP_SECONDS
        if now < self._warm_at:
            return
        measurement = self._measurement
        if measurement is None:
            measurement = self._measurement = _Measurement(now, received_bytes, cpu_seconds)
        elapsed = now - measurement.time
        if elapsed < MEASURE_SECONDS:
            return
        throughput = (received_bytes - measurement.received_bytes) / elapsed
        cpu_bound = cpu_seconds - measurement.cpu_seconds >= CPU_BOUND * elapsed
        with self._lock:
            if self._measurement is not measurement:
                return  # the server throttled meanwhile
            self._measurement = None
            if not throughput:
                return  # no response has arrived yet
            before, self._throughput = self._throughput, throughput
            self.may_grow = throughput > GAIN * before and not cpu_bound
            if self.may_grow:
                log.debug("%d connections bring %.0f MiB/s: more may bring more", self._workers, throughput / (1 << 20))
                self._limit = self._workers = min(2 * self._workers, self._maximum)
                self.may_grow = self._workers < self._maximum
                self._warm_at = now + WARM_UP_SECONDS
                self._changed.notify_all()

    def on_throttled(self, sent_at: float | None = None) -> None:
        """Halve the limit, unless the request was `sent_at` a time (of the clock) before the last halving."""
        with self._lock:
            self._throttled = self._ever_throttled = True
            self._warm_at = self._measurement = None
            self._completed = 0
            now = self._clock()
            # Many requests in flight are answered by many responses, which all report the same overload.
            if now - self._throttled_at < COALESCE_SECONDS or (sent_at is not None and sent_at < self._throttled_at):
                return
            self._throttled_at = self._raised_at = now
            before, self._limit = self._limit, max(1, min(self._limit, self._active) // 2)
        if self._limit != before:
            log.info("the server is throttling; reduced to %s", format_count(self._limit, "connection"))

    def on_disconnect(self) -> None:
        """Record a broken connection. It counts from the next request on: when a run ends, all connections break."""
        self._disconnects.append(self._clock())

    def on_request(self) -> None:
        """Treat connections that broke together as throttling. Called before each request."""
        if len(self._disconnects) < DISCONNECTS:
            return
        with self._lock:
            several = len(self._disconnects) == DISCONNECTS
            together = several and self._disconnects[-1] - self._disconnects[0] < COALESCE_SECONDS
            if together:
                self._disconnects.clear()
        if together:
            self.on_throttled()

    def on_bytes(self) -> None:
        """Raise a reduced limit by one if the server has not throttled for a while: one request may last for hours."""
        if not self._throttled or self._clock() - self._raised_at < RECOVERY_SECONDS:
            return
        with self._lock:
            if self._throttled and self._clock() - self._raised_at >= RECOVERY_SECONDS:
                self._raise_by_one()
                self._changed.notify_all()

    def _raise_by_one(self) -> None:
        self._limit = min(self._limit + 1, self._workers)
        self._throttled = self._limit < self._workers
        self._completed = 0
        self._raised_at = self._clock()


class ThrottleObservingSource(SourceWrapper):
    """A source that reports throttling and broken connections to the controller."""

    def __init__(self, source: Source, concurrency: ConcurrencyController) -> None:
        super().__init__(source)
        self._concurrency = concurrency

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Start reading a range."""
        self._concurrency.on_request()
        try:
            return _ObservedBody(self._source.open(file, span), self._concurrency)
        except Throttled as error:
            self._concurrency.on_throttled(error.asked_at)
            raise
        except ConnectionBroken:
            self._concurrency.on_disconnect()
            raise


class _ObservedBody:
    """A body that reports received bytes and a broken connection to the controller."""

    def __init__(self, body: Body, concurrency: ConcurrencyController) -> None:
        self._body = body
        self._concurrency = concurrency
        self.interrupt = body.interrupt
        self.close = body.close

    def readinto(self, view: memoryview, /) -> int:
        """Put the next bytes into `view`."""
        try:
            count = self._body.readinto(view)
        except ConnectionBroken:
            self._concurrency.on_disconnect()
            raise
        self._concurrency.on_bytes()
        return count


class ConcurrencyLimitedSource(SourceWrapper):
    """A source that has no more requests in flight than the controller allows."""

    def __init__(self, source: Source, concurrency: ConcurrencyController) -> None:
        super().__init__(source)
        self._concurrency = concurrency

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Start reading a range once the limit allows it; the request ends when the body is closed."""
        self._concurrency.acquire()
        try:
            return _CountedBody(self._source.open(file, span), self._concurrency)
        except DownloadError:
            self._concurrency.release(completed=False)
            raise

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Pass the hint on, unless the server has throttled: prefetched requests are not counted."""
        if not pieces or not self._concurrency.ever_throttled:
            self._source.prefetch(pieces)


class _CountedBody:
    """A body that is counted as a request in flight until it is closed."""

    def __init__(self, body: Body, concurrency: ConcurrencyController) -> None:
        self._body = body
        self._concurrency: ConcurrencyController | None = concurrency
        self._completed = False

    def readinto(self, view: memoryview, /) -> int:
        """Put the next bytes into `view`."""
        count = self._body.readinto(view)
        self._completed = count == 0
        return count

    def interrupt(self) -> None:
        """Wake a reader that is blocked in another thread."""
        self._body.interrupt()

    def close(self) -> None:
        """Close the body; may be called twice."""
        concurrency, self._concurrency = self._concurrency, None
        if concurrency is None:
            return
        try:
            self._body.close()
        finally:
            concurrency.release(completed=self._completed)
