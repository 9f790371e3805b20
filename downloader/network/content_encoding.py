"""Content that is sent compressed although it was requested uncompressed, as mirrors do with small text files."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from downloader.errors import ConnectionBroken, ProtocolFailed
from downloader.formatting import reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.network.messages import StreamingResponse

GZIP = frozenset({"gzip", "x-gzip"})
PIECE = 1 << 16
GZIP_WBITS = zlib.MAX_WBITS | 16
"""What makes zlib read the header and the trailer of gzip."""


def is_encoded(headers: Mapping[str, str]) -> bool:
    """Tell whether a response has a content encoding: then its length is not that of the file."""
    return headers.get("content-encoding", "").strip().lower() not in ("", "identity")


def can_decode(headers: Mapping[str, str]) -> bool:
    """Tell whether its content encoding is gzip, the only one that is decoded."""
    return headers.get("content-encoding", "").strip().lower() in GZIP


def is_compressed(path: str) -> bool:
    """Tell whether the name is that of a compressed file: some servers declare that as its content encoding."""
    return path.lower().endswith((".gz", ".tgz", ".gzip"))


def decoded(body: bytes, headers: Mapping[str, str], limit: int, where: str) -> bytes:
    """Return a body without the gzip encoding that some servers use unasked.

    Raises ProtocolFailed beyond `limit` bytes, since a few bytes may decode to gigabytes, or for another encoding, and
    ConnectionBroken for a body that is not complete.
    """
    if not is_encoded(headers):
        return body
    if not can_decode(headers):
        coding = headers["content-encoding"].lower()
        raise ProtocolFailed(f"{where} answers in the coding {coding[:20]!r} although it was asked not to")
    try:
        inflate = zlib.decompressobj(wbits=GZIP_WBITS)
        plain = inflate.decompress(body, limit + 1)
    except zlib.error as error:
        raise ProtocolFailed(f"{where} answers with what is not gzip: {reason(error)}") from error
    if len(plain) > limit:
        raise ProtocolFailed(f"{where} answers with more than {limit} bytes")
    if not inflate.eof:
        raise ConnectionBroken(f"{where} packs its answer, and ends before it is whole")
    return plain


class DecodedBody:
    """The decoded body of a gzip response. Memory stays bounded: one piece of input, and output as it is read."""

    def __init__(self, response: StreamingResponse, where: str) -> None:
        self._response = response
        self._where = where
        self._inflate = zlib.decompressobj(wbits=GZIP_WBITS)
        self._input = memoryview(bytearray(PIECE))
        self._rest = b""

    def readinto(self, view: memoryview) -> int:
        """Read the next bytes into `view` and return their number. Raises httpx2's errors, ProtocolFailed."""
        while True:
            try:
                plain = self._inflate.decompress(self._rest, len(view))
            except zlib.error as error:
                raise ProtocolFailed(f"{self._where} packs the file with what is not gzip: {reason(error)}") from error
            self._rest = self._inflate.unconsumed_tail
            if plain:
                view[: len(plain)] = plain
                return len(plain)
            count = self._response.readinto(self._input)
            if self._inflate.eof:
                return 0  # bytes behind the end are ignored, as gzip does
            if count == 0:
                raise ProtocolFailed(f"{self._where} packs the file, and ends before it is whole")
            self._rest = bytes(self._input[:count])

    @property
    def complete(self) -> bool:
        """Whether the end was reached, which gzip marks and verifies by a checksum."""
        return self._inflate.eof

    def interrupt(self) -> None:
        """Wake a reader that is blocked in another thread."""
        self._response.interrupt()

    def close(self) -> None:
        """Close the connection unless the response was read to its end."""
        self._response.close()
