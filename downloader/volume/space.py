"""Room: checked before the first byte, so that a full volume is found out in the first second and not after an hour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.errors import NoSpace
from downloader.formatting import format_size

if TYPE_CHECKING:
    from downloader.filesystem import FileOperations

_MARGIN = 1 << 20
"""Bytes for what is ours: lease, journals, ledger, checksums."""
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
    needed = needed_bytes + needed_files * space.block + _MARGIN
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
