"""Reads zip archives in the order of their directory."""

from __future__ import annotations

import stat
import zipfile
from functools import partial
from typing import IO, TYPE_CHECKING, cast

from downloader.archives.entries import ArchiveRejected, Entry, normalize_path, resolve_link
from downloader.archives.validation import MAX_ENTRIES
from downloader.errors import IntegrityError
from downloader.filesystem import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedReader

MAX_LINK_LENGTH = 4096
UNIX_MODE = 16
"""Where the mode begins in a member's external attributes."""
MAX_DIRECTORY_SIZE = 64 << 20
HUNGRY = frozenset({zipfile.ZIP_LZMA, 93})
"""LZMA, and Zstandard in newer Pythons: their dictionaries may take gigabytes, however small the content is."""
MEMBER = b"PK\1\2"


class _Guarded:
    """A file whose zip directory is not read if it is too long, since the library would read all of it into memory."""

    def __init__(self, raw: BufferedReader) -> None:
        self._raw = raw
        self.seek, self.tell, self.seekable = raw.seek, raw.tell, raw.seekable
        self.listing = True

    def read(self, size: int = -1) -> bytes:
        """Read like a file. Raises ArchiveRejected for a directory that is too long."""
        if self.listing and size > MAX_DIRECTORY_SIZE:
            raise ArchiveRejected(f"the list of what is in it has {size} bytes")
        data = self._raw.read(size)
        if self.listing and data.count(MEMBER) > MAX_ENTRIES:
            raise ArchiveRejected(f"it has more than {MAX_ENTRIES} entries")
        return data


def walk(raw: BufferedReader, _size: int) -> Iterator[tuple[Entry, Callable[[], IO[bytes]]]]:
    """Yield each entry with a function that opens it, valid until the next entry."""
    guarded = _Guarded(raw)
    with zipfile.ZipFile(cast("IO[bytes]", guarded)) as archive:
        guarded.listing = False
        for member in archive.infolist():
            yield _entry(archive, member), partial(archive.open, member)


def _entry(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Entry:
    if member.compress_type in HUNGRY:
        raise ArchiveRejected(f"{member.filename!r} is packed in a way that takes as much memory as the archive likes")
    path = normalize_path(member.filename)
    kind = stat.S_IFMT(member.external_attr >> UNIX_MODE)
    if kind == stat.S_IFLNK:
        if member.file_size > MAX_LINK_LENGTH:
            raise IntegrityError(f"it has a link of {member.file_size} bytes")
        return Entry(path, Kind.SYMLINK, link=resolve_link(path, archive.read(member).decode()))
    if member.is_dir() or kind == stat.S_IFDIR:
        return Entry(path, Kind.FOLDER)
    return Entry(path, Kind.FILE if kind in (0, stat.S_IFREG) else Kind.OTHER, member.file_size)
