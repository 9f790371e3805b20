"""The type of a folder's file system, and syncfs(2), which the standard library lacks."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

LOCAL = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "tmpfs", "xfs"})
"""Types on which syncing everything costs no more than what we wrote ourselves, and reports lost pages."""
FUSE = "fuse"
"""Prefix of the types that run in user space; some of them mount an object store."""
CEPH_FUSE = f"{FUSE}.ceph-fuse"
"""CephFS by its client in user space, which wants to be written to and synced in its own way (ADR 90)."""
FIRST_HONEST_KERNEL = (5, 8)
"""Before this version, syncfs(2) did not report pages that could not be written."""


def kind(descriptor: int) -> str:
    """Return the type of an open folder's file system; empty if it is unknown."""
    device = os.fstat(descriptor).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        mount, _, source = line.partition(" - ")
        if mount.split(" ", 3)[2] == wanted:
            return source.split(" ", 1)[0]
    return ""


def can_sync_whole(of_kind: str) -> bool:
    """Return whether `sync_whole` is cheap and can be trusted on file systems of this type."""
    release = os.uname().release.split(".")
    numbers = tuple(int(part) for part in release[:2] if part.isdigit())
    return numbers >= FIRST_HONEST_KERNEL and of_kind in LOCAL and hasattr(_libc(), "syncfs")


def sync_whole(descriptor: int) -> None:
    """Return when everything that was written to the file system survives a power loss. Raises OSError."""
    if _libc().syncfs(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
