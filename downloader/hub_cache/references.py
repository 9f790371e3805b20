"""References: files below `refs/` that say which commit a branch or tag is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.filesystem import InTheWay, NotThere

if TYPE_CHECKING:
    from downloader.hub_cache.disk import CacheDisk


def read_reference(disk: CacheDisk, path: str) -> str:
    """Return the commit that a reference names; empty if it is missing or not a file."""
    try:
        handle = disk.open(path)
    except (NotThere, InTheWay):
        return ""
    try:
        view = memoryview(bytearray(64))
        return bytes(view[: disk.read(handle, 0, view)]).decode(errors="replace")
    finally:
        disk.close(handle)


def write_reference(disk: CacheDisk, path: str, commit: str, staged: str) -> None:
    """Let a reference name a commit, at once and durably: it is written at the path `staged` first."""
    if read_reference(disk, path) == commit:
        return
    folders = path.split("/")[:-1]
    for depth in range(1, len(folders) + 1):
        disk.make_folder("/".join(folders[:depth]))
    disk.replace(path, commit.encode(), staged)
    for depth in range(len(folders), -1, -1):
        disk.sync_folder("/".join(folders[:depth]))
