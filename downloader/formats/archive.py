"""The members of a zip archive as contents of their own, which is what torch, numpy and Keras write."""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Final

from downloader.formats.content import Content, Seekable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOCAL: Final = b"PK\x03\x04"
_END: Final = b"PK\x05\x06"
_LONGEST_END: Final = 22 + 65535
"""Bytes of the record at the end of an archive, with its comment."""
_LARGEST_DIRECTORY: Final = 4 << 20
MOST_MEMBERS: Final = 20_000
_LARGEST_INFLATED: Final = 16 << 20
"""Bytes of a compressed member that are decompressed."""
_ALL_INFLATED: Final = 256 << 20
_HEADER: Final = struct.Struct("<4s5H3L2H")
_PIECE: Final = 64 << 10


def has_directory(content: Content) -> bool:
    """Tell whether there is a zip archive at the end, whatever is before it."""
    if content.forward:
        return content.up_to(0, 4) == LOCAL
    start = max(0, content.size - _LONGEST_END)
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


class Members:
    """The members of an archive. Raises ValueError or what `zipfile` raises for one that is broken or too large."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._left = _ALL_INFLATED
        with zipfile.ZipFile(Seekable(content, _LARGEST_DIRECTORY)) as archive:
            self.infos = archive.infolist()
        if len(self.infos) > MOST_MEMBERS:
            raise ValueError(f"it has more than {MOST_MEMBERS} members")
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
            return packed
        if info.compress_type != zipfile.ZIP_DEFLATED:
            raise ValueError("it is compressed by another method than deflate")
        return Content(self._inflating(packed), info.file_size, forward=True)

    def _inflating(self, packed: Content) -> _Inflated:
        return _Inflated(packed, self._take)

    def _take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
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
            if len(self._found) > _LARGEST_INFLATED:
                raise ValueError(f"more than {_LARGEST_INFLATED} bytes of a member would have to be decompressed")
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
