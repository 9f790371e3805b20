"""What the volume needs from a file system. `local.py` is the real one; the tests have one that loses power.

Paths are relative to the target folder, with `/` between their parts, and symlinks in them are never followed. Every
refusal of the system is raised as one of our errors; those that callers act on have a class here.
"""

from __future__ import annotations

import stat
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from downloader.errors import VolumeError

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable

_STAT_BLOCK = 512
"""Bytes of a block in `st_blocks`, whatever the file system's blocks are."""


LOST_AND_FOUND = "lost+found"
"""A folder that every ext4 file system has in its root."""


class NotThere(VolumeError):
    """The path, or a folder on the way to it, does not exist."""


class AlreadyThere(VolumeError):
    """The path exists, or a folder is not empty."""


class InTheWay(VolumeError):
    """Something else is where a folder or a regular file has to be: a symlink, a fifo, a file, a folder."""


class NotSupported(VolumeError):
    """The file system lacks the operation: random writes, or renaming."""


class Kind(Enum):
    """What a path is, without following symlinks."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symlink"
    OTHER = "special file"


class Stat(NamedTuple):
    """Metadata of a path or an open file."""

    kind: Kind
    size: int
    mtime_ns: int
    inode: int
    links: int
    """Hard links: names of the same content."""
    allocated: int
    """Bytes that it takes on the volume: less than `size` where it has holes."""

    @classmethod
    def of(cls, found: os.stat_result) -> Stat:
        """Return what stat(2) said."""
        mode = found.st_mode
        if stat.S_ISREG(mode):
            kind = Kind.FILE
        elif stat.S_ISDIR(mode):
            kind = Kind.FOLDER
        else:
            kind = Kind.SYMLINK if stat.S_ISLNK(mode) else Kind.OTHER
        return cls(kind, found.st_size, found.st_mtime_ns, found.st_ino, found.st_nlink, found.st_blocks * _STAT_BLOCK)


def kind_of_entry(entry: os.DirEntry[str]) -> Kind:
    """Return the kind of an entry of os.scandir, without another call to the kernel where it can be avoided."""
    if entry.is_symlink():
        return Kind.SYMLINK
    if entry.is_dir(follow_symlinks=False):
        return Kind.FOLDER
    return Kind.FILE if entry.is_file(follow_symlinks=False) else Kind.OTHER


class Space(NamedTuple):
    """Free space of the file system, as far as this user may take it."""

    free_bytes: int | None
    """None where the file system does not say."""
    free_files: int | None
    """None where the file system has no such limit."""
    block: int
    """Bytes of the smallest piece of space that a file can take."""


class FileOperations(Protocol):
    """The volume reaches its files only through this. Must be thread-safe."""

    @property
    def name(self) -> str:
        """The target folder's path, for messages."""

    @property
    def is_local(self) -> bool:
        """Whether only this machine can have the file system mounted, so that all who use it share one page cache."""

    def create(self, path: str) -> int:
        """Create an empty file and return a handle to read and write it. Raises AlreadyThere."""

    def open(self, path: str, *, write: bool = False) -> int:
        """Return a handle of a regular file. Raises NotThere and InTheWay; must not block on a fifo."""

    def open_direct(self, path: str) -> int | None:
        """Return a handle for `write_direct`, and for `read` where offset, length and address are multiples of 4096.

        None where the file system cannot bypass the page cache.
        """

    def close(self, handle: int) -> None:
        """Close a handle."""

    def write(self, handle: int, offset: int, data: memoryview | bytes) -> None:
        """Write all bytes at the offset."""

    def write_direct(self, handle: int, offset: int, data: memoryview) -> bool:
        """Write all bytes, bypassing the page cache; False where that is refused or slow: any part may be written."""

    def share(self, handle: int, source: int) -> bool:
        """Give a file the content of another open one without a copy; False if the file system cannot: no byte changes.

        The two share their blocks until one of them is written to.
        """

    def read(self, handle: int, offset: int, view: memoryview) -> int:
        """Fill the view from the offset, up to the end of the file, and return the number of bytes."""

    def sync(self, handle: int) -> None:
        """Return when the content and the size of the file survive a power loss."""

    def sync_everything(self) -> bool:
        """Do what `sync` does for all files at once; False where that is impossible or cannot be trusted."""

    def forget(self, handle: int, offset: int = 0, length: int = 0) -> None:
        """Drop synced pages from the page cache: `length` bytes from `offset` on, to the end of the file if it is 0."""

    def reread(self, handle: int, offset: int = 0, length: int = 0) -> None:
        """Have the next reads of a range ask the file system, and all reads of the handle take no more than they want.

        For bytes that another machine has written: this one may have read the range ahead, before they were there. The
        range is that of `forget`.
        """

    def truncate(self, handle: int, size: int) -> None:
        """Set the file's length; new bytes are holes."""

    def touch(self, handle: int, mtime_ns: int) -> None:
        """Set the time of the last change, in nanoseconds since 1970."""

    def handle_stat(self, handle: int) -> Stat:
        """Return the metadata of an open file."""

    def stat(self, path: str) -> Stat | None:
        """Return the metadata of a path; None if it does not exist, or a folder above it is something else."""

    def stats(self, folder: str, names: list[str]) -> dict[str, Stat]:
        """Return the metadata of those of the names that are in the folder."""

    def scan(self, folder: str) -> dict[str, Kind]:
        """Return the names in a folder; none if it does not exist."""

    def rename(self, old: str, new: str) -> None:
        """Move a file or folder. Replaces what is at `new`, unless that is a folder that is not empty."""

    def unlink(self, path: str) -> None:
        """Remove anything but a folder. Raises NotThere."""

    def make_folder(self, path: str) -> bool:
        """Make a folder in an existing one; False if it exists already. Raises InTheWay."""

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder. Raises NotThere, or AlreadyThere if it is not empty."""

    def sync_folder(self, path: str) -> None:
        """Return when the names in the folder (`""` is the target itself) survive a power loss."""

    def attribute(self, path: str, name: str) -> bytes | None:
        """Return an extended attribute of a file or the target folder (`""`); None if it cannot be read."""

    def attributes(self, folder: str, names: list[str], name: str) -> dict[str, bytes]:
        """Return one attribute of many files of a folder, of those that have it."""

    def set_attribute(self, path: str, name: str, value: bytes) -> bool:
        """Set an extended attribute; False where the file system has none or refuses this one."""

    def remove_attribute(self, path: str, name: str) -> None:
        """Remove an extended attribute that may be gone already."""

    def writes_in_order(self, path: str) -> bool:
        """Return whether files can only be written from their first byte to their last, by trying it with a new one."""

    def space(self) -> Space:
        """Return the free space."""

    def oldest_operation(self) -> tuple[str, float] | None:
        """Return the call that has lasted longest, and for how many seconds."""

    def close_all(self) -> None:
        """Close the target folder. Handles stay open."""


def stats_of(files: FileOperations, paths: Iterable[str], empty: Collection[str] = ()) -> dict[str, Stat]:
    """Return the metadata of those of the paths that exist, folder by folder. `empty` folders are not looked into."""
    folders: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, []).append(name)
    return {
        f"{folder}/{name}".lstrip("/"): details
        for folder, names in folders.items()
        if folder not in empty
        for name, details in files.stats(folder, names).items()
    }
