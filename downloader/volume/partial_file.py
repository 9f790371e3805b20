"""The file that a partial writes to: its open handles, and whether its bytes are on the disk.

Aligned writes bypass the page cache where the file system allows it: a download of hundreds of gigabytes would
otherwise fill the memory limit of its container with pages that are never read.
"""

from __future__ import annotations

import ctypes
import logging
import threading
from typing import TYPE_CHECKING

from downloader.errors import InternalError, VolumeError
from downloader.filesystem import FORGET_EVERY, AlreadyThere, InTheWay, NotThere, clear

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.filesystem import FileOperations
    from downloader.volume.journal import Journal

_ALIGNMENT = 4096

_log = logging.getLogger(__name__)


class PartialFile:
    """An open file below `.downloading/`. Several threads may write and read different ranges at once.

    `drain` and `sync` are for one thread at a time; `Partial` holds a lock around them.
    """

    def __init__(self, files: FileOperations, path: str, handle: int, *, name: str) -> None:
        """`path` is relative to the target; `name` stands for the file in error messages."""
        self.unsynced = True
        """Whether bytes may not be on the disk yet. Certain only after `drain`."""
        self.sync_failed = False
        """Whether bytes were lost: no further sync can make them durable."""
        self._files = files
        self._path = path
        self._handle = handle
        self._name = name
        self._journal: Journal | None = None
        self._direct: int | None = None
        self._writes_directly = self._reads_directly = False
        self._guard = HandleGuard(self._close_handles)
        self._read_back = 0

    @classmethod
    def create(cls, files: FileOperations, path: str, *, name: str, size: int | None = None) -> PartialFile:
        """Create the file, sparse and of `size` bytes if that is given.

        An existing file is replaced and never truncated: a former holder of the lease may still have it open.
        """
        try:
            handle = files.create(path)
        except AlreadyThere:
            clear(files, path)
            handle = files.create(path)
        if size is not None:
            files.truncate(handle, size)
        return cls(files, path, handle, name=name)

    @classmethod
    def resume(cls, files: FileOperations, path: str, *, name: str, size: int) -> PartialFile | None:
        """Open the file that an earlier run left; None if it cannot be the file that the journal describes."""
        try:
            handle = files.open(path, write=True)
        except (NotThere, InTheWay):
            return None
        found = files.handle_stat(handle)
        # A second link is a final name: a crash may leave both after a rename, and that file must not change.
        if found.size == size and found.links == 1:
            return cls(files, path, handle, name=name)
        files.close(handle)
        return None

    def add_journal(self, journal: Journal, *, direct: bool = True) -> None:
        """Close the journal together with the file, and open it for `direct` writes where that is supported."""
        self._journal = journal
        self._direct = self._files.open_direct(self._path) if direct else None
        self._writes_directly = self._reads_directly = self._direct is not None
        if self._direct is None:
            _log.debug("%s allows no direct writes", self._files.name)

    def write(self, offset: int, data: memoryview) -> None:
        """Write bytes, past the page cache if offset, length and address are multiples of 4096."""
        with self._guard:
            if not self._write_direct(offset, data):
                self._files.write(self._handle, offset, data)
            # After the write: a sync that began before it may not have covered it.
            self.unsynced = True

    def share(self, source: int) -> bool:
        """Take over the content of another open file without a copy; False where the file system cannot."""
        with self._guard:
            shared = self._files.share(self._handle, source)
            self.unsynced = True
            return shared

    def _write_direct(self, offset: int, data: memoryview) -> bool:
        if not self._writes_directly or self._direct is None or not _is_aligned(offset, data):
            return False
        if self._files.write_direct(self._direct, offset, data):
            return True
        self._writes_directly = False
        _log.debug("%s takes no direct writes: using the page cache", self._files.name)
        return False

    def readinto(self, offset: int, view: memoryview) -> int:
        """Fill the view with bytes from `offset` on and return their number, of whole pages first; 0 at the end."""
        with self._guard:
            if count := self._read_direct(offset, view[: len(view) // _ALIGNMENT * _ALIGNMENT]):
                return count
            count = self._files.read(self._handle, offset, view)
            self._read_back += count
            if self._read_back >= FORGET_EVERY:
                self._read_back = 0
                self.forget()
            return count

    def _read_direct(self, offset: int, view: memoryview) -> int:
        """Read what the volume has and not what a cache holds; 0 if that is not possible.

        Reading through a cache also reads ahead, where there are holes still. CephFS's client keeps them, and shows
        zeros to this machine after direct writes have filled them.
        """
        if not self._reads_directly or self._direct is None or not _is_aligned(offset, view):
            return 0
        try:
            return self._files.read(self._direct, offset, view)
        except VolumeError as error:
            self._reads_directly = False
            _log.debug("%s refuses direct reads: %s", self._files.name, error)
            return 0

    @property
    def is_shut(self) -> bool:
        """Whether the handles are closed, or will be once the last thread has left."""
        return self._guard.is_shut

    def drain(self) -> None:
        """Refuse further writes and reads, and wait for those in progress."""
        self._guard.drain()

    def sync(self) -> None:
        """Sync the file. Raises VolumeError if that fails, and each time after it has failed."""
        if self.sync_failed:
            raise VolumeError(f"{self._name}: the volume did not keep what was written", hint="run again")
        self.unsynced = False
        try:
            self._files.sync(self._handle)
        except BaseException:
            # The kernel reports lost pages once: a second fsync would succeed although they are gone.
            self.sync_failed = True
            raise

    def forget(self) -> None:
        """Drop the file from the page cache."""
        self._files.forget(self._handle)

    def rename_to(self, path: str) -> None:
        """Move the file to its final name."""
        self._files.rename(self._path, path)

    def is_at(self, path: str) -> bool:
        """Return whether a path leads to this very file."""
        found = self._files.stat(path)
        return found is not None and not self.is_shut and found.inode == self._files.handle_stat(self._handle).inode

    def shut(self) -> None:
        """Close the handles as soon as no thread uses them. May be called twice."""
        self._guard.shut()

    def _close_handles(self) -> None:
        if self._journal is not None:
            self._journal.close()
        if self._direct is not None:
            self._files.close(self._direct)
        self._direct = None
        self._files.close(self._handle)


def _is_aligned(offset: int, data: memoryview) -> bool:
    if offset % _ALIGNMENT or len(data) % _ALIGNMENT or data.readonly or not len(data):
        return False
    return ctypes.addressof(ctypes.c_char.from_buffer(data)) % _ALIGNMENT == 0


class HandleGuard:
    """Counts the threads that use a file's handles, and calls `close` once when it is shut and they have all left.

    The kernel reuses the numbers of closed descriptors: a thread that writes to a handle after its close would write
    to some other file.
    """

    def __init__(self, close: Callable[[], None]) -> None:
        self._close: Callable[[], None] | None = close
        self._lock = threading.Lock()
        self._emptied: threading.Condition | None = None
        """Created by the first thread that has to wait, which is rare: ten thousand small files need none."""
        self._inside = 0
        self._barred = False
        self._shut = False

    @property
    def is_shut(self) -> bool:
        """Whether no thread can enter any more, and the handles are closed or soon will be."""
        return self._shut

    def __enter__(self) -> None:
        with self._lock:
            if self._barred:
                raise InternalError("a partial was used after it was closed")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._emptied is not None:
                self._emptied.notify_all()
            close = self._take_close()
        if close is not None:
            close()

    def drain(self) -> None:
        """Refuse further threads and wait for those inside."""
        with self._lock:
            self._barred = True
            if self._inside:
                self._emptied = self._emptied or threading.Condition(self._lock)
                self._emptied.wait_for(lambda: not self._inside)

    def shut(self) -> None:
        """Refuse further threads. Does not wait: a thread may hang in a volume that does not respond."""
        with self._lock:
            self._barred = self._shut = True
            close = self._take_close()
        if close is not None:
            close()

    def _take_close(self) -> Callable[[], None] | None:
        """Return `close` if it is due, to one thread only. That thread calls it without the lock: it may block."""
        if self._inside or not self._shut:
            return None
        close, self._close = self._close, None
        return close
