"""Promotion: a staged folder becomes the live adapter, and whoever lists the service's folder sees the old or the new.

Where the file system can exchange two names, the adapter's is there at every moment. Elsewhere (NFS, some FUSE) the old
one is moved to `.aside` first: between two renames there is none, and a process that is killed just then leaves it
there, from where the next pod puts it back.
"""

from __future__ import annotations

import logging
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from downloader.adapters.contention import Undone, repeated
from downloader.adapters.paths import ASIDE
from downloader.adapters.trash import GONE, discard, erase, make_folders, remove_empty
from downloader.errors import DownloadError, LeaseLost, VolumeError
from downloader.filesystem import AlreadyThere, InTheWay, Kind, NotThere
from downloader.integrity import MARKER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from downloader.adapters.paths import AdapterPaths
    from downloader.artifact import Manifest
    from downloader.filesystem import Disk, Stat

log = logging.getLogger(__name__)


def require_one_file_system(disk: Disk, place: AdapterPaths) -> None:
    """Raise VolumeError if a rename cannot lead from staging to the service's folder."""
    devices = {disk.device(folder) for folder in (place.staging, "")}
    with suppress(NotThere):
        devices.add(disk.device(place.service))
    if len(devices) > 1:
        raise VolumeError(
            f"{disk.name}/{place.staging} and {disk.name}/{place.service} are on different file systems, but promotion"
            " is a rename",
            hint="mount the whole adapter disk at ADAPTER_PVC_ROOT, and nothing below it",
        )


def promote(disk: Disk, place: AdapterPaths, *, pause: Callable[[], None]) -> None:
    """Make the download the live adapter. What was live before is removed after a `pause`, whatever it was.

    Raises LeaseLost if somebody has taken the staged folder away, VolumeError if the file system refuses.
    """
    staged = place.download

    def rename() -> None:
        _make_service_folder(disk, place.service)
        try:
            _rename_into_place(disk, staged, place)
        except (NotThere, AlreadyThere, InTheWay) as error:
            if disk.stat(staged) is None:
                raise LeaseLost(
                    f"another process has taken {disk.name}/{staged} away", hint="run again to stage it again"
                ) from error
            raise Undone from error  # the live adapter has come, gone or changed since it was looked at

    repeated(rename, f"{disk.name}/{place.live} cannot be replaced")
    disk.sync_folder(place.service)
    log.info("promoted adapter %s of service %s into %s/%s", place.adapter, place.service, disk.name, place.live)
    _discard_replaced(disk, place, pause)


def restore(disk: Disk, place: AdapterPaths) -> None:
    """Put back the adapter whose successor never came: a promotion was killed between its two renames."""
    names = [name for name in disk.scan(place.aside) if not name.startswith(GONE)]
    if not names or disk.stat(place.live) is not None:
        return
    found = disk.stats(place.aside, names)
    newest = max(found, key=lambda name: found[name].mtime_ns)
    _make_service_folder(disk, place.service)
    with suppress(NotThere, AlreadyThere):
        disk.rename(f"{place.aside}/{newest}", place.live)
        disk.sync_folder(place.service)
        log.info("restored adapter %s: an earlier promotion was killed", place.adapter)


def _make_service_folder(disk: Disk, service: str) -> None:
    """Only made, never moved: pods have it mounted."""
    if disk.make_folder(service):
        disk.make_readable(service, Kind.FOLDER)
        disk.sync_folder("")


def _rename_into_place(disk: Disk, staged: str, place: AdapterPaths) -> None:
    if disk.stat(place.live) is None:
        disk.rename(staged, place.live)
    elif not disk.exchange(staged, place.live):
        _rename_twice(disk, staged, place)


def _rename_twice(disk: Disk, staged: str, place: AdapterPaths) -> None:
    aside = f"{place.aside}/{secrets.token_hex(8)}"
    make_folders(disk, place.aside)
    if disk.stat(staged) is None:  # nothing may be moved aside for a successor that is gone
        raise NotThere(f"{disk.name}/{staged} is gone")
    disk.rename(place.live, aside)
    try:
        disk.rename(staged, place.live)
    except DownloadError:
        with suppress(DownloadError):
            disk.rename(aside, place.live)
        raise


def _discard_replaced(disk: Disk, place: AdapterPaths, pause: Callable[[], None]) -> None:
    """Remove the old adapter: the exchange has left it in the place of the new one, two renames have moved it aside."""
    aside = [f"{place.aside}/{name}" for name in disk.scan(place.aside)]
    discard(disk, [place.download, *aside], place.service, place.adapter, pause=pause)
    remove_empty(disk, place.aside, f"{ASIDE}/{place.service}")


def sanitize_tree(disk: Disk, folder: str, manifest: Manifest) -> None:
    """Remove what is no part of the artifact, and set the modes.

    Raises VolumeError where a symlink or a special file is found, or where a file of the artifact is not as listed.
    """
    found = dict(_walk(disk, folder))
    for path, details in found.items():
        if details.kind not in (Kind.FILE, Kind.FOLDER):
            raise VolumeError(
                f"the staged adapter contains symlinks or special files, refusing to promote: {path} is a"
                f" {details.kind.value}",
                hint="only folders and regular files are served to the pods that mount the service's folder",
            )
    wanted = {f"{folder}/{file.path}": file.size for file in manifest.files}
    for path, size in wanted.items():
        if path not in found or found[path].kind is not Kind.FILE or found[path].size != size:
            raise VolumeError(f"{disk.name}/{path} was changed by somebody else", hint="run again to stage it anew")
    kept = {f"{folder}/{MARKER}", *wanted, *_folders_above(wanted)}
    disk.make_readable(folder, Kind.FOLDER)
    for path, details in found.items():
        if path in kept:
            disk.make_readable(path, details.kind)
        else:
            erase(disk, path)


def _walk(disk: Disk, folder: str) -> Iterator[tuple[str, Stat]]:
    """Yield everything below a folder, what is in a folder after the folder."""
    todo = [folder]
    while todo:
        folder = todo.pop()
        for name, details in disk.stats(folder, list(disk.scan(folder))).items():
            yield f"{folder}/{name}", details
            if details.kind is Kind.FOLDER:
                todo.append(f"{folder}/{name}")


def _folders_above(paths: dict[str, int]) -> set[str]:
    folders: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return folders
