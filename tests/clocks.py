"""Time that passes only when a test says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.cancellation import Cancellation

if TYPE_CHECKING:
    from downloader.errors import DownloadError


class Clock:
    """A clock that stands still until it is moved on."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds

    def sleep(self, seconds: float) -> None:
        """Let the time pass at once instead of sleeping."""
        self.pass_by(seconds)


class Sleepless(Cancellation):
    """A cancellation whose sleepers move the clock on instead of sleeping."""

    def __init__(self, clock: Clock, cancel_after: float = float("inf"), reason: DownloadError | None = None) -> None:
        super().__init__()
        self._clock = clock
        self._end = clock.now + cancel_after
        self._ending = reason
        self.sleeps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self._clock.pass_by(seconds)
        if self._ending is not None and self._clock.now >= self._end:
            self.cancel(self._ending)
        self.check()
