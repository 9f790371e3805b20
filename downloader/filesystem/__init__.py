"""The file system below a target folder: every call to the kernel, its time limit, and its errors in our words."""

from downloader.filesystem.abilities import Abilities, Ownership, ownership_of, try_out
from downloader.filesystem.interface import (
    AlreadyThere,
    FileOperations,
    InTheWay,
    Kind,
    NotThere,
    Space,
    Stat,
    stats_of,
)
from downloader.filesystem.links import LinkingDisk
from downloader.filesystem.local import Disk
from downloader.filesystem.openat import Folder, split
from downloader.filesystem.rehearsal import ReadOnlyDisk
from downloader.filesystem.tree import clear, discard, remove, remove_tree

__all__ = [
    "Abilities",
    "AlreadyThere",
    "Disk",
    "FileOperations",
    "Folder",
    "InTheWay",
    "Kind",
    "LinkingDisk",
    "NotThere",
    "Ownership",
    "ReadOnlyDisk",
    "Space",
    "Stat",
    "clear",
    "discard",
    "ownership_of",
    "remove",
    "remove_tree",
    "split",
    "stats_of",
    "try_out",
]
