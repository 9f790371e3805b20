"""Removes things that others may be reading: first one rename to the trash, `.unload-tmp`, then the removal.

A removal that is killed leaves its rest in the trash, from where any later process may remove it.
"""

from __future__ import annotations

import logging
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from downloader.adapters.contention import StepUndone, repeated
from downloader.adapters.paths import TRASHED_ADAPTER, UNLOADED, entry_name
from downloader.errors import DownloadError
from downloader.filesystem import NotThere, remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from downloader.filesystem import Disk


log = logging.getLogger(__name__)


def move_to_trash(disk: Disk, path: str, service: str, adapter: str) -> str:
    """Move a path to a new trash entry and return the entry. Raises NotThere if nothing is at the path."""

    def move() -> str:
        trash_entry = f"{UNLOADED}/{service}/{entry_name(adapter, secrets.token_hex(4))}"
        make_folders(disk, trash_entry)
        try:
            disk.rename(path, f"{trash_entry}/{TRASHED_ADAPTER}")
        except DownloadError as error:
            remove_empty(disk, trash_entry)
            if isinstance(error, NotThere) and disk.stat(path) is not None:
                raise StepUndone from error  # another process has removed the entry, which was empty
            raise
        return trash_entry

    return repeated(move, f"{disk.name}/{path} cannot be moved to {UNLOADED}")


def discard(
    disk: Disk, paths: Iterable[str], service: str, adapter: str, *, pause: Callable[[], None] = lambda: None
) -> None:
    """Remove what is at the paths, by way of the trash; best effort. The reaper finds what is left.

    `pause` is called when everything is in the trash and nothing is removed yet.
    """
    trashed = [_trash(disk, path, service, adapter) for path in paths if disk.stat(path) is not None]
    if not trashed:
        return
    pause()
    for path in trashed:
        try:
            erase(disk, path)
        except DownloadError as error:
            log.warning("failed to remove %s/%s: %s; the reaper will retry", disk.name, path, error)
    remove_empty(disk, f"{UNLOADED}/{service}")


def _trash(disk: Disk, path: str, service: str, adapter: str) -> str:
    """Move a path to the trash and return its entry; the path itself if that fails, for example on a full disk."""
    try:
        return move_to_trash(disk, path, service, adapter)
    except DownloadError as error:
        log.debug("%s cannot be moved to the trash: %s", path, error)
        return path


GONE: Final = ".gone."
"""Prefix of the names of what is being removed. A killed removal leaves one, and the reaper finds it."""


def erase(disk: Disk, path: str) -> None:
    """Remove a path with all that is in it, if it exists.

    Removes as much as possible. Raises the first error, after giving what is left its old name again.
    """
    folder, _, name = path.rpartition("/")
    private = path if name.startswith(GONE) else f"{folder}/{GONE}{secrets.token_hex(8)}".lstrip("/")
    try:
        if private != path:
            disk.rename(path, private)
    except NotThere:
        return
    found = disk.stat(private)
    errors = list(remove_tree(disk, private, found.kind)) if found is not None else []
    if errors:
        with suppress(DownloadError):
            disk.rename(private, path)
        raise errors[0]


def make_folders(disk: Disk, path: str) -> None:
    """Create a folder and those above it, which other processes may remove meanwhile because they are empty."""
    parts = path.split("/")

    def make() -> None:
        try:
            for depth in range(len(parts)):
                disk.make_folder("/".join(parts[: depth + 1]))
        except NotThere as error:
            raise StepUndone from error

    repeated(make, f"the folder {disk.name}/{path} cannot be created")


def remove_empty(disk: Disk, *folders: str) -> None:
    """Remove those of the folders that exist and are empty, in this order; best effort."""
    for folder in folders:
        with suppress(DownloadError):
            disk.remove_folder(folder)
