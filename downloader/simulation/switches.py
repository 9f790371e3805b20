"""Chooses what a run simulates, by the debug switches: source and transports. Engine, volume and watchdog are real."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.simulation.source import SimulatedSource
from downloader.simulation.transport import Script, SimulatedTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.artifact import TransferProtocol
    from downloader.cancellation import Cancellation
    from downloader.config import Settings
    from downloader.progress import ProgressMeter
    from downloader.sources.registry import ArtifactUri
    from downloader.transfer import Transport

FOREVER = 1e6
"""Seconds: longer than any Job may run."""
DEFAULT_SIZE = 1 << 20
HUB_SIZE = 100 << 10


@dataclass(frozen=True, slots=True)
class Simulation:
    """A simulated source, and the transports for it."""

    source: SimulatedSource
    sequence: tuple[TransferProtocol, ...]
    script: Callable[[TransferProtocol], Script]
    meter: ProgressMeter

    def make(self, protocol: TransferProtocol, attempt: Cancellation) -> Transport:
        """Return the transport for one attempt."""
        return SimulatedTransport(self.source, self.script(protocol), self.meter, attempt)


class SlowLooks:
    """Checks of a volume by the progress monitor, each of which takes `seconds`; the first `calls` of them are slow.

    Only the monitor waits for them: the run itself continues to use the volume. So they need no thread, only the times
    at which each of them begins and ends. `pause` is the seconds between two checks.
    """

    def __init__(
        self, name: str, seconds: float, calls: int, *, pause: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._doing = f"looking at {name}"
        self._seconds = seconds
        self._calls = calls
        self._pause = pause
        self._clock = clock
        self._began = clock()

    def oldest(self) -> tuple[str, float] | None:
        """Return the check that has not ended and the seconds that it has lasted; None between two checks."""
        looks_done, waiting = divmod(self._clock() - self._began, self._seconds + self._pause)
        return (self._doing, waiting) if looks_done < self._calls and waiting < self._seconds else None


def slow_looks_of(settings: Settings) -> SlowLooks | None:
    """Return the slow checks that the debug switches ask for; None if they ask for none."""
    job, debug = settings.job, settings.debug
    if not debug.look_duration:
        return None
    return SlowLooks(str(job.target), debug.look_duration, debug.slow_looks, pause=job.progress_interval)


def simulation_of(
    uri: ArtifactUri, settings: Settings, sequence: tuple[TransferProtocol, ...], meter: ProgressMeter
) -> Simulation | None:
    """Return the simulation that the debug switches ask for, over these protocols; None if they ask for none."""
    debug = settings.debug
    size = settings.job.expected_size or DEFAULT_SIZE

    def simulation(
        size: int, sequence: tuple[TransferProtocol, ...], script: Callable[[TransferProtocol], Script]
    ) -> Simulation:
        return Simulation(SimulatedSource(uri.text, size), sequence, script, meter)

    def hub(protocol: TransferProtocol) -> Script:
        hang = debug.hub_hang_duration if protocol in debug.hub_hanging else 0.0
        failure = f"AIM_DEBUG_SIMULATE_HF_FAIL_PROTOCOLS has {protocol}" if protocol in debug.hub_failing else ""
        return Script(hang=hang, run=debug.hub_duration, failure=failure)

    if debug.cause_hang:
        # No protocol would receive a byte: one stall is enough, within the time that the operator waits.
        return simulation(size, sequence[:1], lambda _: Script(hang=FOREVER))
    if debug.cause_failure:
        return simulation(size, sequence[:1], lambda _: Script(failure="AIM_DEBUG_CAUSE_FAILURE is set"))
    if debug.simulate_download:
        return simulation(size, sequence, lambda _: Script(pause=debug.download_duration))
    if uri.scheme.simulates_hub and (debug.simulate_hub or debug.hub_hanging):
        return simulation(HUB_SIZE, sequence, hub)
    return None
