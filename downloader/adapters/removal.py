"""Removing from a disk that others use: first one rename to a name that nobody else knows, then whatever is in it.

So nobody ever finds the half of something under its name, and who takes a thing back by a rename gets it whole or not
at all. Symlinks are removed, never followed.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from downloader.errors import DownloadError
from downloader.volume.files import Kind, NotThere

if TYPE_CHECKING:
    from downloader.adapters.disk import AdapterDisk

GONE: Final = ".gone."
"""How the names begin of what is being removed; a killed removal leaves one, and the reaper finds it."""


def erase(disk: AdapterDisk, path: str) -> None:
    """Remove a path with all that is in it; nothing happens if it is not there.

    Removes as much as it can. Raises what went wrong first, and then what is left has its old name again.
    """
    folder, _, name = path.rpartition("/")
    private = path if name.startswith(GONE) else f"{folder}/{GONE}{secrets.token_hex(8)}".lstrip("/")
    try:
        if private != path:
            disk.rename(path, private)
    except NotThere:
        return
    trouble = _raze(disk, private)
    if trouble is not None:
        with suppress(DownloadError):
            disk.rename(private, path)
        raise trouble


def remove_empty(disk: AdapterDisk, *folders: str) -> None:
    """Remove those of the folders that are there and empty, in this order; best effort."""
    for folder in folders:
        with suppress(DownloadError):
            disk.remove_folder(folder)


def _raze(disk: AdapterDisk, path: str) -> DownloadError | None:
    """Remove a path whatever it is; return the first trouble. Not recursive: the depth may be anybody's choice."""
    first: DownloadError | None = None
    found = disk.stat(path)
    todo = [(path, found.kind, False)] if found is not None else []
    while todo:
        path, kind, visited = todo.pop()
        try:
            if kind is not Kind.FOLDER:
                disk.unlink(path)
            elif visited:
                disk.remove_folder(path)
            else:
                todo.append((path, kind, True))
                todo.extend((f"{path}/{name}", inner, False) for name, inner in disk.scan(path).items())
        except NotThere:
            continue
        except DownloadError as error:
            first = first or error
    return first
