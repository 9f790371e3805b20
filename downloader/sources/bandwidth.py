"""The bandwidth limit: a token bucket that all threads of a run share, and a source wrapper that obeys it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from downloader.sources.base import SourceWrapper

if TYPE_CHECKING:
    from downloader.artifact import RemoteFile, Span
    from downloader.cancellation import Cancellation
    from downloader.progress import ProgressMeter
    from downloader.sources.base import Body, Source

BURST = 0.1
"""Seconds of unused bandwidth that may be caught up on."""
MIN_READ_SIZE = 16 << 10
"""Bytes per read, at least: smaller reads would cost more CPU time than they smooth the rate."""


class Bandwidth:
    """A rate in bytes per second, for all threads of a run together."""

    def __init__(self, rate: int, meter: ProgressMeter) -> None:
        self._whole = self._rate = rate
        self._clock = meter.clock
        self._paid_until = meter.clock()
        self._lock = threading.Lock()

    def divide(self, processes: int) -> None:
        """Take an equal part of the rate, where `processes` share it."""
        with self._lock:
            self._rate = max(1, self._whole // processes)

    @property
    def read_size(self) -> int:
        """The number of bytes that should be read at once, at most."""
        return max(MIN_READ_SIZE, int(self._rate * BURST / 4))

    def spend(self, count: int) -> float:
        """Record bytes that were read; return the seconds to wait before the next read."""
        with self._lock:
            now = self._clock()
            self._paid_until = max(self._paid_until, now - BURST) + count / self._rate
            return max(0.0, self._paid_until - now)


class LimitedSource(SourceWrapper):
    """A source that is read no faster than the limit."""

    def __init__(self, source: Source, bandwidth: Bandwidth, cancellation: Cancellation) -> None:
        super().__init__(source)
        self._bandwidth = bandwidth
        self._cancellation = cancellation

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Start reading a range."""
        return LimitedBody(self._source.open(file, span), self._bandwidth, self._cancellation)


class LimitedBody:
    """A body whose reads wait for the limit."""

    def __init__(self, body: Body, bandwidth: Bandwidth, cancellation: Cancellation) -> None:
        self._body = body
        self._bandwidth = bandwidth
        self._cancellation = cancellation
        self._read_size = bandwidth.read_size

    def readinto(self, view: memoryview, /) -> int:
        """Put the next bytes into `view`, at most `read_size`, and wait until the limit allows more."""
        count = self._body.readinto(view[: self._read_size])
        pause = self._bandwidth.spend(count)
        if pause > 0:
            self._cancellation.sleep(pause)
        return count

    def interrupt(self) -> None:
        """Wake a reader that is blocked in another thread."""
        self._body.interrupt()

    def close(self) -> None:
        """Close the body."""
        self._body.close()
