"""Content that a server packs although it was asked not to: mirrors and gateways do so with small text files."""

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
    """Tell whether an answer is in some coding: its length is then not that of the content."""
    return headers.get("content-encoding", "").strip().lower() not in ("", "identity")


def can_decode(headers: Mapping[str, str]) -> bool:
    """Tell whether an answer is in the one coding that is unpacked."""
    return headers.get("content-encoding", "").strip().lower() in GZIP


def is_compressed(path: str) -> bool:
    """Tell whether a file is packed by its name: servers call that its coding, too."""
    return path.lower().endswith((".gz", ".tgz", ".gzip"))


class DecodedBody:
    """The body of an answer without its gzip coding; never more of it in memory than a piece and what is asked for."""

    def __init__(self, response: StreamingResponse, where: str) -> None:
        self._response = response
        self._where = where
        self._inflate = zlib.decompressobj(wbits=ALSO_TRAILERS)
        self._packed = memoryview(bytearray(PIECE))
        self._rest = b""

    def readinto(self, view: memoryview) -> int:
        """Put what has arrived into `view`, 0 at the end. Raises httpx2's errors and ProtocolFailed."""
        while True:
            try:
                plain = self._inflate.decompress(self._rest, len(view))
            except zlib.error as error:
                raise ProtocolFailed(f"{self._where} packs the file with what is no gzip: {reason(error)}") from error
            self._rest = self._inflate.unconsumed_tail
            if plain:
                view[: len(plain)] = plain
                return len(plain)
            count = self._response.readinto(self._packed)
            if self._inflate.eof:
                return 0  # whatever follows belongs to nothing
            if count == 0:
                raise ProtocolFailed(f"{self._where} packs the file, and ends before it is whole")
            self._rest = bytes(self._packed[:count])

    @property
    def complete(self) -> bool:
        """The end was reached, which gzip tells and proves by a checksum."""
        return self._inflate.eof

    def interrupt(self) -> None:
        """Wake a reader that is blocked in another thread."""
        self._response.interrupt()

    def close(self) -> None:
        """Give the connection up unless the answer was read to its end."""
        self._response.close()
