"""Opens the folder of a file, never through a symlink: at once where the kernel can, else one part at a time."""

from __future__ import annotations

import os
from functools import lru_cache

from downloader.errors import InternalError
from downloader.filesystem.openat2 import OpenHow, open_below

STEP_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags to open a folder just to walk through it; a symlink, even to a folder, is refused."""
_STEP = OpenHow(STEP_FLAGS)


class Folder:
    """A folder below the target, opened without following symlinks. The context gives its descriptor.

    It is opened for each use: a folder that is kept open stays the same one when another process has moved it away.
    """

    __slots__ = ("_opened", "_path", "_root")

    def __init__(self, root: int, path: str) -> None:
        self._root = root
        self._path = path
        self._opened = root

    def __enter__(self) -> int:
        parts = _parts(self._path)
        if len(parts) > 1 and (opened := open_below(self._root, self._path, _STEP)) >= 0:
            self._opened = opened
            return opened
        try:
            for part in parts:
                deeper = os.open(part, STEP_FLAGS, dir_fd=self._opened)
                self._close()
                self._opened = deeper
        except OSError:
            self._close()
            raise
        return self._opened

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._opened != self._root:
            os.close(self._opened)
            self._opened = self._root


def create_below(root: int, path: str, how: OpenHow) -> int:
    """Create a file and return its descriptor, with file and folders in one walk; -1 where that fails."""
    folder, _, name = path.rpartition("/")
    _check(name)
    _parts(folder)
    return open_below(root, path, how)


def split(path: str) -> tuple[str, str]:
    """Return the folder of a path (`""` for the target itself) and the name in it."""
    folder, slash, name = path.rpartition("/")
    _check(name)
    if slash:
        _check(folder)
    return folder, name


@lru_cache(maxsize=64)
def _parts(folder: str) -> tuple[str, ...]:
    """Return the parts of a folder's path. Cached, since many files are in the same few folders."""
    parts = tuple(folder.split("/")) if folder else ()
    for part in parts:
        _check(part)
    return parts


def _check(part: str) -> None:
    if part in ("", ".", ".."):
        raise InternalError(f"{part!r} is not a name within the target folder")
