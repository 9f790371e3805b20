"""Zip archives, walked in the order of their directory."""

from __future__ import annotations

import stat
import zipfile
from functools import partial
from typing import IO, TYPE_CHECKING

from downloader.archives import Entry, linked, tidy
from downloader.errors import IntegrityError
from downloader.volume.files import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedReader

LONGEST_LINK = 4096
UNIX_MODE = 16
"""Where the mode begins in a member's external attributes."""


def walk(raw: BufferedReader) -> Iterator[tuple[Entry, Callable[[], IO[bytes]]]]:
    """Yield everything in the archive, and how to open it before the next one is asked for."""
    with zipfile.ZipFile(raw) as archive:
        for member in archive.infolist():
            yield _entry(archive, member), partial(archive.open, member)


def _entry(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Entry:
    path = tidy(member.filename)
    kind = stat.S_IFMT(member.external_attr >> UNIX_MODE)
    if kind == stat.S_IFLNK:
        if member.file_size > LONGEST_LINK:
            raise IntegrityError(f"it has a link of {member.file_size} bytes")
        return Entry(path, Kind.SYMLINK, link=linked(path, archive.read(member).decode()))
    if member.is_dir() or kind == stat.S_IFDIR:
        return Entry(path, Kind.FOLDER)
    return Entry(path, Kind.FILE if kind in (0, stat.S_IFREG) else Kind.OTHER, member.file_size)
