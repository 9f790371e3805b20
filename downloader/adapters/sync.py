"""Removes the adapters from a service's folder that the service no longer declares."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from downloader.adapters.paths import TRASHED_ADAPTER, UNLOADED
from downloader.adapters.trash import erase, move_to_trash, remove_empty
from downloader.deadlines import TRASH_GRACE
from downloader.errors import DownloadError, NotUnloaded
from downloader.filesystem import Kind, NotThere

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from downloader.filesystem import Disk

log = logging.getLogger(__name__)


def sync_service(disk: Disk, service: str, keep: Collection[str], *, sleep: Callable[[float], None]) -> None:
    """Create the service's folder, move the adapters that are not kept to the trash, and empty that.

    Hidden folders and files do not count as adapters. `sleep` is called with seconds, also 0, and may raise to end the
    work. Raises NotUnloaded, after everything else is done, if an adapter could not be moved.
    """
    if disk.make_folder(service):
        disk.make_readable(service, Kind.FOLDER)
        disk.sync_folder("")
    failed = []
    for adapter, kind in disk.scan(service).items():
        if adapter in keep or adapter.startswith(".") or kind not in (Kind.FOLDER, Kind.SYMLINK):
            continue
        sleep(0)
        try:
            move_to_trash(disk, f"{service}/{adapter}", service, adapter)
        except NotThere:
            continue
        except DownloadError as error:
            log.warning("adapter %s of service %s could not be moved: %s", adapter, service, error)
            failed.append(adapter)
        else:
            log.info("unloaded adapter %s of service %s", adapter, service)
    _empty_trash(disk, service, sleep)
    if failed:
        raise NotUnloaded(
            f"one or more adapters could not be moved out of {disk.name}/{service}: {', '.join(failed)}",
            hint="the lines before say why; run again",
        )


def _empty_trash(disk: Disk, service: str, sleep: Callable[[float], None]) -> None:
    """Remove the trash entries that hold adapters; those of failed downloads are for the next pods of their Jobs."""
    folder = f"{UNLOADED}/{service}"
    entries = _trash_entries(disk, folder)
    if entries:
        sleep(TRASH_GRACE)
    for entry in entries:
        sleep(0)
        try:
            erase(disk, entry)
        except DownloadError as error:
            log.warning("failed to remove %s/%s: %s; the reaper will retry", disk.name, entry, error)
    remove_empty(disk, folder)


def _trash_entries(disk: Disk, folder: str) -> list[str]:
    try:
        entries = [f"{folder}/{name}" for name in disk.scan(folder)]
        return [entry for entry in entries if disk.stat(f"{entry}/{TRASHED_ADAPTER}") is not None]
    except DownloadError as error:
        log.warning("failed to look for unloaded adapters: %s; the reaper will retry", error)
        return []
