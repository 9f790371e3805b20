"""What kind of file system a folder is on, and the one call that Python lacks: syncing all of it at once."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

LOCAL = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "tmpfs", "xfs"})
"""Where syncing everything costs no more than what we wrote ourselves, and tells of lost pages."""
FUSE = "fuse"
"""How the types begin of file systems that are programs: some of them mount an object store."""
FIRST_HONEST_KERNEL = (5, 8)
"""Before it, syncfs(2) did not tell of pages that could not be written."""


def kind(descriptor: int) -> str:
    """Return the type of the file system that an open folder is on, "" if it cannot be found out."""
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


def can_sync_whole(descriptor: int) -> bool:
    """Say whether `sync_whole` is sensible and can be trusted there."""
    release = os.uname().release.split(".")
    numbers = tuple(int(part) for part in release[:2] if part.isdigit())
    return numbers >= FIRST_HONEST_KERNEL and kind(descriptor) in LOCAL and hasattr(_libc(), "syncfs")


def sync_whole(descriptor: int) -> None:
    """Return when everything that was written to the file system survives a power loss. Raises OSError."""
    if _libc().syncfs(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
