"""Checks before the first byte is fetched: that the volume can hold the artifact, and may be changed for it.

Many volumes fold case or normalize Unicode (SMB, FAT, ext4 with casefold, the disks of a Mac) or refuse names that
Windows refuses. Which ones do is only known by trying, in the working folder, and only for artifacts with such names.
A full volume is reported in the first second rather than after an hour.
"""

from __future__ import annotations

import logging
import re
from bisect import bisect_left
from collections import defaultdict
from contextlib import suppress
from itertools import islice, pairwise
from typing import TYPE_CHECKING
from unicodedata import normalize

from downloader.artifact import Paths, folders_above
from downloader.errors import NoSpace, VolumeError
from downloader.filesystem import AlreadyThere, clear
from downloader.formatting import format_count, format_size, names_text, single_line
from downloader.integrity import MARKER
from downloader.lease import WORK

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from downloader.artifact import Manifest
    from downloader.filesystem import FileOperations
    from downloader.integrity import Origin

MAX_TRIED = 1000
"""Names, or pairs of names, that are tried. Any others fail when the files are renamed to them."""
LONGEST_ANYWHERE = 143
"""Bytes of the longest name that every file system takes: eCryptfs has the shortest limit."""

_UNUSUAL = re.compile(r'[:?*"<>|\\]|[. ]\Z')
_DEVICE = re.compile(r"(?i)(?:aux|con|nul|prn|com[0-9]|lpt[0-9])(?:\..*)?\Z")

_MARGIN = 64 << 10
"""Bytes for the lease, folders, and what else does not grow with the artifact."""
_PER_FILE = 256
"""Bytes of a file's lines in the commit log and in the checksum file."""
_JOURNALLED = 1 << 18
"""Bytes of a file for each byte of its journal, which has a line of some 64 bytes for every 16 MiB."""
_OWN_FILES = 16
"""Files and folders that this program needs for itself."""

_log = logging.getLogger(__name__)


def require_names(files: FileOperations, folder: str, paths: Sequence[str]) -> None:
    """Raise VolumeError if the volume takes two of the paths for one, or refuses a name.

    `folder` is in the working folder; the names are tried below it.
    """
    pairs = list(islice(alike([*paths, MARKER, WORK]), MAX_TRIED))
    unusual = list(islice(_unusual(paths), MAX_TRIED))
    if not pairs and not unusual:
        return
    scratch = f"{folder}/names"
    clear(files, scratch)
    files.make_folder(scratch)
    try:
        for first, second in pairs:
            if _is_one(files, scratch, first, second):
                raise _collision_error(files, first, second)
        for name, path in unusual:
            _require_name(files, scratch, name, path)
    finally:
        clear(files, scratch)


def require_two_files(files: FileOperations, paths: Sequence[str]) -> None:
    """Raise VolumeError if two of the paths, all of which are files, are one file."""
    known = Paths(paths)
    for first, second in alike(paths):
        if first in known and second in known:
            one, other = files.stat(first), files.stat(second)
            if one is not None and other is not None and one.inode == other.inode:
                raise _collision_error(files, first, second)


def alike(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield pairs of paths, or of a path and a folder above another one, that some file systems take for one."""
    folders = folders_above(names)
    # Hashes take a tenth of the memory that a million folded names take. A collision costs a comparison, no more.
    keys = sorted(hash(_folded(path)) for path in names)
    twice = {key for key, following in pairwise(keys) if key == following}
    twice |= {key for folder in folders if _has(keys, key := hash(_folded(folder)))}
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


def _has(ordered: Sequence[int], key: int) -> bool:
    position = bisect_left(ordered, key)
    return position < len(ordered) and ordered[position] == key


def require_space(files: FileOperations, needed_bytes: int, needed_files: int) -> None:
    """Raise NoSpace unless the volume has room for that many more bytes, in that many new files.

    Each file is counted up to a whole block. A volume that does not report its free space passes. A quota shows here
    only where the file system counts it in its free space (XFS and ext4 project quotas, CephFS); other quotas show
    when they are exceeded.
    """
    if not needed_files:
        return
    space = files.space()
    # As little as possible: a volume may be sized for just this artifact, rounded up to the next GiB.
    overhead = _MARGIN + needed_files * (space.block + _PER_FILE) + needed_bytes // _JOURNALLED
    needed = needed_bytes + overhead
    if space.free_bytes is not None and needed > space.free_bytes:
        raise NoSpace(
            f"no space left on device for the artifact: {files.name} needs {format_size(needed)} more "
            f"({needed_bytes} bytes in {format_count(needed_files, 'file')}) and "
            f"has {format_size(space.free_bytes)} free",
            hint=NoSpace.remedy,
        )
    if space.free_files is not None and needed_files + _OWN_FILES > space.free_files:
        raise NoSpace(
            f"no space left on device for the artifact: {files.name} needs {needed_files + _OWN_FILES} more inodes "
            f"and has {space.free_files} free",
            hint=NoSpace.remedy,
        )


def other_artifacts(manifest: Manifest, listed: Mapping[str, Origin], paths: Collection[str]) -> dict[str, str]:
    """Return path → URI of those of the paths that are files of another artifact. `listed` is `Inventory.listed`."""
    return {path: listed[path].uri for path in paths if path in listed and listed[path].uri != manifest.origin}


def check_replacement(
    target: str, manifest: Manifest, listed: Mapping[str, Origin], paths: Collection[str], *, replace: bool
) -> set[str]:
    """Return those of the paths to be replaced that are files of another artifact, and log them.

    `listed` is `Inventory.listed`. Raises VolumeError if there are any and `replace` does not allow it, since that
    artifact would be broken.
    """
    foreign = other_artifacts(manifest, listed, paths)
    if not foreign:
        return set()
    what, uri = format_count(len(foreign), "file"), foreign[min(foreign)]
    if not replace:
        raise VolumeError(
            f"{target} holds {uri}, and {manifest.uri} would replace {what} of it: {names_text(foreign)}",
            hint="use another target folder, or allow it with --replace (AIM_REPLACE=true)",
        )
    _log.warning("replacing %s of %s: %s", what, uri, names_text(foreign))
    return set(foreign)


def _folded(path: str) -> str:
    return path.lower() if path.isascii() else normalize("NFC", normalize("NFC", path).casefold())


def _unusual(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each name that some file systems refuse, and a path that it is in."""
    folders: set[str] = set()
    found: set[str] = set()
    for path in paths:
        folder, _, last = path.rpartition("/")
        names = [last] if folder in folders else [*folder.split("/"), last]
        folders.add(folder)
        for name in names:
            long = len(name) * 4 > LONGEST_ANYWHERE and len(name.encode()) > LONGEST_ANYWHERE
            if name not in found and (long or _UNUSUAL.search(name) or _DEVICE.match(name)):
                found.add(name)
                yield name, path


def _require_name(files: FileOperations, scratch: str, name: str, path: str) -> None:
    try:
        with suppress(AlreadyThere):
            files.close(files.create(f"{scratch}/{name}"))
        stored = name in files.scan(scratch)
        problem = "" if stored else f"{files.name} keeps {single_line(name, 200)!r} in another form"
    except VolumeError as error:
        problem = error.message
    if problem:
        raise VolumeError(
            f"the volume cannot hold {single_line(path, 200)!r}: {problem}",
            hint="use a volume that takes this name, or leave the file out with --exclude",
        )


def _is_one(files: FileOperations, scratch: str, first: str, second: str) -> bool:
    """Return whether the volume takes two paths for one: each name of one for that of the other."""
    names = zip(first.split("/"), second.split("/"), strict=True)
    for count, (one, other) in enumerate(pair for pair in names if pair[0] != pair[1]):
        folder = f"{scratch}/{count}"
        files.make_folder(folder)
        files.close(files.create(f"{folder}/{one}"))
        taken = files.stat(f"{folder}/{other}") is not None
        clear(files, folder)
        if not taken:
            return False
    return True


def _collision_error(files: FileOperations, first: str, second: str) -> VolumeError:
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
