"""Promotes a staged folder to the live adapter. A reader of the service's folder sees the old adapter or the new one.

Where the file system can exchange two names, the adapter exists at every moment. Elsewhere (NFS, some FUSE) the old one
is moved to `.aside` first. Between the two renames the adapter is missing, and a process that is killed at that moment
leaves the old one in `.aside`, from where the next pod puts it back.
"""

from __future__ import annotations

import logging
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from downloader.adapters.contention import StepUndone, repeated
from downloader.adapters.paths import ASIDE
from downloader.adapters.trash import GONE, discard, erase, make_folders, remove_empty
from downloader.artifact import folders_above
from downloader.errors import DownloadError, LeaseLost, VolumeError
from downloader.filesystem import AlreadyThere, InTheWay, Kind, NotThere
from downloader.integrity import MARKER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from downloader.adapters.paths import AdapterPaths
    from downloader.artifact import Manifest
    from downloader.filesystem import Disk, Stat

log = logging.getLogger(__name__)


def require_one_file_system(disk: Disk, paths: AdapterPaths) -> None:
    """Raise VolumeError if staging and the service's folder are on different file systems: a rename must do."""
    devices = {disk.device(folder) for folder in (paths.staging, "")}
    with suppress(NotThere):
        devices.add(disk.device(paths.service))
    if len(devices) > 1:
        raise VolumeError(
            f"{disk.name}/{paths.staging} and {disk.name}/{paths.service} are on different file systems, but promotion"
            " is a rename",
            hint="mount the whole adapter disk at ADAPTER_PVC_ROOT, and nothing below it",
        )


def promote(disk: Disk, paths: AdapterPaths, *, pause: Callable[[], None]) -> None:
    """Make the download the live adapter. What was live before, of whatever kind, is removed after a `pause`.

    Raises LeaseLost if another process has moved the staged folder, VolumeError if the file system fails.
    """
    staged = paths.download

    def rename() -> None:
        _make_service_folder(disk, paths.service)
        try:
            _rename_to_live(disk, staged, paths)
        except (NotThere, AlreadyThere, InTheWay) as error:
            if disk.stat(staged) is None:
                raise LeaseLost(
                    f"another process has taken {disk.name}/{staged} away", hint="run again to stage it again"
                ) from error
            raise StepUndone from error  # the live adapter has come, gone or changed since it was looked at

    repeated(rename, f"{disk.name}/{paths.live} cannot be replaced")
    disk.sync_folder(paths.service)
    log.info("promoted adapter %s of service %s into %s/%s", paths.adapter, paths.service, disk.name, paths.live)
    _discard_replaced(disk, paths, pause)


def restore(disk: Disk, paths: AdapterPaths) -> None:
    """Put back the old adapter if a promotion was killed between its two renames."""
    names = [name for name in disk.scan(paths.aside) if not name.startswith(GONE)]
    if not names or disk.stat(paths.live) is not None:
        return
    found = disk.stats(paths.aside, names)
    newest = max(found, key=lambda name: found[name].mtime_ns)
    _make_service_folder(disk, paths.service)
    with suppress(NotThere, AlreadyThere):
        disk.rename(f"{paths.aside}/{newest}", paths.live)
        disk.sync_folder(paths.service)
        log.info("restored adapter %s: an earlier promotion was killed", paths.adapter)


def _make_service_folder(disk: Disk, service: str) -> None:
    """Create the service's folder. It must never be renamed or replaced, since pods have it mounted."""
    if disk.make_folder(service):
        disk.make_readable(service, Kind.FOLDER)
        disk.sync_folder("")


def _rename_to_live(disk: Disk, staged: str, paths: AdapterPaths) -> None:
    if disk.stat(paths.live) is None:
        disk.rename(staged, paths.live)
    elif not disk.exchange(staged, paths.live):
        _rename_twice(disk, staged, paths)


def _rename_twice(disk: Disk, staged: str, paths: AdapterPaths) -> None:
    aside = f"{paths.aside}/{secrets.token_hex(8)}"
    make_folders(disk, paths.aside)
    if disk.stat(staged) is None:  # the old adapter must stay if its successor is gone
        raise NotThere(f"{disk.name}/{staged} is gone")
    disk.rename(paths.live, aside)
    try:
        disk.rename(staged, paths.live)
    except DownloadError:
        with suppress(DownloadError):
            disk.rename(aside, paths.live)
        raise


def _discard_replaced(disk: Disk, paths: AdapterPaths, pause: Callable[[], None]) -> None:
    """Remove the old adapter: an exchange has left it under the name of the download, two renames in `.aside`."""
    aside = [f"{paths.aside}/{name}" for name in disk.scan(paths.aside)]
    discard(disk, [paths.download, *aside], paths.service, paths.adapter, pause=pause)
    remove_empty(disk, paths.aside, f"{ASIDE}/{paths.service}")


def sanitize_tree(disk: Disk, folder: str, manifest: Manifest) -> None:
    """Remove what does not belong to the artifact, and set the modes.

    Raises VolumeError if there is a symlink or a special file, or if a file of the artifact is missing or of the wrong
    size.
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
            raise VolumeError(f"{disk.name}/{path} was changed by another process", hint="run again to stage it again")
    kept = {f"{folder}/{MARKER}", *wanted, *folders_above(wanted)}
    disk.make_readable(folder, Kind.FOLDER)
    for path, details in found.items():
        if path in kept:
            disk.make_readable(path, details.kind)
        else:
            erase(disk, path)


def _walk(disk: Disk, folder: str) -> Iterator[tuple[str, Stat]]:
    """Yield everything below a folder; each folder before what is in it."""
    todo = [folder]
    while todo:
        folder = todo.pop()
        for name, details in disk.stats(folder, list(disk.scan(folder))).items():
            yield f"{folder}/{name}", details
            if details.kind is Kind.FOLDER:
                todo.append(f"{folder}/{name}")
