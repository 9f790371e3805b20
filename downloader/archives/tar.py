"""Tar archives, gzipped or not, walked from start to end."""

from __future__ import annotations

import gzip
import io
import tarfile
from contextlib import contextmanager
from functools import partial
from typing import IO, TYPE_CHECKING, Self, cast

from downloader.archives.entries import Entry, Refused, linked, tidy
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
LONGEST_HEADER = 1 << 20
"""Bytes of all that says what one member is: its name, its attributes, the map of a sparse file."""
ALL_HEADERS = 512 << 20
"""Bytes of all headers together: fifty times what the most members take that there may be."""
LONGEST_NAME = 4096
LONGEST_TAIL = 64 << 20
"""Bytes that may follow the end mark: tapes were written in blocks."""
PIECE = 1 << 20
ANYWHERE = "/archive"
"""A folder that tarfile's filter may reckon with; nothing is ever put there."""


class Header(tarfile.TarInfo):
    """A header that is refused where tarfile would silently end the archive, or read anything into memory."""

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
        if header.size < 0 or (header.type in EXTENSIONS and header.size > LONGEST_HEADER):
            raise IntegrityError(f"it has a header that claims {header.size} bytes")
        return header


class _Guarded:
    """A tar of which tarfile reads no more than an honest one has, wherever its headers send it.

    Of one header it may ask for anything: a map of a sparse file without end, or a jump over terabytes of packed zeros.
    """

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self.tell = stream.tell
        self._left_of_header, self._left_of_all = LONGEST_HEADER, ALL_HEADERS
        self._in_content = False

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go somewhere else."""
        if whence == io.SEEK_SET and offset > self._limit:
            raise Refused(f"it is taken for a bomb: it goes on after {format_size(self._limit)}")
        return self._stream.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        """Read as files do."""
        data = self._stream.read(size)
        if not self._in_content:
            self._left_of_header -= len(data)
            self._left_of_all -= len(data)
            if min(self._left_of_header, self._left_of_all) < 0:
                raise Refused("its headers are longer than those of any archive that is meant to be unpacked")
        return data

    @contextmanager
    def content(self) -> Iterator[None]:
        """Let the content of a member be read, and then the header of the next one."""
        self._in_content = True
        try:
            yield
        finally:
            self._in_content, self._left_of_header = False, LONGEST_HEADER


def walk(raw: BufferedReader, size: int) -> Iterator[tuple[Entry, Callable[[], IO[bytes]]]]:
    """Yield everything in an archive of `size` bytes, and how to open it before the next one is asked for."""
    limit = allowed(size) + ALL_HEADERS
    if raw.peek(len(GZIP))[: len(GZIP)] != GZIP:
        yield from _walk(_Guarded(raw, limit))
        return
    with gzip.GzipFile(fileobj=raw) as unzipped:
        yield from _walk(_Guarded(cast("IO[bytes]", unzipped), limit))
        left = LONGEST_TAIL
        while left > 0 and (tail := unzipped.read(PIECE)):  # the checksum of the whole comes at its very end
            left -= len(tail)


def _walk(guarded: _Guarded) -> Iterator[tuple[Entry, Callable[[], IO[bytes]]]]:
    with tarfile.open(fileobj=cast("IO[bytes]", guarded), mode="r:", tarinfo=Header, encoding="utf-8") as archive:
        while (member := archive.next()) is not None:
            if sum(map(len, archive.pax_headers.values())) > LONGEST_HEADER:
                raise Refused("its global headers are too long")
            with guarded.content():
                yield _entry(member), cast("Callable[[], IO[bytes]]", partial(archive.extractfile, member))
            archive.members.clear()  # type: ignore[attr-defined] # it would keep them all, with all their headers


def _entry(member: tarfile.TarInfo) -> Entry:
    """Describe a member. Raises FilterError for what Python itself would not extract from somebody else's archive."""
    if max(len(member.name), len(member.linkname)) > LONGEST_NAME:
        raise Refused("it has a name that is too long for a file system")
    path = tidy(member.name)
    tarfile.data_filter(member, ANYWHERE)
    if member.issym():
        return Entry(path, Kind.SYMLINK, link=linked(path, member.linkname))
    if member.islnk():
        return Entry(path, Kind.SYMLINK, link=linked("", member.linkname))
    if member.isdir():
        return Entry(path, Kind.FOLDER)
    return Entry(path, Kind.FILE if member.isreg() else Kind.OTHER, member.size)
