"""Fetches small files in one piece, each by the worker that takes it.

What several workers of one file need, `FileTransfer` and the scheduler's segments, costs more than such a file itself.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from downloader.errors import DownloadError
from downloader.integrity import Hasher
from downloader.progress import FileProgress
from downloader.transfer.base import CompletedFile
from downloader.transfer.config import SMALL

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.artifact import RemoteFile
    from downloader.cancellation import Cancellation
    from downloader.progress import ProgressMeter
    from downloader.sources import Body, Source
    from downloader.transfer.base import FileSink
    from downloader.transfer.buffers import Buffers
    from downloader.transfer.commit_queue import CommitQueue
    from downloader.transfer.config import TransferConfig
    from downloader.transfer.scheduler import Scheduler
    from downloader.volume import Partial


class WholeFiles:
    """The small files of one attempt. For all of its workers."""

    def __init__(
        self,
        source: Source,
        meter: ProgressMeter,
        cancellation: Cancellation,
        config: TransferConfig,
        *,
        buffers: Buffers,
        evict: Callable[[], memoryview | None],
        scheduler: Scheduler,
    ) -> None:
        self._source = source
        self._meter = meter
        self._cancellation = cancellation
        self._config = config
        self._buffers = buffers
        self._evict = evict
        self._scheduler = scheduler
        self._fetching: dict[int, RemoteFile] = {}
        """The file of each worker."""
        self._bodies: dict[int, Body] = {}
        """What it reads, or has read last."""
        # Once for all files: each worker asks, after it has opened a body, whether it may read.
        cancellation.on_cancel(self._interrupt)
        self._largest = min(SMALL, buffers.size)
        self._end = memoryview(bytearray(1))

    def takes(self, file: RemoteFile, partial: Partial) -> bool:
        """Return whether a file that was begun is fetched here: one that fits into a buffer and cannot be resumed."""
        return file.sized and 0 < file.size <= self._largest and partial.comes_whole

    def progress(self) -> tuple[FileProgress, ...]:
        """Return the files that are being fetched: nothing of them is on the volume."""
        return tuple(FileProgress(file.path, 0, file.size) for file in list(self._fetching.values()))

    def _interrupt(self) -> None:
        for body in list(self._bodies.values()):
            body.interrupt()

    def fetch(self, file: RemoteFile, partial: Partial, sink: FileSink, commit_queue: CommitQueue) -> None:
        """Fetch a file and commit it, or leave it to the next attempt. Raises errors that concern the run."""
        thread = threading.get_ident()
        self._fetching[thread] = file
        try:
            completed_file = self._receive(file, partial, sink)
        except DownloadError as error:
            # After a cancellation every connection breaks: the reason of the cancellation is the true error.
            self._cancellation.check()
            if self._config.ends_run(error):
                raise
            partial.close()
            sink.fail(file, error)
            self._scheduler.not_begun()
        else:
            self._scheduler.brought()
            commit_queue.commit(completed_file)
        finally:
            del self._fetching[thread]

    def _receive(self, file: RemoteFile, partial: Partial, sink: FileSink) -> CompletedFile:
        """Read a file into a buffer, write it to the volume and hash it."""
        size, span, filled = file.size, file.span, 0
        hasher = Hasher(size, file.digests)
        buffer = self._buffers.acquire(self._evict, self._cancellation.check)
        try:
            body = self._bodies[threading.get_ident()] = self._source.open(file, span)
            try:
                with self._meter.waiting_for_network():
                    while filled < size:
                        self._cancellation.check()
                        filled += body.readinto(buffer[filled:size])
                    # Once more, to find the end: it raises if the body is too long, and frees the connection.
                    body.readinto(self._end)
            finally:
                body.close()
            partial.write(0, buffer[:size])
            partial.complete(span)
            hasher.update(buffer[:size])
        finally:
            self._buffers.release(buffer)
        self._meter.add_written(size)
        sink.inspect(file, hasher.head, size)
        return CompletedFile(partial.finish(), hasher.results(), hasher.head)
