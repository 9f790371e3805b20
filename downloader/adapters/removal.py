"""Removing from a disk that others use: first one rename to a name that nobody else knows, then whatever is in it.

So nobody ever finds the half of something under its name, and who takes a thing back by a rename gets it whole or not
at all. Symlinks are removed, never followed.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from downloader.errors import DownloadError
from downloader.volume.files import NotThere
from downloader.volume.removal import raze

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
    found = disk.stat(private)
    troubles = list(raze(disk, private, found.kind)) if found is not None else []
    if troubles:
        with suppress(DownloadError):
            disk.rename(private, path)
        raise troubles[0]


def remove_empty(disk: AdapterDisk, *folders: str) -> None:
    """Remove those of the folders that are there and empty, in this order; best effort."""
    for folder in folders:
        with suppress(DownloadError):
            disk.remove_folder(folder)
