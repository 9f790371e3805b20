"""The registry of protocols: which transport serves each of them, and with which config."""

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
    """Creates the transports of a run."""

    source: Source
    meter: ProgressMeter
    config: TransferConfig
    deadlines: Deadlines
    xet_settings: XetSettings
    interrupt: Callable[[], None]
    """Wakes every thread that waits for a response to the source."""
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

        `plain`: over plain HTTP, by presigned URLs where the source has them.
        """
        presigning = ability(self.source, Presigning) if plain else None
        source = presigning.presigned() if presigning is not None else self.source
        observed = ThrottleObservingSource(self.limited(source, attempt), concurrency)
        policy = RetryPolicy(
            self.deadlines.retry_budget, self.meter, attempt, self.pause, self.deadlines.without_progress
        )
        return ConcurrencyLimitedSource(RetryingSource(observed, policy), concurrency)

    def limited(self, source: Source, attempt: Cancellation) -> Source:
        """Return the source with the bandwidth limit, if there is one."""
        return LimitedSource(source, self.bandwidth, attempt) if self.bandwidth else source


def _ranges(factory: TransportFactory, attempt: Cancellation) -> Transport:
    concurrency = factory.concurrency(attempt)
    source = factory.reader(attempt, concurrency)
    return Ranged(source, factory.meter, attempt, factory.config, concurrency)


def _streams(factory: TransportFactory, attempt: Cancellation) -> Transport:
    config = replace(factory.config, request_size=lambda _: None, pipeline_depth=1)
    concurrency = factory.concurrency(attempt)
    source = factory.reader(attempt, concurrency, plain=True)
    return Ranged(source, factory.meter, attempt, config, concurrency)


def _xet(factory: TransportFactory, attempt: Cancellation) -> Transport:
    limit = partial(factory.limited, attempt=attempt) if factory.bandwidth else None
    concurrency = factory.concurrency(attempt)
    plain = factory.reader(attempt, concurrency)
    return Xet(
        factory.source,
        plain,
        factory.meter,
        attempt,
        factory.config,
        factory.xet_settings,
        factory.pause,
        concurrency,
        limit,
    )


TRANSPORTS: dict[TransferProtocol, Callable[[TransportFactory, Cancellation], Transport]] = {
    TransferProtocol.XET: _xet,
    TransferProtocol.HF_TRANSFER: _ranges,
    TransferProtocol.RANGES: _ranges,
    TransferProtocol.S3: _ranges,
    TransferProtocol.FILE: _ranges,
    TransferProtocol.HTTP: _streams,
}
