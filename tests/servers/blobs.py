"""Content that servers serve: kept in memory that the kernel sends from, without a copy through Python."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blake3 import blake3

from tests.servers.closable import Closable

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

_STEP = 4 << 20


@dataclass(frozen=True, slots=True)
class Noise:
    """Bytes without any pattern, made from a seed: the same every time."""

    size: int
    seed: int = 0

    def pieces(self) -> Iterable[bytes]:
        """Make the bytes, a few MiB at a time."""
        source = blake3(self.seed.to_bytes(8, "little"))
        for start in range(0, self.size, _STEP):
            yield source.digest(length=min(_STEP, self.size - start), seek=start)

    def bytes(self) -> bytes:
        """Make all the bytes at once."""
        return b"".join(self.pieces())


@dataclass(frozen=True, slots=True)
class Blob:
    """Some bytes on a shelf."""

    descriptor: int
    start: int
    size: int

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes `start <= offset < stop`."""
        stop = self.size if stop is None else min(stop, self.size)
        return os.pread(self.descriptor, max(0, stop - start), self.start + start)

    def pieces(self, step: int = _STEP) -> Iterable[bytes]:
        """Return all the bytes, `step` at a time."""
        for start in range(0, self.size, step):
            yield self.read(start, start + step)

    def send(self, connection: socket.socket, start: int, stop: int) -> int:
        """Send at most a few MiB of these bytes over a blocking connection; return how many went."""
        return os.sendfile(connection.fileno(), self.descriptor, self.start + start, min(stop - start, _STEP))


class Shelf(Closable):
    """Keeps blobs in anonymous memory until it is closed."""

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("shelf")
        self._end = 0
        self._lock = threading.Lock()

    def put(self, content: bytes | Noise | Iterable[bytes]) -> Blob:
        """Keep these bytes."""
        pieces = (content,) if isinstance(content, bytes) else content
        if isinstance(pieces, Noise):
            pieces = pieces.pieces()
        with self._lock:
            start = self._end
            for piece in pieces:
                self._end += os.pwrite(self._descriptor, piece, self._end)
            return Blob(self._descriptor, start, self._end - start)

    def close(self) -> None:
        """Give the memory back."""
        os.close(self._descriptor)
