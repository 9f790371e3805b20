"""The one list of protocols: which transport, with which numbers, serves each name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from downloader.artifact import TransferProtocol
from downloader.sources import Presigning, ability
from downloader.sources.bandwidth import LimitedSource
from downloader.sources.concurrency import ConcurrencyController, ConcurrencyLimitedSource, ThrottleObservingSource
from downloader.sources.retry import RetryPolicy
from downloader.sources.retrying import RetryingSource
from downloader.transfer.ranged import Ranged
from downloader.transfer.xet import Xet

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.cancellation import Cancellation
    from downloader.deadlines import Deadlines
    from downloader.progress import ProgressMeter
    from downloader.sources import Source
    from downloader.sources.bandwidth import Bandwidth
    from downloader.sources.pause import SharedPause
    from downloader.transfer.base import Transport
    from downloader.transfer.config import TransferConfig
    from downloader.transfer.xet import XetSettings


@dataclass(frozen=True, slots=True)
class TransportFactory:
    """What transports are made of."""

    source: Source
    meter: ProgressMeter
    shape: TransferConfig
    deadlines: Deadlines
    tuning: XetSettings
    interrupt: Callable[[], None]
    """Wakes all who wait for an answer of the source."""
    pause: SharedPause
    bandwidth: Bandwidth | None = None

    def make(self, protocol: TransferProtocol, attempt: Cancellation) -> Transport:
        """Return the transport for one attempt."""
        attempt.on_cancel(self.interrupt)
        return TRANSPORTS[protocol](self, attempt)

    def concurrency(self, attempt: Cancellation) -> ConcurrencyController:
        """Return the controller of one attempt's requests, which its source and its worker pool share."""
        return ConcurrencyController(attempt, self.meter.clock)

    def reader(self, attempt: Cancellation, concurrency: ConcurrencyController, *, plain: bool = False) -> Source:
        """Return the source for one attempt, with bandwidth limit, retries and concurrency limit.

        `plain`: over nothing but HTTP, where the source knows a difference.
        """
        presigning = ability(self.source, Presigning) if plain else None
        source = presigning.presigned() if presigning is not None else self.source
        observed = ThrottleObservingSource(self.capped(source, attempt), concurrency)
        policy = RetryPolicy(self.deadlines.retry_budget, self.meter, attempt, self.pause)
        return ConcurrencyLimitedSource(RetryingSource(observed, policy), concurrency)

    def capped(self, source: Source, attempt: Cancellation) -> Source:
        """Return the source with the cap around it, if there is one."""
        return LimitedSource(source, self.bandwidth, attempt) if self.bandwidth else source


def _ranges(transport_factory: TransportFactory, attempt: Cancellation) -> Transport:
    concurrency = transport_factory.concurrency(attempt)
    source = transport_factory.reader(attempt, concurrency)
    return Ranged(source, transport_factory.meter, attempt, transport_factory.shape, concurrency)


def _streams(transport_factory: TransportFactory, attempt: Cancellation) -> Transport:
    shape = replace(transport_factory.shape, request=lambda _: None, together=1)
    concurrency = transport_factory.concurrency(attempt)
    source = transport_factory.reader(attempt, concurrency, plain=True)
    return Ranged(source, transport_factory.meter, attempt, shape, concurrency)


def _xet(transport_factory: TransportFactory, attempt: Cancellation) -> Transport:
    pace = partial(transport_factory.capped, attempt=attempt) if transport_factory.bandwidth else None
    concurrency = transport_factory.concurrency(attempt)
    plain = transport_factory.reader(attempt, concurrency)
    return Xet(
        transport_factory.source,
        plain,
        transport_factory.meter,
        attempt,
        transport_factory.shape,
        transport_factory.tuning,
        transport_factory.pause,
        concurrency,
        pace,
    )


TRANSPORTS: dict[TransferProtocol, Callable[[TransportFactory, Cancellation], Transport]] = {
    TransferProtocol.XET: _xet,
    TransferProtocol.HF_TRANSFER: _ranges,
    TransferProtocol.RANGES: _ranges,
    TransferProtocol.S3: _ranges,
    TransferProtocol.HTTP: _streams,
}
