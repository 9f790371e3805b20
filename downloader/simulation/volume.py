"""A volume as the debug switches want it: with room for anything, and verified for a given time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from downloader.errors import IntegrityError
from downloader.filesystem import Disk
from downloader.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from downloader.artifact import Manifest
    from downloader.filesystem import Space


class RoomyDisk(Disk):
    """A real disk that claims to have room for everything: simulated files are holes."""

    def space(self) -> Space:
        """Return the real block size, and room without end."""
        return super().space()._replace(free_bytes=sys.maxsize, free_files=None)


class SimulatedVolume(Volume):
    """A volume whose last step takes `verification` seconds and, if told so, fails. `sleep` may raise to end it."""

    def __init__(
        self,
        target: Path,
        *,
        ttl: float,
        sleep: Callable[[float], None],
        verification: float = 0.0,
        fails: bool = False,
    ) -> None:
        super().__init__(target, files=RoomyDisk(target), ttl=ttl)
        self._sleep = sleep
        self._verification = verification
        self._fails = fails

    def publish(self, manifest: Manifest, digests: Mapping[str, str]) -> None:
        """Pretend to verify, then publish. Raises IntegrityError if the verification is to fail."""
        self._sleep(self._verification)
        if self._fails:
            raise IntegrityError("the simulated verification failed", hint="unset AIM_DEBUG_VERIFY_FAIL")
        super().publish(manifest, digests)
