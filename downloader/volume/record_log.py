"""Lines that prove themselves: how the journal and the ledger are written.

Each line is a CRC32 and a JSON list. A torn, damaged or foreign line is passed over and each good one is believed on
its own, so whatever happens to such a file costs work and never correctness.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

from downloader.filesystem import InTheWay, NotThere, clear

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.filesystem import FileOperations

_CRC_DIGITS = 8
_PIECE = 1 << 18
_LONGEST = 1 << 16
"""Bytes of a line, far more than any of ours has; of a longer one only this is kept:"""
_NEVER_GOOD = b"?"
_JSON = json.JSONEncoder(separators=(",", ":"))


def encode(*fields: str | int) -> bytes:
    """Return one line."""
    body = _JSON.encode(fields).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def decode(data: bytes) -> Iterator[list[Any]]:
    """Yield the fields of each good line."""
    for line in data.split(b"\n")[:-1]:
        fields = _fields(line)
        if fields is not None:
            yield fields


def read(files: FileOperations, handle: int) -> Iterator[list[Any]]:
    """Yield the fields of each good line of an open file, however long it is: only a piece of it is in memory."""
    buffer, offset, rest = memoryview(bytearray(_PIECE)), 0, b""
    while count := files.read(handle, offset, buffer):
        offset += count
        whole, newline, after = (rest + bytes(buffer[:count])).rpartition(b"\n")
        yield from decode(whole + newline)
        rest = after if len(after) <= _LONGEST else _NEVER_GOOD


def _fields(line: bytes) -> list[Any] | None:
    crc, space, body = line[:_CRC_DIGITS], line[_CRC_DIGITS : _CRC_DIGITS + 1], line[_CRC_DIGITS + 1 :]
    if space != b" " or crc != b"%08x" % zlib.crc32(body):
        return None
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, list) else None


class RecordLog:
    """Adds lines to a file, which is made with `header` if it is not there. Not for several threads at once."""

    def __init__(self, files: FileOperations, path: str, header: bytes = b"") -> None:
        self._files = files
        try:
            self._handle = files.open(path, write=True)
        except (NotThere, InTheWay):
            clear(files, path)
            self._handle = files.create(path)
            self._end = 0
            self.append(header)
            files.sync_folder(path.rpartition("/")[0])
        else:
            self._end = files.handle_stat(self._handle).size
            self.append(b"\n" if self._end else header)  # whatever a torn last line holds, it ends here

    def append(self, lines: bytes) -> None:
        """Write whole lines at the end."""
        self._files.write(self._handle, self._end, lines)
        self._end += len(lines)

    def sync(self) -> None:
        """Return when the lines survive a power loss."""
        self._files.sync(self._handle)

    def close(self) -> None:
        """Close the file."""
        self._files.close(self._handle)
