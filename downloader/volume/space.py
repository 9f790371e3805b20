"""Room: checked before the first byte, so that a full volume is found out in the first second and not after an hour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.errors import NoSpace
from downloader.formatting import format_size

if TYPE_CHECKING:
    from downloader.filesystem import FileOperations

_MARGIN = 64 << 10
"""Bytes for the lease, folders, and what else does not grow with the artifact."""
_PER_FILE = 256
"""Bytes of a file's lines in the commit log and in the checksum list."""
_JOURNALLED = 1 << 18
"""Bytes of a file for one byte of its journal: a line of some 64 bytes for every 16 MiB."""
_OURS = 16
"""Files and folders that are ours."""


def require_space(files: FileOperations, needed_bytes: int, needed_files: int) -> None:
    """Raise NoSpace unless the volume has room for that many more bytes, in that many new files.

    Each file is counted up to a whole block. A volume that does not say how much room it has is tried. A quota shows
    here only where the file system counts it in its free space (XFS and ext4 project quotas, CephFS); others are met
    when they are exceeded.
    """
    if not needed_files:
        return
    space = files.space()
    # No more than that is asked for: a volume may be cut for just this artifact, rounded up to the next GiB.
    ours = _MARGIN + needed_files * (space.block + _PER_FILE) + needed_bytes // _JOURNALLED
    needed = needed_bytes + ours
    hint = "make room or use a larger volume; what is there already is kept"
    if space.free_bytes is not None and needed > space.free_bytes:
        raise NoSpace(
            f"no space left on device for the artifact: {files.name} needs {format_size(needed)} more "
            f"({needed_bytes} bytes in {needed_files} files) and has {format_size(space.free_bytes)} free",
            hint=hint,
        )
    if space.free_files is not None and needed_files + _OURS > space.free_files:
        raise NoSpace(
            f"no space left on device for the artifact: {files.name} needs {needed_files + _OURS} more inodes "
            f"and has {space.free_files} free",
            hint=hint,
        )
