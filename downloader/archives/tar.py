"""Tar archives, gzipped or not, walked from start to end."""

from __future__ import annotations

import gzip
import tarfile
from functools import partial
from typing import IO, TYPE_CHECKING, Self, cast

from downloader.archives import Entry, linked, tidy
from downloader.errors import IntegrityError
from downloader.volume.files import Kind

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
LONGEST_EXTENSION = 1 << 20
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
        if header.size < 0 or (header.type in EXTENSIONS and header.size > LONGEST_EXTENSION):
            raise IntegrityError(f"it has a header that claims {header.size} bytes")
        return header


def walk(raw: BufferedReader) -> Iterator[tuple[Entry, Callable[[], IO[bytes]]]]:
    """Yield everything in the archive, and how to open it before the next one is asked for."""
    if raw.peek(len(GZIP))[: len(GZIP)] != GZIP:
        yield from _walk(raw)
        return
    with gzip.GzipFile(fileobj=raw) as unzipped:
        yield from _walk(cast("IO[bytes]", unzipped))
        left = LONGEST_TAIL
        while left > 0 and (tail := unzipped.read(PIECE)):  # the checksum of the whole comes at its very end
            left -= len(tail)


def _walk(stream: IO[bytes]) -> Iterator[tuple[Entry, Callable[[], IO[bytes]]]]:
    with tarfile.open(fileobj=stream, mode="r:", tarinfo=Header, encoding="utf-8") as archive:
        for member in archive:
            yield _entry(member), cast("Callable[[], IO[bytes]]", partial(archive.extractfile, member))


def _entry(member: tarfile.TarInfo) -> Entry:
    """Describe a member. Raises FilterError for what Python itself would not extract from somebody else's archive."""
    path = tidy(member.name)
    tarfile.data_filter(member, ANYWHERE)
    if member.issym():
        return Entry(path, Kind.SYMLINK, link=linked(path, member.linkname))
    if member.islnk():
        return Entry(path, Kind.SYMLINK, link=linked("", member.linkname))
    if member.isdir():
        return Entry(path, Kind.FOLDER)
    return Entry(path, Kind.FILE if member.isreg() else Kind.OTHER, member.size)
