"""What a staged folder must be before it is promoted: exactly the artifact, readable by everybody, without symlinks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.adapters.removal import erase
from downloader.errors import VolumeError
from downloader.volume.checksums import MARKER
from downloader.volume.files import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.adapters.disk import AdapterDisk
    from downloader.artifact import Manifest
    from downloader.volume.files import Stat


def settle(disk: AdapterDisk, folder: str, manifest: Manifest) -> None:
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
    disk.open_up(folder, Kind.FOLDER)
    for path, details in found.items():
        if path in kept:
            disk.open_up(path, details.kind)
        else:
            erase(disk, path)


def _walk(disk: AdapterDisk, folder: str) -> Iterator[tuple[str, Stat]]:
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
