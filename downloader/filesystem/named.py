"""Finds what a user names on a file system of this machine: a folder, or one file."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from downloader.filesystem.interface import InTheWay, NotThere
from downloader.filesystem.operations import map_os_error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Named(NamedTuple):
    """What a path leads to, with all symlinks followed: the user named it."""

    folder: Path
    name: str
    """The file in the folder; empty if the path leads to the folder itself."""


def find_named(path: Path) -> Named:
    """Return what a path leads to. Raises NotThere, InTheWay for what is neither file nor folder, and VolumeError."""
    try:
        real = path.resolve(strict=True)
        mode = real.stat().st_mode
    except (OSError, RuntimeError) as error:  # Python before 3.13 raises RuntimeError for links in a circle
        failure = error if isinstance(error, OSError) else OSError(str(error))
        raise map_os_error(failure, f"looking at {path}") from failure
    if stat.S_ISDIR(mode):
        return Named(real, "")
    if not stat.S_ISREG(mode):
        raise InTheWay(f"{path} is a special file")
    return Named(real.parent, real.name)


def absolute(path: Path) -> Path:
    """Return a path from the root on; no link is followed. Raises NotThere if the current folder was removed."""
    try:
        return path.absolute()
    except FileNotFoundError as error:
        raise NotThere("the current folder does not exist any more", hint="change to one that does") from error


def with_parents(folder: Path) -> Iterator[Path]:
    """Yield a folder and those above it on the same file system, as far as they are open to us, the nearest first."""
    device = folder.stat().st_dev
    for place in (folder, *folder.parents):
        found = _look(place)
        if found is None or found.st_dev != device:
            return
        yield place


def is_folder(path: Path) -> bool:
    """Return whether a path leads to a folder. False for whatever cannot be looked at: opening it says why."""
    found = _look(path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def is_same(one: Path, other: Path) -> bool:
    """Return whether two paths lead to the same folder. False for one that is missing."""
    found, wanted = _look(one), _look(other)
    return found is not None and wanted is not None and os.path.samestat(found, wanted)


def is_inside(folder: Path, other: Path) -> bool:
    """Return whether a folder, which may be missing, is another one or lies somewhere in it."""
    real = folder.resolve()
    return any(is_same(place, other) for place in (real, *real.parents))


def _look(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
