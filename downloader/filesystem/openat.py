"""Opens the folder of a file one part at a time with openat(2), never through a symlink."""

from __future__ import annotations

import os
from functools import lru_cache

from downloader.errors import InternalError

STEP_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags to open a folder just to walk through it; a symlink, even to a folder, is refused."""


class Folder:
    """A folder below the target, opened part by part without following symlinks. The context gives its descriptor."""

    __slots__ = ("_opened", "_path", "_root")

    def __init__(self, root: int, path: str) -> None:
        self._root = root
        self._path = path
        self._opened = root

    def __enter__(self) -> int:
        try:
            for part in _parts(self._path):
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
