"""Content that is sent compressed although it was requested uncompressed, as mirrors do with small text files."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from downloader.errors import ProtocolFailed
from downloader.formatting import reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.network.messages import StreamingResponse

GZIP = frozenset({"gzip", "x-gzip"})
PIECE = 1 << 16
ALSO_TRAILERS = zlib.MAX_WBITS | 16


def is_encoded(headers: Mapping[str, str]) -> bool:
    """Tell whether a response has a content encoding: then its length is not that of the file."""
    return headers.get("content-encoding", "").strip().lower() not in ("", "identity")


def can_decode(headers: Mapping[str, str]) -> bool:
    """Tell whether its content encoding is gzip, the only one that is decoded."""
    return headers.get("content-encoding", "").strip().lower() in GZIP


def is_compressed(path: str) -> bool:
    """Tell whether the name is that of a compressed file: some servers declare that as its content encoding."""
    return path.lower().endswith((".gz", ".tgz", ".gzip"))


class DecodedBody:
    """The decoded body of a gzip response. Memory stays bounded: one piece of input, and output as it is read."""

    def __init__(self, response: StreamingResponse, where: str) -> None:
        self._response = response
        self._where = where
        self._inflate = zlib.decompressobj(wbits=ALSO_TRAILERS)
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
