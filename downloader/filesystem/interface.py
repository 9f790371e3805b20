"""What the volume asks of a file system. `disk.py` is the real one; the tests have one that loses power.

Paths are relative to the target folder, `/` between parts, and no part of them is ever followed if it is a symlink.
Whatever the system refuses is raised as one of our errors; those that callers decide on have a class here.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from downloader.errors import VolumeError

if TYPE_CHECKING:
    from collections.abc import Iterable


class NotThere(VolumeError):
    """The path, or a folder on the way to it, does not exist."""


class AlreadyThere(VolumeError):
    """The path exists, or a folder is not empty."""


class InTheWay(VolumeError):
    """Something else stands where a folder or a regular file has to be: a symlink, a fifo, a file, a folder."""


class NotSupported(VolumeError):
    """The file system lacks the operation: random writes, or renaming."""


class Kind(Enum):
    """What a path is, symlinks not followed."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symlink"
    OTHER = "special file"


class Stat(NamedTuple):
    """What the file system says of a path or a handle."""

    kind: Kind
    size: int
    mtime_ns: int
    inode: int
    links: int
    """Names that the same content has."""
    allocated: int
    """Bytes that it takes on the volume: less than `size` where it has holes."""


class Space(NamedTuple):
    """Room that is left for us."""

    free_bytes: int | None
    """None where the file system does not say."""
    free_files: int | None
    """None where the file system has no such limit."""
    block: int
    """Bytes in which space is given out."""


class FileOperations(Protocol):
    """The only way of the volume to its files. Must be usable from many threads."""

    @property
    def name(self) -> str:
        """The target folder's path, for people."""

    def create(self, path: str) -> int:
        """Make a new empty file and return a handle to read and write it. Raises AlreadyThere."""

    def open(self, path: str, *, write: bool = False) -> int:
        """Return a handle of a regular file. Raises NotThere and InTheWay; must never block on a fifo."""

    def open_direct(self, path: str) -> int | None:
        """Return a handle for `write_direct`; None where the file system has no writes past the page cache."""

    def close(self, handle: int) -> None:
        """Give a handle up."""

    def write(self, handle: int, offset: int, data: memoryview | bytes) -> None:
        """Write all of it there."""

    def write_direct(self, handle: int, offset: int, data: memoryview) -> bool:
        """Write all of it past the page cache; False if the file system refuses, then nothing may be assumed."""

    def read(self, handle: int, offset: int, view: memoryview) -> int:
        """Fill the view from there as far as the file goes and return how many bytes that was."""

    def sync(self, handle: int) -> None:
        """Return when the content and the size of the file survive a power loss."""

    def sync_everything(self) -> bool:
        """Do what `sync_service` does for all files at once; False where that cannot be done, or not be trusted."""

    def forget(self, handle: int) -> None:
        """Let the page cache drop what is synced of this file."""

    def truncate(self, handle: int, size: int) -> None:
        """Make the file this long; new bytes are holes."""

    def touch(self, handle: int, mtime_ns: int) -> None:
        """Set the time of the last change."""

    def handle_stat(self, handle: int) -> Stat:
        """Describe an open file."""

    def stat(self, path: str) -> Stat | None:
        """Describe a path; None if it is not there, also if a folder on its way is something else."""

    def stats(self, folder: str, names: list[str]) -> dict[str, Stat]:
        """Describe those of the names that are in the folder."""

    def scan(self, folder: str) -> dict[str, Kind]:
        """Return what is in a folder; nothing if it is not there."""

    def rename(self, old: str, new: str) -> None:
        """Move a file or folder, replacing what is at `new` unless that is a folder with something in it."""

    def unlink(self, path: str) -> None:
        """Remove what is no folder. Raises NotThere."""

    def make_folder(self, path: str) -> bool:
        """Make a folder in an existing one; False if it is there. Raises InTheWay."""

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder. Raises NotThere, AlreadyThere if something is in it."""

    def sync_folder(self, path: str) -> None:
        """Return when the names in the folder (`""` is the target itself) survive a power loss."""

    def attribute(self, path: str, name: str) -> bytes | None:
        """Return an extended attribute of a file, or of the target folder (`""`); None if it has none or is closed."""

    def attributes(self, folder: str, names: list[str], name: str) -> dict[str, bytes]:
        """Return the same attribute of many files of a folder: of those that have it."""

    def set_attribute(self, path: str, name: str, value: bytes) -> bool:
        """Set an extended attribute; False where the file system has none, or refuses this one."""

    def remove_attribute(self, path: str, name: str) -> None:
        """Remove an extended attribute that may be gone already."""

    def writes_in_order(self, path: str) -> bool:
        """Tell whether files can only be written from their first byte to their last, by trying it with a new one."""

    def space(self) -> Space:
        """Return the room that is left."""

    def oldest_operation(self) -> tuple[str, float] | None:
        """Return what has been waiting for the file system longest, and for how many seconds."""

    def close_all(self) -> None:
        """Give up everything but handles."""


def stats_of(files: FileOperations, paths: Iterable[str]) -> dict[str, Stat]:
    """Describe those of the paths that are there, folder by folder."""
    folders: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, []).append(name)
    return {
        f"{folder}/{name}".lstrip("/"): details
        for folder, names in folders.items()
        for name, details in files.stats(folder, names).items()
    }
