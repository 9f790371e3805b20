"""The one list of protocols: which transport, with which numbers, serves each name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from downloader.artifact import Protocol
from downloader.sources import Presigning
from downloader.sources.crowd import Crowd, NoticingSource, QueueingSource
from downloader.sources.limit import LimitedSource
from downloader.sources.persistent import PersistentSource
from downloader.sources.retry import Patience
from downloader.transports.ranged import Ranged
from downloader.transports.xet.transport import Xet

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.cancellation import Cancellation
    from downloader.meter import Meter
    from downloader.sources import Source
    from downloader.sources.limit import Bandwidth
    from downloader.sources.pause import SharedPause
    from downloader.transports import Transport
    from downloader.transports.shape import Shape
    from downloader.transports.xet.tuning import Tuning


@dataclass(frozen=True, slots=True)
class Workshop:
    """What transports are made of."""

    source: Source
    meter: Meter
    shape: Shape
    silence: float
    """Seconds of trouble that one span is given."""
    tuning: Tuning
    interrupt: Callable[[], None]
    """Wakes all who wait for an answer of the source."""
    pause: SharedPause
    bandwidth: Bandwidth | None = None

    def make(self, protocol: Protocol, attempt: Cancellation) -> Transport:
        """Return the transport for one attempt."""
        attempt.on_cancel(self.interrupt)
        return TRANSPORTS[protocol](self, attempt)

    def reader(self, attempt: Cancellation, *, plain: bool = False) -> Source:
        """Return the source with the cap, the retry policy and the crowd's limit around it, for one attempt.

        `plain`: over nothing but HTTP, where the source knows a difference.
        """
        source = self.source.presigned() if plain and isinstance(self.source, Presigning) else self.source
        crowd = Crowd(attempt, self.meter.clock)
        noticing = NoticingSource(self.capped(source, attempt), crowd)
        patience = Patience(self.silence, self.meter, attempt, self.pause)
        return QueueingSource(PersistentSource(noticing, patience), crowd)

    def capped(self, source: Source, attempt: Cancellation) -> Source:
        """Return the source with the cap around it, if there is one."""
        return LimitedSource(source, self.bandwidth, attempt) if self.bandwidth else source


def _ranges(workshop: Workshop, attempt: Cancellation) -> Transport:
    return Ranged(workshop.reader(attempt), workshop.meter, attempt, workshop.shape)


def _streams(workshop: Workshop, attempt: Cancellation) -> Transport:
    shape = replace(workshop.shape, request=lambda _: None, together=1)
    return Ranged(workshop.reader(attempt, plain=True), workshop.meter, attempt, shape)


def _xet(workshop: Workshop, attempt: Cancellation) -> Transport:
    pace = partial(workshop.capped, attempt=attempt) if workshop.bandwidth else None
    plain = workshop.reader(attempt)
    return Xet(workshop.source, plain, workshop.meter, attempt, workshop.shape, workshop.tuning, workshop.pause, pace)


TRANSPORTS: dict[Protocol, Callable[[Workshop, Cancellation], Transport]] = {
    Protocol.XET: _xet,
    Protocol.HF_TRANSFER: _ranges,
    Protocol.RANGES: _ranges,
    Protocol.S3: _ranges,
    Protocol.HTTP: _streams,
}
