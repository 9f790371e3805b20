"""Looks at the lease of a volume without taking it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.filesystem import NotThere
from downloader.lease.lease import epochs, lease_path, parse_lease, read_lease

if TYPE_CHECKING:
    from downloader.filesystem import FileOperations
    from downloader.lease.lease import Holder


@dataclass(frozen=True, slots=True)
class FoundLease:
    """A lease that some process holds, or has left behind."""

    holder: Holder | None
    """None where the lease does not say who it is."""
    beat_ns: int
    """When its heartbeat was written: nanoseconds since 1970 by the clock of the volume."""

    @property
    def abandoned(self) -> bool:
        """Its holder has certainly ended: it ran on this machine, and does not run any more."""
        return self.holder is not None and self.holder.process.is_gone()


def find_lease(files: FileOperations) -> FoundLease | None:
    """Return the newest lease of the volume; None if no process has left one. Raises VolumeError."""
    for epoch in reversed(epochs(files)):
        path = lease_path(epoch)
        try:
            found, content = files.stat(path), read_lease(files, path)
        except NotThere:
            continue
        if found is not None and content is not None:
            return FoundLease(parse_lease(content), found.mtime_ns)
    return None
