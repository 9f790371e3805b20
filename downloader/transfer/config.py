"""The numbers of a ranged transport: how many at once, how much at once, and in how much memory."""

from __future__ import annotations

from dataclasses import dataclass
from sys import maxsize
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.artifact import RemoteFile

LARGEST_BUFFER, SMALLEST_BUFFER = 4 << 20, 64 << 10
MEMORY = 48 << 20
"""Bytes of all buffers together."""
SHARE_OF_LIMIT = 4
WAITING_BUFFERS = 8
"""Buffers besides those that are being filled: they wait for their turn to be hashed."""
SMALL = 256 << 10
"""Bytes of a file that is asked for together with others: its round trip costs more than its bytes."""


@dataclass(frozen=True, slots=True)
class TransferConfig:
    """The numbers of a ranged transport. Memory is `buffers * buffer_size` bytes."""

    connections: int = 8
    """At first; `most` is up to how many, while more of them bring more."""
    most: int = 8
    buffer_size: int = LARGEST_BUFFER
    buffers: int = 12
    request: Callable[[RemoteFile], int | None] = lambda _: LARGEST_BUFFER
    """Bytes that are asked for at once; None for all that is missing, in one stream."""
    files: int | None = None
    """Files that are fetched at one time, at most."""
    per_file: int | None = None
    """Connections that one file has, at most."""
    together: int = 16
    """Small files that a worker asks for at once, one behind the other on its connection."""
    stream: int = 0
    """Bytes that are asked for at once while there are as many files as connections; less than a request is none."""
    ahead: bool = True
    """Workers ask for their next span before the last one has come, so that no round trip lies between."""

    @classmethod
    def of(
        cls,
        connections: int,
        *,
        most: int | None = None,
        files: int | None = None,
        per_file: int | None = None,
        request: int | None = None,
        limit: int | None = None,
        stream: int | None = None,
    ) -> TransferConfig:
        """Return a shape of so many connections: its buffers are smaller the more there are, the memory is the same.

        Of a `limit` on the whole process, in bytes, buffers take a quarter at most: Python and libraries need the rest.
        """
        most, asked = most or connections, request or LARGEST_BUFFER
        buffers = most + WAITING_BUFFERS
        memory = min(MEMORY, (limit or maxsize) // SHARE_OF_LIMIT)
        size = LARGEST_BUFFER
        while size * buffers > memory and size > SMALLEST_BUFFER:
            size //= 2
        if files is not None and per_file is not None:
            connections = most = min(connections, files * per_file)
        count = max(buffers, memory // size)
        return cls(connections, most, size, count, lambda _: asked, files, per_file, stream=stream or maxsize)
