"""The numbers of a ranged transport: connections, sizes of requests, and memory for buffers."""

from __future__ import annotations

from dataclasses import dataclass
from sys import maxsize
from typing import TYPE_CHECKING

from downloader.errors import PLACE_ERRORS, DownloadError, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.artifact import RemoteFile

MAX_BUFFER_SIZE, MIN_BUFFER_SIZE = 4 << 20, 64 << 10
MEMORY = 48 << 20
"""Bytes of all buffers together."""
MEMORY_SHARE = 4
"""The part of the process's memory limit that buffers may take is 1 / this: Python and its libraries need the rest."""
WAITING_BUFFERS = 8
"""Buffers besides one per connection: filled ones that wait to be hashed in order."""
SMALL = 256 << 10
"""Size in bytes up to which a file is small: its round trip costs more than its bytes, so requests are pipelined."""


@dataclass(frozen=True, slots=True)
class TransferConfig:
    """The numbers of a ranged transport. Its buffers take `buffers * buffer_size` bytes of memory."""

    initial_connections: int = 8
    max_connections: int = 8
    """Reached only if each doubling of the connections raises the throughput."""
    buffer_size: int = MAX_BUFFER_SIZE
    buffers: int = 12
    request_size: Callable[[RemoteFile], int | None] = lambda _: MAX_BUFFER_SIZE
    """Bytes per request; None for one stream of all that is missing."""
    max_files: int | None = None
    """Files that are transferred at the same time."""
    max_connections_per_file: int | None = None
    pipeline_depth: int = 16
    """Small files that a worker requests at once on its connection."""
    stream_size: int = 0
    """Bytes per request while there are as many files as connections; without effect below `request_size`."""
    elsewhere: bool = False
    """Another place has the files as well: what this one refuses is an error of the file and not of the run."""
    refetch: bool = True
    """Whether a rejected file is downloaded once more from the same place."""
    prefetch: bool = True
    """Whether a worker requests its next range before the current one is complete, to hide the round trip."""

    def ends_run(self, error: DownloadError) -> bool:
        """Return whether an error of a file ends the run, and does not leave the file to the next attempt."""
        return error.verdict is Verdict.FAIL and not (self.elsewhere and isinstance(error, PLACE_ERRORS))

    @classmethod
    def of(
        cls,
        initial_connections: int,
        *,
        max_connections: int | None = None,
        max_files: int | None = None,
        max_connections_per_file: int | None = None,
        request_size: int | None = None,
        memory_limit: int | None = None,
        stream_size: int | None = None,
    ) -> TransferConfig:
        """Return a config whose buffers are smaller the more connections there are: memory stays the same.

        `memory_limit` is that of the whole process, in bytes. Without `stream_size` a stream is a whole file.
        """
        max_connections, size = max_connections or initial_connections, request_size or MAX_BUFFER_SIZE
        buffers = max_connections + WAITING_BUFFERS
        memory = min(MEMORY, (memory_limit or maxsize) // MEMORY_SHARE)
        buffer_size = MAX_BUFFER_SIZE
        while buffer_size * buffers > memory and buffer_size > MIN_BUFFER_SIZE:
            buffer_size //= 2
        if max_files is not None and max_connections_per_file is not None:
            initial_connections = max_connections = min(initial_connections, max_files * max_connections_per_file)
        return cls(
            initial_connections,
            max_connections,
            buffer_size,
            max(buffers, memory // buffer_size),
            lambda _: size,
            max_files,
            max_connections_per_file,
            stream_size=stream_size or maxsize,
        )
