"""Taking things out of sight: one rename into a slot of `.unload-tmp`, from where anybody may remove them."""

from __future__ import annotations

import logging
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from downloader.adapters.contention import Undone, repeated
from downloader.adapters.paths import SLOT_ADAPTER, UNLOADED, entry
from downloader.errors import DownloadError
from downloader.filesystem import NotThere, raze

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from downloader.filesystem import Disk

GRACE: Final = 1.0
"""Seconds between taking an adapter out of sight and removing it: who has just opened it may still be listing it."""
log = logging.getLogger(__name__)


def move_to_trash(disk: Disk, path: str, service: str, adapter: str) -> str:
    """Move what is at a path into a slot of its own and return the slot. Raises NotThere if there is nothing."""

    def move() -> str:
        slot = f"{UNLOADED}/{service}/{entry(adapter, secrets.token_hex(4))}"
        make_folders(disk, slot)
        try:
            disk.rename(path, f"{slot}/{SLOT_ADAPTER}")
        except DownloadError as error:
            remove_empty(disk, slot)
            if isinstance(error, NotThere) and disk.stat(path) is not None:
                raise Undone from error  # the slot was removed: it was empty
            raise
        return slot

    return repeated(move, f"{disk.name}/{path} cannot be moved to {UNLOADED}")


def discard(
    disk: Disk, paths: Iterable[str], service: str, adapter: str, *, pause: Callable[[], None] = lambda: None
) -> None:
    """Remove what is at the paths, by way of slots; best effort. Whatever stays is found by the reaper.

    `pause` is called when everything is out of sight and nothing is removed yet.
    """
    hidden = [_hide(disk, path, service, adapter) for path in paths if disk.stat(path) is not None]
    if not hidden:
        return
    pause()
    for path in hidden:
        try:
            erase(disk, path)
        except DownloadError as error:
            log.warning("failed to remove %s/%s: %s; the reaper will retry", disk.name, path, error)
    remove_empty(disk, f"{UNLOADED}/{service}")


def _hide(disk: Disk, path: str, service: str, adapter: str) -> str:
    """Return the slot that the path is in now; the path itself where there is no room for a slot."""
    try:
        return move_to_trash(disk, path, service, adapter)
    except DownloadError as error:
        log.debug("no slot for %s: %s", path, error)
        return path


GONE: Final = ".gone."
"""How the names begin of what is being removed; a killed removal leaves one, and the reaper finds it."""


def erase(disk: Disk, path: str) -> None:
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


def make_folders(disk: Disk, path: str) -> None:
    """Make a folder and those above it, which other processes may remove meanwhile because they are empty."""
    parts = path.split("/")

    def make() -> None:
        try:
            for depth in range(len(parts)):
                disk.make_folder("/".join(parts[: depth + 1]))
        except NotThere as error:
            raise Undone from error

    repeated(make, f"the folder {disk.name}/{path} cannot be made")


def remove_empty(disk: Disk, *folders: str) -> None:
    """Remove those of the folders that are there and empty, in this order; best effort."""
    for folder in folders:
        with suppress(DownloadError):
            disk.remove_folder(folder)
