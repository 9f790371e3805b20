"""A cap on bandwidth, as a source around a source."""

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
"""Seconds by which the cap may be run ahead of."""
SMALLEST_PIECE = 16 << 10


class Bandwidth:
    """So many bytes per second for all threads of a run together."""

    def __init__(self, rate: int, meter: ProgressMeter) -> None:
        self._rate = rate
        self._clock = meter.clock
        self._paid_until = meter.clock()
        self._lock = threading.Lock()

    @property
    def piece(self) -> int:
        """The most that should be read at once, in bytes."""
        return max(SMALLEST_PIECE, int(self._rate * BURST / 4))

    def spend(self, count: int) -> float:
        """Count bytes that were read; return the seconds to wait before the next are."""
        with self._lock:
            now = self._clock()
            self._paid_until = max(self._paid_until, now - BURST) + count / self._rate
            return max(0.0, self._paid_until - now)


class LimitedSource(SourceWrapper):
    """A source that is read no faster than the bandwidth allows."""

    def __init__(self, source: Source, bandwidth: Bandwidth, cancellation: Cancellation) -> None:
        super().__init__(source)
        self._bandwidth = bandwidth
        self._cancellation = cancellation

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Start reading a span."""
        return LimitedBody(self._source.open(file, span), self._bandwidth, self._cancellation)


class LimitedBody:
    """A body that makes its reader wait."""

    def __init__(self, body: Body, bandwidth: Bandwidth, cancellation: Cancellation) -> None:
        self._body = body
        self._bandwidth = bandwidth
        self._cancellation = cancellation
        self._piece = bandwidth.piece

    def readinto(self, view: memoryview, /) -> int:
        """Put the next bytes into `view`, at most a piece, and wait until they are paid for."""
        count = self._body.readinto(view[: self._piece])
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
