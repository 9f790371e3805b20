"""The real file system: a method for each call to the kernel, which makes this module longer than the others.

Each operation walks its path from the target folder's descriptor without following symlinks.
Nothing is cached: a holder whose lease was taken over finds its folder gone, and that is the fence.
"""
# ruff: noqa: D102 -- FileOperations documents the methods

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from downloader.errors import DownloadError
from downloader.filesystem import reflink, renameat2, syncfs, xattr
from downloader.filesystem.interface import Kind, NotSupported, Space, Stat, kind_of_entry
from downloader.filesystem.openat import STEP_FLAGS, Folder, create_below, split
from downloader.filesystem.openat2 import OpenHow
from downloader.filesystem.operations import Operations
from downloader.filesystem.target import (
    FOLDER_MODE,
    MAKINGS,
    SHARED_FOLDER_BITS,
    change_mode,
    naming_the_target,
    open_target,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_SHARED_FILE_BITS = 0o060
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_FILE_FLAGS = _FILE_FLAGS | os.O_RDWR | os.O_CREAT | os.O_EXCL
_PROBE_SIZE = 512
_PAGE = os.sysconf("SC_PAGESIZE")
# This runs on Linux; where another system lacks a call, a plain one will do.
_DIRECT = getattr(os, "O_DIRECT", 0)
_sync = getattr(os, "fdatasync", os.fsync)
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG)
"""Errors of a path that does not exist; the last three where no file can have such a name."""


class Disk:
    """A target folder on a real file system. Symlinks on the way to the folder are followed, since the user named it.

    `shown` is its name in messages. `fault` is called with what is about to be done, inside the operation, and may
    sleep or raise OSError. As a context it is closed at the end.
    Raises VolumeError where the target is not a folder or cannot be opened; NotThere if it is missing and not `create`.
    """

    file_mode, folder_mode = 0o644, FOLDER_MODE
    """Modes of new files and folders, from which the umask takes more away."""
    keeps_pages = False
    """Leave what is written and read in the page cache, for the program that reads it next. Then no write is direct."""

    def __init__(
        self, target: Path, *, create: bool = True, shown: str = "", fault: Callable[[str], None] | None = None
    ) -> None:
        self._root = -1  # until it is open
        self._new_file = OpenHow(_NEW_FILE_FLAGS, self.file_mode)
        self._operation = Operations(shown or str(target), fault, self._lacks_inodes, self._is_lost)
        with naming_the_target(target, create=create), self._operation("making or opening" if create else "opening"):
            self._root = open_target(target, create=create, mode=self.folder_mode)
            self._shared = bool(os.fstat(self._root).st_mode & stat.S_ISGID)
        self._kind = syncfs.kind(self._root)
        self._syncs_whole = syncfs.can_sync_whole(self._kind)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_all()

    @property
    def name(self) -> str:
        return self._operation.name

    @property
    def is_local(self) -> bool:
        return self._kind in syncfs.LOCAL

    def create(self, path: str) -> int:
        with self._operation("creating", path):
            handle = create_below(self._root, path, self._new_file)
            if handle < 0:
                folder, name = split(path)
                with Folder(self._root, folder) as opened:
                    handle = os.open(name, _NEW_FILE_FLAGS, self.file_mode, dir_fd=opened)
            if self._shared:
                change_mode(handle, stat.S_IMODE(os.fstat(handle).st_mode) | _SHARED_FILE_BITS)
            return handle

    def open(self, path: str, *, write: bool = False) -> int:
        flags = _FILE_FLAGS | (os.O_RDWR if write else os.O_RDONLY)
        folder, name = split(path)
        with self._operation("reopening" if write else "opening", path), Folder(self._root, folder) as opened:
            try:
                handle = os.open(name, flags, dir_fd=opened)
            except OSError as error:
                if error.errno == errno.ENXIO:  # a socket, or a fifo without a reader
                    raise OSError(errno.ELOOP, "no regular file") from error
                raise
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                os.close(handle)
                raise OSError(errno.ELOOP, "no regular file")
            return handle

    def open_direct(self, path: str) -> int | None:
        if not _DIRECT or self.keeps_pages:
            return None
        folder, name = split(path)
        with self._operation("reopening", path), Folder(self._root, folder) as opened:
            try:
                return os.open(name, _FILE_FLAGS | os.O_RDWR | _DIRECT, dir_fd=opened)
            except OSError as error:
                if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
                    return None
                raise

    def close(self, handle: int) -> None:
        with self._operation("closing"):
            try:
                os.close(handle)
            except OSError as error:
                # Another node has removed the file: there is nothing left to lose, and the handle is closed anyway.
                if error.errno not in (errno.ENOENT, errno.ESTALE):
                    raise

    def write(self, handle: int, offset: int, data: memoryview | bytes) -> None:
        with self._operation("writing to"):
            while (count := os.pwrite(handle, data, offset)) < len(data):
                data = memoryview(data)[count:]
                offset += count

    def write_direct(self, handle: int, offset: int, data: memoryview) -> bool:
        # There each 128 KiB would wait for the disks of the cluster, one after the other (ADR 90).
        if self._kind == syncfs.CEPH_FUSE:
            return False
        with self._operation("writing to"):
            try:
                return os.pwrite(handle, data, offset) == len(data)
            except OSError as error:
                if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
                    return False
                raise

    def share(self, handle: int, source: int) -> bool:
        with self._operation("writing to"):
            return reflink.share(handle, source)

    def read(self, handle: int, offset: int, view: memoryview) -> int:
        done = 0
        with self._operation("reading from"):
            while done < len(view) and (count := _read_into(handle, view[done:], offset + done)):
                done += count
        return done

    def sync(self, handle: int) -> None:
        with self._operation("syncing a file of"):
            _sync(handle)
            # An evicted client has thrown away what it had not sent, and says so only where a handle is closed.
            if self._kind == syncfs.CEPH_FUSE:
                os.close(os.dup(handle))

    def sync_everything(self) -> bool:
        if not self._syncs_whole:
            return False
        try:
            with self._operation("syncing"):
                syncfs.sync_whole(self._root)
        except DownloadError:
            return False  # another program's file may have failed: syncing ours one by one will tell
        return True

    def forget(self, handle: int, offset: int = 0, length: int = 0) -> None:
        if self.keeps_pages:
            return
        # This is advice: where it cannot be given, nothing is lost.
        with self._operation("releasing memory of"), suppress(OSError, AttributeError):
            os.posix_fadvise(handle, offset, length, os.POSIX_FADV_DONTNEED)

    def reread(self, handle: int, offset: int = 0, length: int = 0) -> None:
        if self.is_local:
            return
        # Pages that belong to the range only in part count, too. One that this machine has yet to write stays.
        start = offset // _PAGE * _PAGE
        length = -(-(offset + length) // _PAGE) * _PAGE - start if length else 0
        with self._operation("releasing memory of"), suppress(OSError, AttributeError):
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_RANDOM)
            os.posix_fadvise(handle, start, length, os.POSIX_FADV_DONTNEED)

    def truncate(self, handle: int, size: int) -> None:
        with self._operation("sizing a file of"):
            os.ftruncate(handle, size)

    def touch(self, handle: int, mtime_ns: int) -> None:
        with self._operation("dating a file of"):
            os.utime(handle, ns=(mtime_ns, mtime_ns))

    def handle_stat(self, handle: int) -> Stat:
        with self._operation("looking at"):
            return Stat.of(os.fstat(handle))

    def stat(self, path: str) -> Stat | None:
        if not path:
            return self.handle_stat(self._root)
        folder, name = split(path)
        with self._operation("looking at", path):
            try:
                with Folder(self._root, folder) as opened:
                    return Stat.of(os.stat(name, dir_fd=opened, follow_symlinks=False))
            except OSError as error:
                if self._is_absent(error):
                    return None
                raise

    def stats(self, folder: str, names: list[str]) -> dict[str, Stat]:
        found = {}
        with self._operation("looking at", folder):
            try:
                with Folder(self._root, folder) as opened:
                    for name in names:
                        try:
                            found[name] = Stat.of(os.stat(name, dir_fd=opened, follow_symlinks=False))
                        except OSError as error:
                            if not self._is_absent(error):
                                raise
            except OSError as error:
                if not self._is_absent(error):
                    raise
                return {}
        return found

    def scan(self, folder: str) -> dict[str, Kind]:
        with self._operation("listing", folder):
            try:
                handle = self._open_folder(folder)
                try:
                    with os.scandir(handle) as entries:
                        return {entry.name: kind_of_entry(entry) for entry in entries}
                finally:
                    os.close(handle)
            except OSError as error:
                if isinstance(error, FileNotFoundError | NotADirectoryError) or self._operation.is_removed(error):
                    return {}
                raise

    def rename(self, old: str, new: str) -> None:
        source, old_name = split(old)
        folder, new_name = split(new)
        with (
            self._operation("renaming to", new),
            Folder(self._root, source) as left,
            Folder(self._root, folder) as entered,
        ):
            os.rename(old_name, new_name, src_dir_fd=left, dst_dir_fd=entered)

    def exchange(self, one: str, other: str) -> bool:
        """Exchange two paths in one step, so that each exists at every moment; False where that is not possible."""
        left_folder, left_name = split(one)
        right_folder, right_name = split(other)
        with (
            self._operation("exchanging", other),
            Folder(self._root, left_folder) as left,
            Folder(self._root, right_folder) as right,
        ):
            return renameat2.exchange(left, left_name, right, right_name)

    def unlink(self, path: str) -> None:
        folder, name = split(path)
        with self._operation("removing", path), Folder(self._root, folder) as opened:
            os.unlink(name, dir_fd=opened)

    def make_folder(self, path: str) -> bool:
        folder, name = split(path)
        with self._operation("making the folder", path), Folder(self._root, folder) as opened:
            if not self._make_or_find(name, opened):
                return False
            if self._shared:
                with suppress(FileNotFoundError):  # another process may clean it up at once
                    handle = os.open(name, _FOLDER_FLAGS, dir_fd=opened)
                    try:
                        change_mode(handle, stat.S_IMODE(os.fstat(handle).st_mode) | SHARED_FOLDER_BITS)
                    finally:
                        os.close(handle)
            return True

    def _make_or_find(self, name: str, above: int) -> bool:
        """Make a folder; return False if it was there. Another process may make and remove it meanwhile."""
        left = MAKINGS
        while True:
            left -= 1
            try:
                os.mkdir(name, self.folder_mode, dir_fd=above)
            except FileExistsError:
                try:
                    os.close(os.open(name, STEP_FLAGS, dir_fd=above))
                except OSError as error:
                    if left and error.errno in (errno.ENOENT, errno.ESTALE):
                        continue
                    raise
                return False
            return True

    def remove_folder(self, path: str) -> None:
        folder, name = split(path)
        with self._operation("removing the folder", path), Folder(self._root, folder) as opened:
            os.rmdir(name, dir_fd=opened)

    def sync_folder(self, path: str) -> None:
        with self._operation("syncing the folder", path):
            handle = self._open_folder(path)
            try:
                os.fsync(handle)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # FUSE, CIFS: nothing to sync there
                    raise
            finally:
                os.close(handle)

    def inside(self, folder: str) -> Disk:
        """Open a folder of it as a disk of its own, which stays that very folder wherever it is moved to."""
        with self._operation("opening", folder), Folder(self._root, folder) as opened:
            shown, fault = f"{self.name}/{folder}", self._operation.fault
            return Disk(Path(f"/proc/self/fd/{opened}"), create=False, shown=shown, fault=fault)

    def is_at(self, folder: str, opened: Disk) -> bool:
        """Return whether a folder that was opened with `inside` is still what the path leads to."""
        found = self.stat(folder)
        with self._operation("looking at", folder):
            return found is not None and found.inode == os.fstat(opened._root).st_ino

    def device(self, folder: str) -> int:
        """Return the number of the file system that a folder is on."""
        with self._operation("looking at", folder), Folder(self._root, folder) as opened:
            return os.fstat(opened).st_dev

    def make_readable(self, path: str, kind: Kind) -> None:
        """Let every user read a file or folder, and its owner change it: `u+rwX,go+rX`."""
        handle = self._open_folder(path) if kind is Kind.FOLDER else self.open(path)
        with self._operation("setting the mode of", path):
            try:
                mode = stat.S_IMODE(os.fstat(handle).st_mode)
                execute = 0o111 if kind is Kind.FOLDER or mode & 0o111 else 0
                change_mode(handle, mode | 0o644 | execute)
            finally:
                os.close(handle)

    def attribute(self, path: str, name: str) -> bytes | None:
        folder, _, last = path.rpartition("/")
        return self.attributes(folder, [last], name).get(last) if path else xattr.get(self._root, name)

    def attributes(self, folder: str, names: list[str], name: str) -> dict[str, bytes]:
        found = {}
        with (
            self._operation("looking at", folder),
            suppress(FileNotFoundError, NotADirectoryError),
            Folder(self._root, folder) as opened,
        ):
            for file in names:
                with suppress(OSError), xattr.opened(file, opened) as handle:  # private to another user
                    if (value := xattr.get(handle, name)) is not None:
                        found[file] = value
        return found

    def set_attribute(self, path: str, name: str, value: bytes) -> bool:
        with self._operation("marking", path):
            if not path:
                return xattr.put(self._root, name, value)
            folder, last = split(path)
            with Folder(self._root, folder) as opened, xattr.opened(last, opened) as handle:
                return xattr.put(handle, name, value)

    def remove_attribute(self, path: str, name: str) -> None:
        with self._operation("unmarking", path):
            if not path:
                xattr.drop(self._root, name)
                return
            folder, last = split(path)
            with Folder(self._root, folder) as opened, xattr.opened(last, opened) as handle:
                xattr.drop(handle, name)

    def writes_in_order(self, path: str) -> bool:
        if not self._kind.startswith(syncfs.FUSE):
            return False
        handle = self.create(path)
        try:
            self.truncate(handle, _PROBE_SIZE)
        except NotSupported:
            return True
        else:
            return False
        finally:
            self.close(handle)
            with suppress(DownloadError):
                self.unlink(path)

    def space(self) -> Space:
        with self._operation("measuring"):
            found = os.fstatvfs(self._root)
            free = found.f_bavail * found.f_frsize if found.f_blocks else None  # a FUSE file system may leave it out
            files = found.f_favail if found.f_files and found.f_favail >= 0 else None  # CephFS says -1: no limit
            return Space(free, files, found.f_frsize)

    def oldest_operation(self) -> tuple[str, float] | None:
        return self._operation.oldest()

    def close_all(self) -> None:
        os.close(self._root)

    def _lacks_inodes(self) -> bool:
        found = os.fstatvfs(self._root)
        return bool(found.f_files and not found.f_favail and found.f_bavail)

    def _is_lost(self) -> bool:
        try:
            os.close(os.open(".", _FOLDER_FLAGS, dir_fd=self._root))
        except OSError:
            return True
        return False

    def _is_absent(self, error: OSError) -> bool:
        return error.errno in _NOT_THERE or self._operation.is_removed(error)

    def _open_folder(self, path: str) -> int:
        with Folder(self._root, path) as opened:
            return os.open(".", _FOLDER_FLAGS, dir_fd=opened)


def _read_into(handle: int, view: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(handle, [view], offset)
    data = os.pread(handle, len(view), offset)
    view[: len(data)] = data
    return len(data)
