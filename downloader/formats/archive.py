"""The members of a zip archive as contents of their own, which is what torch, numpy and Keras write."""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from downloader.formats.content import Content, Seekable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOCAL: Final = b"PK\x03\x04"
_END: Final = b"PK\x05\x06"
_MAX_END_LENGTH: Final = 22 + 65535
"""Bytes of the record at the end of an archive, with its comment."""
_MAX_DIRECTORY_SIZE: Final = 4 << 20
MAX_MEMBERS: Final = 20_000
_MAX_INFLATED_SIZE: Final = 16 << 20
"""Bytes of a compressed member that are decompressed."""
_ALL_INFLATED: Final = 256 << 20
_HEADER: Final = struct.Struct("<4s5H3L2H")
_PIECE: Final = 64 << 10
_END_LENGTH: Final = 22
_END64_LENGTH: Final = 56
_LOCATOR: Final = struct.Struct("<4sLQL")
_IN_ZIP64: Final = 0xFFFFFFFF
"""In the record at the end: the number is in the other one, for large archives."""


@dataclass
class Allowance:
    """How much may still be looked at in a file, of all archives in it together."""

    inflated: int = _ALL_INFLATED
    """Bytes that are decompressed."""
    members: int = MAX_MEMBERS


def has_directory(content: Content) -> bool:
    """Tell whether there is a zip archive at the end, whatever is before it."""
    if content.forward:
        return content.up_to(0, 4) == LOCAL
    start = max(0, content.size - _MAX_END_LENGTH)
    return _END in content.up_to(start, content.size - start)


def local_header(content: Content, offset: int) -> tuple[bytes, int, int]:
    """Return name, method of compression and first byte of the member whose header is at an offset.

    Raises ValueError if that is not a header.
    """
    fields = _HEADER.unpack(content.exactly(offset, _HEADER.size))
    name_length, extra_length = fields[-2:]
    if fields[0] != LOCAL:
        raise ValueError("its directory does not agree with its members")
    start = offset + _HEADER.size + name_length
    return content.exactly(offset + _HEADER.size, name_length), fields[3], start + extra_length


def _require_one_directory(content: Content) -> None:
    """Raise ValueError unless the directory is just before the end, and the end says so.

    `zipfile` looks there, and the library of torch where the end says: an archive could have one directory for each.
    """
    tail = content.exactly(max(0, content.size - _MAX_END_LENGTH), min(content.size, _MAX_END_LENGTH))
    position = tail.rfind(_END)
    if tail[-_END_LENGTH : -_END_LENGTH + 4] == _END and tail.endswith(b"\x00\x00"):
        position = len(tail) - _END_LENGTH
    where = content.size - len(tail) + position
    size, offset = struct.unpack_from("<LL", tail, position + 12)
    locator = content.up_to(max(0, where - _LOCATOR.size), _LOCATOR.size)
    if locator[:4] == b"PK\x06\x07":
        where -= _LOCATOR.size + _END64_LENGTH
        end = content.exactly(where, _END64_LENGTH) if _LOCATOR.unpack(locator)[2] == where else b""
        if end[:4] != b"PK\x06\x06":
            raise ValueError("its end is not where it says")
        size64, offset64 = struct.unpack_from("<QQ", end, 40)
        if size not in (_IN_ZIP64, size64) or offset not in (_IN_ZIP64, offset64):
            raise ValueError("its two ends do not agree")
        size, offset = size64, offset64
    if offset + size != where:
        raise ValueError("its directory is not where its end says")


class Members:
    """The members of an archive. Raises ValueError or what `zipfile` raises for one that is broken or too large."""

    def __init__(self, content: Content, allowance: Allowance) -> None:
        self._content = content
        self._allowance = allowance
        _require_one_directory(content)
        with zipfile.ZipFile(Seekable(content, _MAX_DIRECTORY_SIZE)) as archive:
            self.infos = archive.infolist()
        allowance.members -= len(self.infos)
        if allowance.members < 0:
            raise ValueError(f"it has more than {MAX_MEMBERS} members")
        if any(info.filename != info.orig_filename for info in self.infos):
            raise ValueError("it has a member with two names")
        if any(info.is_dir() and info.file_size + info.compress_size for info in self.infos):
            raise ValueError("it has a folder with content of its own")
        self.names = {info.filename for info in self.infos}
        if len(self.names) != len(self.infos):
            raise ValueError("it has two members of one name")

    def contents(self) -> Iterator[tuple[str, Content]]:
        """Yield the name and the content of each member that is not a folder."""
        for info in self.infos:
            if not info.is_dir():
                yield info.filename, self.content(info)

    def named(self, name: str) -> Content:
        """Return the content of the member with a name."""
        return self.content(next(info for info in self.infos if info.filename == name))

    def content(self, info: zipfile.ZipInfo) -> Content:
        """Return the content of a member."""
        if info.flag_bits & 1:
            raise ValueError("it is encrypted")
        name, method, start = local_header(self._content, info.header_offset)
        if name.decode("utf-8" if info.flag_bits & 0x800 else "cp437") != info.orig_filename:
            raise ValueError("its directory does not agree with its members")
        if method != info.compress_type:
            raise ValueError("its directory does not agree with its members")
        packed = self._content.part(start, info.compress_size)
        if info.compress_type == zipfile.ZIP_STORED:
            if info.compress_size != info.file_size:
                raise ValueError("it has a member with two sizes")
            return packed
        if info.compress_type != zipfile.ZIP_DEFLATED:
            raise ValueError("it is compressed by another method than deflate")
        return Content(self._inflating(packed), info.file_size, forward=True)

    def _inflating(self, packed: Content) -> _Inflated:
        return _Inflated(packed, self._take)

    def _take(self, count: int) -> None:
        self._allowance.inflated -= count
        if self._allowance.inflated < 0:
            raise ValueError(f"more than {_ALL_INFLATED} bytes of it would have to be decompressed")


class _Inflated:
    """Decompresses a member as far as it is read."""

    def __init__(self, packed: Content, take: Callable[[int], None]) -> None:
        self._packed = packed
        self._take = take
        self._machine = zlib.decompressobj(-zlib.MAX_WBITS)
        self._offset = 0
        self._found = bytearray()

    def __call__(self, offset: int, count: int) -> bytes:
        while len(self._found) < offset + count and not self._machine.eof:
            if len(self._found) > _MAX_INFLATED_SIZE:
                raise ValueError(f"more than {_MAX_INFLATED_SIZE} bytes of a member would have to be decompressed")
            piece = self._machine.unconsumed_tail
            if not piece:
                piece = self._packed.up_to(self._offset, _PIECE)
                self._offset += len(piece)
            if not piece:
                break
            more = self._machine.decompress(piece, _PIECE)
            self._take(len(more))
            self._found += more
        return bytes(self._found[offset : offset + count])
