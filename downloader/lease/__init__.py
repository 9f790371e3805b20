"""The lease: which of several processes may change a volume, by observed heartbeats, without clocks or flock."""

from downloader.lease.acquire import LeaseAcquirer
from downloader.lease.lease import PARTS, SHARDS, WORK, Lease, boot_clock, is_lease, new_token
from downloader.lease.look import FoundLease, find_lease
from downloader.lease.process_id import ProcessIdentity

__all__ = [
    "PARTS",
    "SHARDS",
    "WORK",
    "FoundLease",
    "Lease",
    "LeaseAcquirer",
    "ProcessIdentity",
    "boot_clock",
    "find_lease",
    "is_lease",
    "new_token",
]
