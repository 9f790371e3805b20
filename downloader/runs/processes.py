"""How many processes share the work of one run.

Where the user has given no number it follows from what there is: it is known when the run knows how much is missing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from downloader.artifact import TransferProtocol
from downloader.cgroups import memory_limit, processors
from downloader.formatting import format_count, format_size

if TYPE_CHECKING:
    from downloader.config import Settings

MAX_AUTOMATIC = 8
"""Processes where the run finds out their number, by its CPUs."""
FEWEST_CPUS, CPUS_EACH = 4, 2
"""CPUs from which more than one process pays, and those that each keeps busy: one with Python, one with the kernel."""
WORTHWHILE = 2 << 30
"""Bytes that each process has to fetch: below, its start costs more than it brings."""
NEEDED, NEEDED_OVER_XET = 96 << 20, 256 << 20
"""Bytes of memory of each process with its buffers: 55 MiB were measured over HTTP, 80 over S3, and 250 over Xet."""

log = logging.getLogger(__name__)


class Processes:
    """How many processes share the work of one run; each has an equal part of the CPUs, bandwidth and memory.

    So it has of a number of connections that was given. Without one each has as many as a run alone would have with its
    CPUs: a connection brings only so much, and several processes are there to bring more than one does.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        protocols: tuple[TransferProtocol, ...],
        connections: int | None = None,
        possible: bool = True,
        memory: int | None = None,
    ) -> None:
        """Take the number that was asked for. What was not asked for is one process unless several are `possible`.

        `connections` are those that all of them may have together, if that was given, and `memory` is that of all of
        them, in bytes, by default the container's.
        """
        sharing = settings.sharing
        self._automatic = sharing.automatic
        self._pods = sharing.pod.total if sharing.pod is not None else 1
        self.cpus = sharing.cpus or processors()
        self.memory = memory or memory_limit()
        self._affordable = max(1, self.memory // _needed(protocols))
        self.connections = connections
        """What all of them may have together, if it was given."""
        self.most = self._fitting() if self._automatic and possible else sharing.count
        self.count = 1
        """Known after `settle`."""
        self._settled = False

    def _fitting(self) -> int:
        """Return the number that CPUs, memory and connections allow."""
        if self.cpus < FEWEST_CPUS:
            return 1
        return min(MAX_AUTOMATIC, self.cpus // CPUS_EACH, self._affordable, self.connections or MAX_AUTOMATIC)

    def settle(self, size: int) -> int:
        """Decide the number for `size` bytes that are missing, once, and return it."""
        if self._settled:
            return self.count
        self._settled = True
        if self._automatic:
            self.count = max(1, min(self.most, size // self._pods // WORTHWHILE))
            return self.count
        self.count = min(self.most, self._affordable, self.connections or self.most)
        if self.count < self.most:
            short = self.count == self._affordable
            what = f"{format_size(self.memory)} of memory" if short else format_count(self.count, "connection")
            enough = "one process" if self.count == 1 else f"{self.count} processes"
            log.warning("%s: enough for %s and not for %d", what, enough, self.most)
        return self.count

    @property
    def several(self) -> bool:
        """Whether other processes share the work, of this run or of others."""
        return self._pods * self.count > 1

    def part(self, number: int) -> int:
        """Return the part of a number that each process may have, at least 1."""
        return max(1, number // self.count)


def _needed(protocols: tuple[TransferProtocol, ...]) -> int:
    return NEEDED_OVER_XET if TransferProtocol.XET in protocols else NEEDED
