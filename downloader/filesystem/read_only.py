"""A target folder that nothing is changed in: it may be missing, or read-only, and its rights can be asked for."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from downloader.filesystem.interface import NotThere
from downloader.filesystem.local import Disk
from downloader.filesystem.openat import Folder

if TYPE_CHECKING:
    from pathlib import Path

    from downloader.filesystem.interface import Kind, Stat


class ReadOnlyDisk(Disk):
    """A target folder to look at. Raises VolumeError where it is not a folder, or cannot be opened.

    A missing one is empty; its space and rights are those of the folder that it would be made in.
    """

    # ruff: noqa: D102 -- FileOperations documents the methods

    def __init__(self, target: Path) -> None:
        there = next(path for path in (target, *target.parents) if os.path.lexists(path) or path == path.parent)
        super().__init__(there, create=False, shown=str(target))
        self._missing = there != target

    def require_rights(self, folder: str) -> None:
        """Raise VolumeError unless files can be made in a folder, as far as the system tells without trying it."""
        with self._operation("creating files in", folder), Folder(self._root, folder) as opened:
            if os.statvfs(opened).f_flag & os.ST_RDONLY:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            if not os.access(".", os.W_OK | os.X_OK, dir_fd=opened, effective_ids=True):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    def open(self, path: str, *, write: bool = False) -> int:
        if self._missing:
            raise NotThere(f"there is no folder {self.name}")
        return super().open(path, write=write)

    def sync(self, handle: int) -> None:
        """Do nothing: what is not changed need not be synced."""

    def sync_folder(self, path: str) -> None:
        """Do nothing, as `sync`."""

    def stat(self, path: str) -> Stat | None:
        return None if self._missing else super().stat(path)

    def stats(self, folder: str, names: list[str]) -> dict[str, Stat]:
        return {} if self._missing else super().stats(folder, names)

    def scan(self, folder: str) -> dict[str, Kind]:
        return {} if self._missing else super().scan(folder)

    def attribute(self, path: str, name: str) -> bytes | None:
        return None if self._missing else super().attribute(path, name)

    def attributes(self, folder: str, names: list[str], name: str) -> dict[str, bytes]:
        return {} if self._missing else super().attributes(folder, names, name)
