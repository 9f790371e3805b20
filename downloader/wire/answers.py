"""Small answers, read whole: never more than a limit, whatever a server sends and however it is packed."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from downloader.artifact import shown_url
from downloader.errors import ProtocolFailed
from downloader.words import reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.meter import Meter
    from downloader.wire.exchange import Answer


def read_whole(answer: Answer, limit: int, meter: Meter, *, cut: bool = False) -> bytes:
    """Return the body as it comes, telling `meter` of it.

    A longer one than `limit` bytes is cut there, or else raises ProtocolFailed.
    """
    pieces = bytearray()
    for piece in answer.pieces():
        pieces += piece
        meter.heard(len(piece))
        if len(pieces) > limit:
            if cut:
                return bytes(pieces[:limit])
            raise ProtocolFailed(f"{shown_url(answer.address.url)} answers with more than {limit} bytes")
    return bytes(pieces)


def unpacked(body: bytes, headers: Mapping[str, str], limit: int, where: str) -> bytes:
    """Return an answer without the coding that some servers use unasked; a few bytes may stand for gigabytes."""
    coding = headers.get("content-encoding", "").lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip"):
        raise ProtocolFailed(f"{where} answers in the coding {coding[:20]!r} although it was asked not to")
    try:
        plain = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(body, limit + 1)
    except zlib.error as error:
        raise ProtocolFailed(f"{where} answers with what is no gzip: {reason(error)}") from error
    if len(plain) > limit:
        raise ProtocolFailed(f"{where} answers with more than {limit} bytes")
    return plain
