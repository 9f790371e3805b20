"""Removing what is ours. Symlinks are removed, never followed."""

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
"""Folders in folders that are gone through; what lies deeper is moved up first, since each step is walked anew."""


def discard(files: FileOperations, path: str) -> None:
    """Remove a file that may be gone already."""
    with contextlib.suppress(NotThere):
        files.unlink(path)


def clear(files: FileOperations, path: str) -> None:
    """Remove whatever is at a path that belongs to us."""
    found = files.stat(path)
    if found is not None:
        remove(files, path, found.kind)


def remove(files: FileOperations, path: str, kind: Kind) -> None:
    """Remove a path with all that is in it; what others add meanwhile stays, and so do the folders around it.

    Removes as much as it can, and raises what went wrong first.
    """
    troubles = [error for error in raze(files, path, kind) if not isinstance(error, AlreadyThere)]
    if troubles:
        raise troubles[0]


def raze(files: FileOperations, path: str, kind: Kind) -> Iterator[DownloadError]:
    """Remove a path with all that is in it, as far as possible, and yield what goes wrong.

    Neither recursive nor slower with the depth, which may be anybody's choice.
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
    """Return where a folder is now: right below `top` if it was too deep, and may be moved."""
    if place.count("/") - top.count("/") > _DEEPEST:
        higher = f"{top}/{secrets.token_hex(8)}"
        with contextlib.suppress(DownloadError):
            files.rename(place, higher)
            return higher
    return place
