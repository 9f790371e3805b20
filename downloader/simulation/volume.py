"""The volume of a simulated download: it has room for everything, and a verification that lasts as long as is asked."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.errors import IntegrityError
from downloader.filesystem import Disk
from downloader.volume import Publication

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from downloader.artifact import Manifest
    from downloader.filesystem import Space
    from downloader.volume import CompletedArtifact, Inventory, Volume


class RoomyDisk(Disk):
    """A real disk that reports unlimited free space, since simulated files are holes."""

    def space(self) -> Space:
        """Return the real block size, and unlimited room."""
        return super().space()._replace(free_bytes=sys.maxsize, free_files=None)


@dataclass(frozen=True, slots=True)
class SimulatedVerification:
    """A finalizer that waits before the files are published as they are. `sleep` raises when the run is cancelled."""

    sleep: Callable[[float], None]
    seconds: float = 0.0
    fails: bool = False

    def is_final(self, completed: CompletedArtifact) -> bool:
        """Return True: any complete artifact is final."""
        del completed
        return True

    def inventory(self, volume: Volume, manifest: Manifest) -> Inventory:
        """Compare the volume with the manifest."""
        return volume.inventory(manifest)

    def finalize(
        self, volume: Volume, manifest: Manifest, digests: Mapping[str, str], check: Callable[[], None]
    ) -> Publication:
        """Wait, then return the files as they are. Raises IntegrityError if the verification is to fail."""
        del volume, check
        self.sleep(self.seconds)
        if self.fails:
            raise IntegrityError("the simulated verification failed", hint="unset AIM_DEBUG_VERIFY_FAIL")
        return Publication(manifest, digests)
