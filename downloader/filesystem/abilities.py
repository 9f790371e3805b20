"""What the file system of a folder can do, found out by trying it with a file that is removed again."""

from __future__ import annotations

import ctypes
import mmap
import os
import secrets
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.filesystem import syncfs
from downloader.filesystem.interface import AlreadyThere, Kind, NotSupported
from downloader.filesystem.local import Disk
from downloader.filesystem.openat import Folder
from downloader.filesystem.operations import Operations
from downloader.filesystem.target import naming_the_target, open_target
from downloader.filesystem.tree import remove

if TYPE_CHECKING:
    from pathlib import Path

TRIAL = ".artifact-downloader-trial."
"""What the name of the folder begins with in which things are tried; random digits follow."""
_BLOCK = mmap.PAGESIZE
_ATTRIBUTE, _VALUE = "user.aim.trial", b"1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What worked in one folder, for this user and at this time."""

    kind: str
    """The type of the file system; empty if it is unknown."""
    owner: int
    """User id that a new file has. A server that is not our kernel may give it to another user."""
    group: int
    """Its group id."""
    made_ns: int
    """When the file was made: nanoseconds since 1970 by the clock of the file system."""
    direct: bool
    """Writes can bypass the page cache (O_DIRECT)."""
    allocates: bool
    """Space can be reserved in advance (fallocate)."""
    syncs_whole: bool
    """All files can be synced at once, and reliably (syncfs)."""
    attributes: bool
    """Files can have extended attributes of users."""
    replaces: bool
    """A file can be renamed, also to the name of another file."""
    links: bool
    """A file can have several names (hard links)."""
    in_order: bool
    """Files can only be written from their first byte to their last."""


@dataclass(frozen=True, slots=True)
class Ownership:
    """Whose a folder is, and what its file system lets us know of that."""

    kind: str
    """The type of the file system; empty if it is unknown."""
    user: int
    group: int
    mode: int
    """Permission bits."""
    read_only: bool
    """The file system is mounted read-only."""


def ownership_of(target: Path) -> Ownership:
    """Return whose an existing folder is. Raises VolumeError, NotThere if it does not exist."""
    operation = Operations(str(target), None, bool)
    with naming_the_target(target), operation("opening"):
        root = open_target(target, create=False)
    try:
        with operation("looking at"):
            found, system = os.fstat(root), os.fstatvfs(root)
            return Ownership(
                syncfs.kind(root),
                found.st_uid,
                found.st_gid,
                stat.S_IMODE(found.st_mode),
                read_only=bool(system.f_flag & os.ST_RDONLY),
            )
    finally:
        os.close(root)


def try_out(target: Path) -> Abilities:
    """Return what the file system of an existing folder can do. Nothing stays there.

    Raises VolumeError or NoSpace where not even a small file can be made, written and synced.
    """
    with Disk(target, create=False) as disk:
        folder = f"{TRIAL}{secrets.token_hex(8)}"
        if not disk.make_folder(folder):
            raise AlreadyThere(f"{target} has a folder of a random name already")
        try:
            return _tried(disk, target, folder)
        finally:
            remove(disk, folder, Kind.FOLDER)


def _tried(disk: Disk, target: Path, folder: str) -> Abilities:
    path = f"{folder}/file"
    handle = disk.create(path)
    try:
        disk.write(handle, 0, bytes(_BLOCK))
        disk.sync(handle)
        found, allocates = os.fstat(handle), _allocates(handle)
    finally:
        disk.close(handle)
    disk.sync_folder(folder)
    root = open_target(target, create=False)
    kind = syncfs.kind(root)
    try:
        return Abilities(
            kind=kind,
            owner=found.st_uid,
            group=found.st_gid,
            made_ns=found.st_mtime_ns,
            direct=_writes_directly(disk, path),
            allocates=allocates,
            syncs_whole=syncfs.can_sync_whole(kind),
            attributes=disk.set_attribute(path, _ATTRIBUTE, _VALUE) and disk.attribute(path, _ATTRIBUTE) == _VALUE,
            links=_links(root, folder),
            replaces=_replaces(disk, folder),
            in_order=disk.writes_in_order(f"{folder}/ordered"),
        )
    finally:
        os.close(root)


def _writes_directly(disk: Disk, path: str) -> bool:
    handle = disk.open_direct(path)
    if handle is None:
        return False
    try:
        with mmap.mmap(-1, _BLOCK) as page, memoryview(page) as aligned:
            return disk.write_direct(handle, 0, aligned)
    finally:
        disk.close(handle)


def _allocates(handle: int) -> bool:
    """Try fallocate(2) itself: what the standard library has writes zeros where the file system cannot reserve."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    return call is not None and call(handle, 0, ctypes.c_int64(0), ctypes.c_int64(_BLOCK)) == 0


def _links(root: int, folder: str) -> bool:
    with Folder(root, folder) as opened:
        try:
            os.link("file", "link", src_dir_fd=opened, dst_dir_fd=opened)
        except OSError:
            return False
        return True


def _replaces(disk: Disk, folder: str) -> bool:
    disk.close(disk.create(f"{folder}/new"))
    try:
        disk.rename(f"{folder}/new", f"{folder}/file")
    except NotSupported:
        return False
    return True
