"""The lease: which of several processes may change a volume, by observed heartbeats, without clocks or flock."""

from downloader.lease.acquire import LeaseAcquirer
from downloader.lease.lease import PARTS, WORK, Lease, boot_clock, is_lease
from downloader.lease.look import FoundLease, find_lease

__all__ = ["PARTS", "WORK", "FoundLease", "Lease", "LeaseAcquirer", "boot_clock", "find_lease", "is_lease"]
