"""Formats that tell themselves where a file ends: proof that a stream was not cut, where the server gives none."""

from __future__ import annotations

import json
import struct
import zlib
from typing import TYPE_CHECKING, Protocol

from downloader.integrity.content import SAFETENSORS_HEADER_LIMIT, suffix_of

if TYPE_CHECKING:
    from collections.abc import Callable

PIECE = 1 << 20


class End(Protocol):
    """Sees the bytes of a file pass, in order."""

    def update(self, data: memoryview, /) -> None:
        """Take the next bytes."""

    def reached(self) -> bool:
        """Tell whether the bytes taken so far are a whole file."""


class _Safetensors:
    """Its header says where each tensor ends; the last one ends the file."""

    def __init__(self) -> None:
        self._size = 0
        self._header = bytearray()
        self._wanted = _LENGTH.size

    def update(self, data: memoryview, /) -> None:
        self._size += len(data)
        while data and len(self._header) < self._wanted:
            piece = data[: self._wanted - len(self._header)]
            self._header += piece
            data = data[len(piece) :]
            if self._wanted == _LENGTH.size == len(self._header):
                (length,) = _LENGTH.unpack(self._header)
                self._wanted += min(length, SAFETENSORS_HEADER_LIMIT)

    def reached(self) -> bool:
        if len(self._header) < self._wanted:
            return False
        try:
            tensors = json.loads(self._header[_LENGTH.size :])
            stops = [entry["data_offsets"][1] for name, entry in tensors.items() if name != "__metadata__"]
            return bool(self._size == len(self._header) + max(stops, default=0))
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            return False


_LENGTH = struct.Struct("<Q")


class _Gzip:
    """Its trailer holds a checksum. Where several follow each other, it is unknown whether there was one more."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        self._broken = False

    def update(self, data: memoryview, /) -> None:
        left = bytes(data)
        while left and not self._broken:
            try:
                self._inflate.decompress(left, PIECE)
            except zlib.error:
                self._broken = True
            self._broken |= bool(self._inflate.unused_data)
            left = self._inflate.unconsumed_tail

    def reached(self) -> bool:
        return self._inflate.eof and not self._broken


class _Zip:
    """Its last record says where the directory is that stands before it, and how long the comment is behind it."""

    _RECORD = struct.Struct("<4s4H2LH")

    def __init__(self) -> None:
        self._size = 0
        self._tail = b""

    def update(self, data: memoryview, /) -> None:
        self._size += len(data)
        self._tail = (self._tail + bytes(data[-self._MAX_LENGTH :]))[-self._MAX_LENGTH :]

    def reached(self) -> bool:
        at = len(self._tail) - self._RECORD.size + 1
        while (at := self._tail.rfind(b"PK\5\6", 0, at + 3)) >= 0:  # a comment may look like a record
            *_, size, offset, comment = self._RECORD.unpack_from(self._tail, at)
            # A zip inside of the zip has a directory that lies elsewhere; a large one has another record for that.
            fits = offset + size == self._size - len(self._tail) + at or self._tail[at - 20 : at - 16] == b"PK\6\7"
            if fits and len(self._tail) == at + self._RECORD.size + comment:
                return True
        return False

    _MAX_LENGTH = _RECORD.size + 0xFFFF


_ENDS: dict[str, Callable[[], End]] = {
    ".safetensors": _Safetensors,
    ".gz": _Gzip,
    ".tgz": _Gzip,
    ".zip": _Zip,
    ".npz": _Zip,
    ".pt": _Zip,
    ".pth": _Zip,
}


def end_of(path: str) -> End | None:
    """Return what tells the end of a file of this name; None for a format that does not tell it, or not cheaply."""
    found = _ENDS.get(suffix_of(path))
    return found() if found is not None else None
