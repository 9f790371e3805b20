"""Names that the volume cannot hold: two that it takes for one, and those that it refuses.

Many volumes fold case or normalise Unicode (SMB, FAT, ext4 with casefold, the disks of a Mac) or refuse what Windows
refuses. Which ones do is only known by trying, in the working folder, and only where an artifact has such names.
"""

from __future__ import annotations

import re
from collections import defaultdict
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING
from unicodedata import normalize

from downloader.errors import VolumeError
from downloader.filesystem import AlreadyThere, clear
from downloader.formatting import single_line
from downloader.integrity import MARKER
from downloader.lease import WORK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from downloader.filesystem import FileOperations, Stat

MOST_TRIED = 1000
"""Names, or pairs of names, that are tried; what is left shows when the files get their names."""
LONGEST_ANYWHERE = 143
"""Bytes of a name that every file system takes: eCryptfs takes no longer ones."""

_UNUSUAL = re.compile(r'[:?*"<>|\\]|[. ]\Z')
_DEVICE = re.compile(r"(?i)(?:aux|con|nul|prn|com[0-9]|lpt[0-9])(?:\..*)?\Z")


def require_names(files: FileOperations, folder: str, paths: Iterable[str]) -> None:
    """Raise VolumeError if the volume takes two of the paths for one, or refuses a name.

    `folder` is one of the working folder in which names may be tried.
    """
    paths = list(paths)
    pairs = list(islice(alike([*paths, MARKER, WORK]), MOST_TRIED))
    unusual = list(islice(_unusual(paths), MOST_TRIED))
    if not pairs and not unusual:
        return
    room = f"{folder}/names"
    clear(files, room)
    files.make_folder(room)
    try:
        for first, second in pairs:
            if _is_one(files, room, first, second):
                raise _one_for_two(files, first, second)
        for name, path in unusual:
            _require_name(files, room, name, path)
    finally:
        clear(files, room)


def require_two_files(files: FileOperations, found: dict[str, Stat]) -> None:
    """Raise VolumeError if two of the paths that were found are one file."""
    for first, second in alike(found):
        if first in found and second in found and found[first].inode == found[second].inode:
            raise _one_for_two(files, first, second)


def alike(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield pairs of paths, or of a path and a folder above another one, that some file systems take for one."""
    names = set(paths)
    folders: set[str] = set()
    for path in names:
        folder = path.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    seen: set[int] = set()  # hashes take a tenth of the room that a million names take
    twice: set[int] = set()
    for path in names:
        (twice if (key := hash(_folded(path))) in seen else seen).add(key)
    twice |= {key for folder in folders if (key := hash(_folded(folder))) in seen}
    if not twice:
        return
    spellings: dict[str, set[str]] = defaultdict(set)
    for path in names:
        if hash(folded := _folded(path)) in twice:
            spellings[folded].add(path)
    for folder in folders:
        if (folded := _folded(folder)) in spellings:
            spellings[folded].add(folder)
    for spelt in spellings.values():
        first, *others = sorted(spelt)
        yield from ((first, other) for other in others)


def _folded(path: str) -> str:
    return path.lower() if path.isascii() else normalize("NFC", normalize("NFC", path).casefold())


def _unusual(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each name that some file systems refuse, and a path that it is in."""
    seen: set[str] = set()
    for path in paths:
        for name in path.split("/"):
            if name in seen:
                continue
            seen.add(name)
            long = len(name) * 4 > LONGEST_ANYWHERE and len(name.encode()) > LONGEST_ANYWHERE
            if long or _UNUSUAL.search(name) or _DEVICE.match(name):
                yield name, path


def _require_name(files: FileOperations, room: str, name: str, path: str) -> None:
    try:
        with suppress(AlreadyThere):
            files.close(files.create(f"{room}/{name}"))
        problem = "" if name in files.scan(room) else f"{files.name} keeps {single_line(name, 200)!r} in another form"
    except VolumeError as error:
        problem = error.message
    if problem:
        raise VolumeError(
            f"the volume cannot hold {single_line(path, 200)!r}: {problem}",
            hint="use a volume that takes this name, or leave the file out with --exclude",
        )


def _is_one(files: FileOperations, room: str, first: str, second: str) -> bool:
    """Tell whether the volume takes two paths for one: every name of one for that of the other."""
    names = zip(first.split("/"), second.split("/"), strict=True)
    for count, (one, other) in enumerate(pair for pair in names if pair[0] != pair[1]):
        folder = f"{room}/{count}"
        files.make_folder(folder)
        files.close(files.create(f"{folder}/{one}"))
        taken = files.stat(f"{folder}/{other}") is not None
        clear(files, folder)
        if not taken:
            return False
    return True


def _one_for_two(files: FileOperations, first: str, second: str) -> VolumeError:
    if {first, second} & {MARKER, WORK}:
        theirs = second if first in (MARKER, WORK) else first
        return VolumeError(
            f"the artifact has {single_line(theirs, 200)!r}, which {files.name} takes for a name that this program"
            " needs for itself",
            hint="leave it out with --exclude, or use a volume that tells case apart",
        )
    return VolumeError(
        f"the artifact has {single_line(first, 200)!r} and {single_line(second, 200)!r}, and {files.name} takes the two"
        " for one file",
        hint="use a volume that tells case and forms of Unicode apart, or leave one of them out with --exclude",
    )
