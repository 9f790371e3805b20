"""Opens the target folder, and makes it with everything above it that is missing."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from downloader.errors import VolumeError
from downloader.filesystem.interface import AlreadyThere, InTheWay, NotThere

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER_MODE = 0o755
MAKINGS = 200
"""How often a folder is made that is there first, and gone when it is opened."""
SHARED_FOLDER_BITS = 0o070
"""What a folder below a setgid folder gets besides: its group owns the volume, so it may do everything there."""


def open_target(target: Path, *, create: bool, mode: int = FOLDER_MODE) -> int:
    """Return a descriptor of the target folder. It may be reached through symlinks, since the user named it.

    GlusterFS may take back at this moment what another node has just made: then it is made once more.
    """
    for left in reversed(range(MAKINGS if create else 1)):
        try:
            if create:
                _make_folders(target, mode)
            return os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            if not left or error.errno not in (errno.ENOENT, errno.ESTALE):
                raise
    raise AssertionError("unreachable")


@contextmanager
def naming_the_target(target: Path, *, create: bool = False) -> Iterator[None]:
    """Explain why a target that is missing, or is not a folder, cannot be opened, or made where it was to `create`."""
    try:
        yield
    except NotThere as error:
        if create:
            hint = "name one on a volume; the current folder may have been removed"
            raise NotThere(f"the folder {target} cannot be made here", hint=hint) from error
        raise NotThere(f"there is no folder {target}", hint="name the folder of a download") from error
    except (AlreadyThere, InTheWay) as error:
        culprit = next((path for path in (*reversed(target.parents), target) if _is_not_a_folder(path)), target)
        what = "it" if culprit == target else str(culprit)
        kind = "a symlink that leads to no folder" if culprit.is_symlink() else "a file"
        raise VolumeError(f"{target} cannot be the target: {what} is {kind}", hint="name a folder") from error


def _is_not_a_folder(path: Path) -> bool:
    return os.path.lexists(path) and not path.is_dir()


def _make_folders(target: Path, mode: int) -> None:
    """Make the target and the missing folders above it, each durably."""
    if target.is_dir():
        return
    _make_folders(target.parent, mode)
    _make_folder(target, mode)
    made = target.stat().st_mode
    if made & stat.S_ISGID:
        target.chmod(stat.S_IMODE(made) | SHARED_FOLDER_BITS)
    parent = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _make_folder(target: Path, mode: int) -> None:
    """Make a folder that another process may make or remove at this moment.

    On GlusterFS one that another node looks for at this moment is there when it is made, and gone after that.
    """
    for left in reversed(range(MAKINGS)):
        try:
            target.mkdir(mode, exist_ok=True)
        except FileExistsError:
            if _is_not_a_folder(target) or not left:
                raise
        else:
            return


def change_mode(handle: int, mode: int) -> None:
    """Set a mode, except on file systems that have one mode for all files and refuse to change it."""
    with suppress(PermissionError):
        os.fchmod(handle, mode)
