"""Reads tar archives, gzipped or not, from start to end."""

from __future__ import annotations

import gzip
import io
import tarfile
from contextlib import contextmanager
from functools import partial
from typing import IO, TYPE_CHECKING, Self, cast

from downloader.archives.entries import ArchiveRejected, Entry, normalize_path, resolve_link
from downloader.archives.validation import allowed
from downloader.errors import IntegrityError
from downloader.filesystem import Kind
from downloader.formatting import format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedReader

GZIP = b"\x1f\x8b"
EXTENSIONS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
MAX_HEADER_SIZE = 1 << 20
"""Bytes of what describes one member: its name, its attributes, the map of a sparse file."""
ALL_HEADERS = 512 << 20
"""Bytes of all headers together: fifty times what the largest allowed number of members needs."""
MAX_NAME_LENGTH = 4096
MAX_TAIL_SIZE = 64 << 20
"""Bytes that may follow the end mark, since tapes were written in blocks."""
PIECE = 1 << 20
ANYWHERE = "/archive"
"""A folder for tarfile's filter to compute with; nothing is written there."""


class Header(tarfile.TarInfo):
    """A header that fails where tarfile would silently end the archive, or read any amount into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read one block."""
        if len(buf) != tarfile.BLOCKSIZE:
            raise IntegrityError("it ends before its end mark")
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if any(buf):
                raise IntegrityError(f"it has a damaged header: {error}") from error
            raise
        if header.size < 0 or (header.type in EXTENSIONS and header.size > MAX_HEADER_SIZE):
            raise IntegrityError(f"it has a header that claims {header.size} bytes")
        return header


class _Guarded:
    """A tar from which tarfile can read no more than a legitimate one contains.

    A header can ask for anything: an endless map of a sparse file, or a seek over terabytes of compressed zeros.
    """

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self.tell = stream.tell
        self._left_of_header, self._left_of_all = MAX_HEADER_SIZE, ALL_HEADERS
        self._in_content = False

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Change the position. Raises ArchiveRejected beyond the limit."""
        if whence == io.SEEK_SET and offset > self._limit:
            raise ArchiveRejected(f"it is taken for a bomb: it goes on after {format_size(self._limit)}")
        return self._stream.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        """Read like a file. Raises ArchiveRejected once the headers are too long."""
        data = self._stream.read(size)
        if not self._in_content:
            self._left_of_header -= len(data)
            self._left_of_all -= len(data)
            if min(self._left_of_header, self._left_of_all) < 0:
                raise ArchiveRejected("its headers are longer than those of any archive that is meant to be unpacked")
        return data

    @contextmanager
    def content(self) -> Iterator[None]:
        """Read the content of a member without counting it as headers; then the next header begins."""
        self._in_content = True
        try:
            yield
        finally:
            self._in_content, self._left_of_header = False, MAX_HEADER_SIZE


def walk(raw: BufferedReader, size: int) -> Iterator[tuple[Entry, Callable[[], IO[bytes]]]]:
    """Yield each entry of an archive of `size` bytes with a function that opens it, valid until the next entry."""
    limit = allowed(size) + ALL_HEADERS
    if raw.peek(len(GZIP))[: len(GZIP)] != GZIP:
        yield from _walk(_Guarded(raw, limit))
        return
    with gzip.GzipFile(fileobj=raw) as unzipped:
        yield from _walk(_Guarded(cast("IO[bytes]", unzipped), limit))
        left = MAX_TAIL_SIZE
        while left > 0 and (tail := unzipped.read(PIECE)):  # the checksum of the whole is at the very end
            left -= len(tail)


def _walk(guarded: _Guarded) -> Iterator[tuple[Entry, Callable[[], IO[bytes]]]]:
    with tarfile.open(fileobj=cast("IO[bytes]", guarded), mode="r:", tarinfo=Header, encoding="utf-8") as archive:
        while (member := archive.next()) is not None:
            if sum(map(len, archive.pax_headers.values())) > MAX_HEADER_SIZE:
                raise ArchiveRejected("its global headers are too long")
            with guarded.content():
                yield _entry(member), cast("Callable[[], IO[bytes]]", partial(archive.extractfile, member))
            archive.members.clear()  # type: ignore[attr-defined] # tarfile would keep all of them with their headers


def _entry(member: tarfile.TarInfo) -> Entry:
    """Return a member as an entry. Raises FilterError for what Python would not extract from untrusted archives."""
    if max(len(member.name), len(member.linkname)) > MAX_NAME_LENGTH:
        raise ArchiveRejected("it has a name that is too long for a file system")
    path = normalize_path(member.name)
    tarfile.data_filter(member, ANYWHERE)
    if member.issym():
        return Entry(path, Kind.SYMLINK, link=resolve_link(path, member.linkname))
    if member.islnk():
        return Entry(path, Kind.SYMLINK, link=resolve_link("", member.linkname))
    if member.isdir():
        return Entry(path, Kind.FOLDER)
    return Entry(path, Kind.FILE if member.isreg() else Kind.OTHER, member.size)
