"""The file system below a target folder: every call to the kernel, its time limit, and its errors in our words."""

from downloader.filesystem.abilities import Abilities, Ownership, ownership_of, try_out
from downloader.filesystem.interface import (
    LOST_AND_FOUND,
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
from downloader.filesystem.named import Named, absolute, find_named, is_folder, is_inside, is_same, with_parents
from downloader.filesystem.openat import Folder, split
from downloader.filesystem.read_only import ReadOnlyDisk
from downloader.filesystem.reading import FORGET_EVERY, Reading
from downloader.filesystem.tree import clear, discard, remove, remove_tree

__all__ = [
    "FORGET_EVERY",
    "LOST_AND_FOUND",
    "Abilities",
    "AlreadyThere",
    "Disk",
    "FileOperations",
    "Folder",
    "InTheWay",
    "Kind",
    "LinkingDisk",
    "Named",
    "NotThere",
    "Ownership",
    "ReadOnlyDisk",
    "Reading",
    "Space",
    "Stat",
    "absolute",
    "clear",
    "discard",
    "find_named",
    "is_folder",
    "is_inside",
    "is_same",
    "ownership_of",
    "remove",
    "remove_tree",
    "split",
    "stats_of",
    "try_out",
    "with_parents",
]
