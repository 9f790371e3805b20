"""The lease: which of several processes may change a volume, by observed heartbeats, without clocks or flock."""

from downloader.lease.acquire import LeaseAcquirer
from downloader.lease.lease import PARTS, WORK, Lease, boot_clock, is_lease

__all__ = ["PARTS", "WORK", "Lease", "LeaseAcquirer", "boot_clock", "is_lease"]
