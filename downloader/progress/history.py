"""What a run has done so far: seconds in each phase, and its attempts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.progress.snapshot import Attempt

if TYPE_CHECKING:
    from downloader.artifact import TransferProtocol
    from downloader.errors import DownloadError
    from downloader.progress.snapshot import Phase


@dataclass(frozen=True, slots=True)
class Counts:
    """Readings of the meter at one moment."""

    now: float
    """Seconds of the meter's clock."""
    received: int
    discarded: int


class History:
    """Grows with each phase and attempt, never with a file or a byte. The meter's lock guards it."""

    def __init__(self, phase: Phase, now: float) -> None:
        self._phase = phase
        self._since = now
        self._seconds: dict[Phase, float] = {}
        self._ended: tuple[Attempt, ...] = ()
        self._running: tuple[TransferProtocol, int, str, Counts] | None = None

    def enter(self, phase: Phase, now: float) -> None:
        """Begin a phase, which ends the one before."""
        self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = phase, now

    def begin_attempt(self, protocol: TransferProtocol, number: int, place: str, counts: Counts) -> None:
        """Begin an attempt."""
        self._running = (protocol, number, place, counts)

    def end_attempt(self, error: DownloadError | None, files_left: int, counts: Counts) -> None:
        """End it: complete without an error."""
        if self._running is not None:
            self._ended = (*self._ended, _attempt(*self._running, counts, error=error, files_left=files_left))
            self._running = None

    def attempts(self, counts: Counts) -> tuple[Attempt, ...]:
        """Return the attempts; one that has not ended has no number of files that are left."""
        running = () if self._running is None else (_attempt(*self._running, counts),)
        return (*self._ended, *running)

    def phases(self, now: float) -> tuple[tuple[Phase, float], ...]:
        """Return the seconds in each phase, in the order of their first beginnings."""
        seconds = {**self._seconds, self._phase: self._seconds.get(self._phase, 0.0) + now - self._since}
        return tuple(seconds.items())


def _attempt(
    protocol: TransferProtocol,
    number: int,
    place: str,
    began: Counts,
    counts: Counts,
    *,
    error: DownloadError | None = None,
    files_left: int | None = None,
) -> Attempt:
    return Attempt(
        protocol,
        number,
        seconds=counts.now - began.now,
        received_bytes=counts.received - began.received,
        discarded_bytes=counts.discarded - began.discarded,
        files_left=files_left,
        error=error,
        place=place,
    )
