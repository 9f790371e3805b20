"""The adapter disk as files: the volume's file operations, and the few more that promotion needs."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from downloader.filesystem import Disk, Folder, Kind, NotThere, split

if TYPE_CHECKING:
    from collections.abc import Callable

_RENAME_EXCHANGE = 2
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM)
_TRIES = 100


class AdapterDisk(Disk):
    """A folder of the adapter disk. No part of a path below it is followed if it is a symlink.

    `shown` is its name for people. Raises VolumeError where it is no folder, NotThere if it is missing.
    """

    def __init__(self, target: Path, *, shown: str = "", fault: Callable[[str], None] | None = None) -> None:
        super().__init__(target, create=False, fault=fault)
        self._operation.name = shown or str(target)
        self._renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_all()

    def inside(self, folder: str) -> AdapterDisk:
        """Open a folder of it for itself. It stays that very folder wherever it is moved; the caller closes it."""
        with self._operation("opening", folder), Folder(self._root, folder) as opened:
            name, fault = f"{self.name}/{folder}", self._operation.fault
            return AdapterDisk(Path(f"/proc/self/fd/{opened}"), shown=name, fault=fault)

    def is_at(self, folder: str, opened: AdapterDisk) -> bool:
        """Tell whether a folder that was opened is still what the path leads to."""
        found = self.stat(folder)
        with self._operation("looking at", folder):
            return found is not None and found.inode == os.fstat(opened._root).st_ino

    def make_folders(self, path: str) -> None:
        """Make a folder and those above it, though others may remove empty ones at the same moment."""
        parts = path.split("/")
        for tries_left in range(_TRIES, -1, -1):
            try:
                for depth in range(len(parts)):
                    self.make_folder("/".join(parts[: depth + 1]))
            except NotThere:
                if not tries_left:
                    raise
            else:
                return

    def exchange(self, one: str, other: str) -> bool:
        """Swap two paths in one step, so that each is there at every moment; False where that cannot be done."""
        left_folder, left_name = split(one)
        right_folder, right_name = split(other)
        if self._renameat2 is None:
            return False
        with (
            self._operation("exchanging", other),
            Folder(self._root, left_folder) as left,
            Folder(self._root, right_folder) as right,
        ):
            if not self._renameat2(left, os.fsencode(left_name), right, os.fsencode(right_name), _RENAME_EXCHANGE):
                return True
            number = ctypes.get_errno()
            if number in _NO_EXCHANGE:
                return False
            raise OSError(number, os.strerror(number))

    def device(self, folder: str) -> int:
        """Return which file system a folder is on."""
        with self._operation("looking at", folder), Folder(self._root, folder) as opened:
            return os.fstat(opened).st_dev

    def open_up(self, path: str, kind: Kind) -> None:
        """Let everybody read a file or folder, and its owner change it: `u+rwX,go+rX`."""
        handle = self._open_folder(path) if kind is Kind.FOLDER else self.open(path)
        with self._operation("setting the mode of", path):
            try:
                mode = stat.S_IMODE(os.fstat(handle).st_mode)
                execute = 0o111 if kind is Kind.FOLDER or mode & 0o111 else 0
                with suppress(PermissionError):  # a file system with one mode for all
                    os.fchmod(handle, mode | 0o644 | execute)
            finally:
                os.close(handle)
