"""The volume of a simulated download: it has room for everything, and a verification that lasts as long as is asked."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.errors import IntegrityError
from downloader.filesystem import Disk

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.filesystem import Space


class RoomyDisk(Disk):
    """A real disk that reports unlimited free space, since simulated files are holes."""

    def space(self) -> Space:
        """Return the real block size, and unlimited room."""
        return super().space()._replace(free_bytes=sys.maxsize, free_files=None)


@dataclass(frozen=True, slots=True)
class SimulatedVerification:
    """Takes as long as a verification. `sleep` raises when the run is cancelled."""

    sleep: Callable[[float], None]
    seconds: float = 0.0
    fails: bool = False

    def __call__(self) -> None:
        """Wait. Raises IntegrityError if the verification is to fail."""
        self.sleep(self.seconds)
        if self.fails:
            raise IntegrityError("the simulated verification failed", hint="unset AIM_DEBUG_VERIFY_FAIL")
