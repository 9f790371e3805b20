"""Removes files and folder trees. Symlinks are removed, never followed."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

from downloader.errors import DownloadError
from downloader.filesystem.interface import AlreadyThere, Kind, NotThere

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.filesystem.interface import FileOperations

_DEEPEST = 32
"""Depth from which a folder is moved up before it is removed, since every call walks its whole path."""


def discard(files: FileOperations, path: str) -> None:
    """Remove a file that may be gone already."""
    with contextlib.suppress(NotThere):
        files.unlink(path)


def clear(files: FileOperations, path: str) -> None:
    """Remove anything at a path that belongs to us."""
    found = files.stat(path)
    if found is not None:
        remove(files, path, found.kind)


def remove(files: FileOperations, path: str, kind: Kind) -> None:
    """Remove a path with everything in it. Files that others add meanwhile stay, with the folders around them.

    Removes as much as possible, then raises the first error.
    """
    errors = [error for error in remove_tree(files, path, kind) if not isinstance(error, AlreadyThere)]
    if errors:
        raise errors[0]


def remove_tree(files: FileOperations, path: str, kind: Kind) -> Iterator[DownloadError]:
    """Remove a path with everything in it, as far as possible, and yield the errors.

    Neither recursive nor slower with the depth, since others choose how deep a tree is.
    """
    todo = [(path, kind, False)]
    while todo:
        place, inner, visited = todo.pop()
        try:
            if inner is not Kind.FOLDER:
                files.unlink(place)
            elif visited:
                files.remove_folder(place)
            else:
                place = _moved_up(files, place, path)
                todo.append((place, inner, True))
                todo.extend((f"{place}/{name}", below, False) for name, below in files.scan(place).items())
        except NotThere:
            continue
        except DownloadError as error:
            yield error


def _moved_up(files: FileOperations, place: str, top: str) -> str:
    """Return the folder's path: directly below `top` if it was too deep and could be moved."""
    if place.count("/") - top.count("/") > _DEEPEST:
        higher = f"{top}/{secrets.token_hex(8)}"
        with contextlib.suppress(DownloadError):
            files.rename(place, higher)
            return higher
    return place
