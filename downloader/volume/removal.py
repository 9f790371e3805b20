"""Removing what is ours. Symlinks are removed, never followed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from downloader.volume.files import AlreadyThere, Kind, NotThere

if TYPE_CHECKING:
    from downloader.volume.files import FileOperations


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
    """Remove a path with all that is in it; what others add meanwhile stays, and so do the folders around it."""
    if kind is not Kind.FOLDER:
        discard(files, path)
        return
    for name, inner in files.scan(path).items():
        remove(files, f"{path}/{name}", inner)
    with contextlib.suppress(AlreadyThere, NotThere):
        files.remove_folder(path)
