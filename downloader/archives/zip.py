"""Zip archives, walked in the order of their directory."""

from __future__ import annotations

import stat
import zipfile
from functools import partial
from typing import IO, TYPE_CHECKING, cast

from downloader.archives.entries import Entry, Refused, linked, tidy
from downloader.archives.validation import MAX_ENTRIES
from downloader.errors import IntegrityError
from downloader.filesystem import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedReader

LONGEST_LINK = 4096
UNIX_MODE = 16
"""Where the mode begins in a member's external attributes."""
LONGEST_DIRECTORY = 64 << 20
HUNGRY = frozenset({zipfile.ZIP_LZMA, 93})
"""LZMA, and Zstandard in newer Pythons: their dictionaries may be gigabytes, whatever they unpack to."""
MEMBER = b"PK\1\2"


class _Guarded:
    """An archive whose directory is not read if it is too long: the library would take it into memory, and far more."""

    def __init__(self, raw: BufferedReader) -> None:
        self._raw = raw
        self.seek, self.tell, self.seekable = raw.seek, raw.tell, raw.seekable
        self.listing = True

    def read(self, size: int = -1) -> bytes:
        """Read as files do."""
        if self.listing and size > LONGEST_DIRECTORY:
            raise Refused(f"the list of what is in it has {size} bytes")
        data = self._raw.read(size)
        if self.listing and data.count(MEMBER) > MAX_ENTRIES:
            raise Refused(f"it has more than {MAX_ENTRIES} entries")
        return data


def walk(raw: BufferedReader, _size: int) -> Iterator[tuple[Entry, Callable[[], IO[bytes]]]]:
    """Yield everything in the archive, and how to open it before the next one is asked for."""
    guarded = _Guarded(raw)
    with zipfile.ZipFile(cast("IO[bytes]", guarded)) as archive:
        guarded.listing = False
        for member in archive.infolist():
            yield _entry(archive, member), partial(archive.open, member)


def _entry(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Entry:
    if member.compress_type in HUNGRY:
        raise Refused(f"{member.filename!r} is packed in a way that takes as much memory as the archive likes")
    path = tidy(member.filename)
    kind = stat.S_IFMT(member.external_attr >> UNIX_MODE)
    if kind == stat.S_IFLNK:
        if member.file_size > LONGEST_LINK:
            raise IntegrityError(f"it has a link of {member.file_size} bytes")
        return Entry(path, Kind.SYMLINK, link=linked(path, archive.read(member).decode()))
    if member.is_dir() or kind == stat.S_IFDIR:
        return Entry(path, Kind.FOLDER)
    return Entry(path, Kind.FILE if kind in (0, stat.S_IFREG) else Kind.OTHER, member.file_size)
