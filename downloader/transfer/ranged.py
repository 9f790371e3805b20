"""The transport over plain ranges: many ranges of a file at once, or one stream per file.

Workers fill page-aligned buffers, write each to the volume and hand it to the file's hasher, which follows in order. So
hashing costs no second pass, and memory is bounded by the number of buffers whatever the size of the artifact.
"""

from __future__ import annotations

import logging
import time
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING

from downloader.artifact import Span
from downloader.deadlines import TRANSFER_GRACE
from downloader.errors import DownloadError, RangeIgnored, Verdict
from downloader.integrity import may_combine
from downloader.sources import Sharing, ability
from downloader.transfer.buffers import Buffers
from downloader.transfer.commit_queue import CommitQueue
from downloader.transfer.cpu_affinity import CpuAffinity
from downloader.transfer.file_transfer import FileTransfer
from downloader.transfer.scheduler import Scheduler, Task
from downloader.transfer.whole_files import WholeFiles
from downloader.transfer.workers import WorkerPool, guarded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from downloader.artifact import RemoteFile
    from downloader.cancellation import Cancellation
    from downloader.errors import IntegrityError
    from downloader.progress import ProgressMeter
    from downloader.sources import Body, Source
    from downloader.sources.concurrency import ConcurrencyController
    from downloader.transfer.base import CompletedFile, Feed, FileSink
    from downloader.transfer.config import TransferConfig
    from downloader.transfer.file_transfer import Segment
    from downloader.volume import Partial

PAGE = 4096

log = logging.getLogger(__name__)


class Ranged:
    """Transfers files over `Source.open`. For one attempt, and one call of `fetch`."""

    def __init__(
        self,
        source: Source,
        meter: ProgressMeter,
        cancellation: Cancellation,
        config: TransferConfig,
        concurrency: ConcurrencyController,
    ) -> None:
        """`concurrency` is the controller that also limits the requests of `source`."""
        self._source = source
        self._sharing = ability(source, Sharing)
        self._meter = meter
        self._cancellation = cancellation
        self._config = config
        self._concurrency = concurrency
        self._cpu_affinity = CpuAffinity()
        # At least one buffer per worker: a worker without one would hold a connection and not read from it.
        self._buffers = Buffers(max(config.buffers, config.max_connections), config.buffer_size)
        self._scheduler = Scheduler(config, lambda: cancellation.reason is not None)
        self._whole_files = WholeFiles(
            source,
            meter,
            cancellation,
            config,
            buffers=self._buffers,
            evict=self._evict,
            scheduler=self._scheduler,
        )

    def fetch(self, files: Sequence[RemoteFile], sink: FileSink, feed: Feed | None = None) -> None:
        """Transfer every file to the sink, or what the `feed` finds. Raises the reason of the cancellation."""
        useful = self._scheduler.useful_workers(files)
        feeding = None
        if feed is None:
            self._scheduler.add(files)
        else:
            from downloader.transfer.feeding import FeedThread  # noqa: PLC0415 -- most runs need none

            feeding = FeedThread(feed, self._scheduler, sink, self._cancellation, self._config)
        commit_queue = CommitQueue(
            sink, partial(self._on_committed, sink, feed), self._cancellation, self._cpu_affinity
        )
        workers = WorkerPool(lambda: self._run_worker(sink, commit_queue), self._meter, self._cancellation)
        config = self._config
        self._concurrency.start(min(config.initial_connections, useful), min(config.max_connections, useful))
        with self._meter.showing(lambda: (*self._scheduler.progress(), *self._whole_files.progress())):
            workers.run(self._concurrency)
        # The next attempt opens the same partials: a thread that went on could commit a file that is half of each.
        deadline = time.monotonic() + TRANSFER_GRACE
        workers.join(TRANSFER_GRACE)
        if feeding is not None:
            feeding.join(max(0.0, deadline - time.monotonic()))
        commit_queue.close(max(0.0, deadline - time.monotonic()))
        self._cancellation.check()

    def _run_worker(self, sink: FileSink, commit_queue: CommitQueue) -> None:
        """Run one worker until the attempt is over."""

        def run_tasks() -> None:
            task: Task | None = None
            while (task := task or self._next_task(sink, commit_queue)) is not None:
                following = self._scheduler.following(task)
                if following is not None:
                    self._prefetch(task, following)
                self._run_task(task, sink, commit_queue)
                task = following

        guarded(run_tasks, self._cancellation)
        self._source.prefetch([])

    def _next_task(self, sink: FileSink, commit_queue: CommitQueue) -> Task | None:
        """Return the next task; None when the attempt is over. Small files that are pipelined are done on the way."""
        while (found := self._scheduler.next()) is not None:
            if isinstance(found, Task):
                self._cpu_affinity.unpin()
                return found
            if len(found) > 1:
                self._cpu_affinity.pin()
                self._source.prefetch([(file, Span(0, file.size)) for file in found])
            *pipelined, last = found
            for file in pipelined:
                task = self._begin(file, sink, commit_queue)
                if task is not None:
                    self._run_task(task, sink, commit_queue)
            task = self._begin(last, sink, commit_queue)
            if task is not None:
                return task
        return None

    def _prefetch(self, *tasks: Task) -> None:
        self._source.prefetch([(transfer.file, segment.span) for transfer, segment in tasks if segment is not None])

    def _begin(self, file: RemoteFile, sink: FileSink, commit_queue: CommitQueue) -> Task | None:
        """Open a partial and return its first task; None on failure, and for a small file, which is done then."""
        try:
            opened = sink.begin(file)
            if self._sharing is not None:
                self._share(self._sharing, file, opened)
            whole = self._whole_files.takes(file, opened)
            transfer = None if whole else FileTransfer(file, opened, self._cancellation.check, sink.inspect)
        except DownloadError as error:
            self._scheduler.not_begun()
            if error.verdict is Verdict.FAIL:
                raise
            sink.fail(file, error)
            return None
        if transfer is not None:
            return self._scheduler.begun(transfer)
        self._whole_files.fetch(file, opened, sink, commit_queue)
        return None

    def _share(self, source: Sharing, file: RemoteFile, opened: Partial) -> None:
        """Let the file system give the partial its bytes, if it can. They are hashed as those of earlier runs are."""
        try:
            if source.share(file, opened.share):
                self._meter.add_written(file.size)
        except DownloadError:
            opened.discard()
            raise

    def _run_task(self, task: Task, sink: FileSink, commit_queue: CommitQueue) -> None:
        """Fetch a segment. The last worker of a file commits it, or leaves it to the next attempt if it failed."""
        transfer, segment = task
        error = self._fetch(transfer, segment) if segment is not None else None
        if error is None:
            # Also without a segment: then an earlier run left the whole file, and it only has to be hashed.
            transfer.hash_ready(self._buffers.release)
            completed_file = transfer.try_complete()
            if completed_file is not None:
                self._scheduler.complete(transfer)
                commit_queue.commit(completed_file)
                return
        failure = self._scheduler.end_segment(transfer, error)
        if error is None and not transfer.hashes and transfer.is_idle:
            transfer.partial.flush()  # another process may wait for these bytes
        if failure is not None:
            self._give_up(transfer, failure, sink)

    def _fetch(self, transfer: FileTransfer, segment: Segment) -> DownloadError | None:
        """Fetch a segment; return the error that concerns this file. Errors that concern the run are raised."""
        try:
            with closing(self._source.open(transfer.file, segment.span)) as body:
                if transfer.error is not None:
                    return transfer.error  # another worker failed while this one waited in `open`
                self._read(transfer, body, segment)
        except DownloadError as error:
            # After a cancellation every connection breaks: the reason of the cancellation is the true error.
            self._cancellation.check()
            if self._config.ends_run(error):
                raise
            return error
        finally:
            transfer.remove(segment)
        return None

    def _read(self, transfer: FileTransfer, body: Body, segment: Segment) -> None:
        with self._cancellation.waking(body.interrupt):
            while (span := transfer.advance(segment, self._buffers.size)) is not None:
                filled = self._fill(transfer, body, span)
                if filled < len(span):
                    transfer.end(segment, span.start + filled)
                    return
            if segment.stop < segment.span.stop:
                return  # the rest was stolen: the connection is closed with unread bytes
            # One more read, which must find the end: it raises if the body is too long, and frees the connection.
            with self._meter.waiting_for_network():
                body.readinto(memoryview(bytearray(1)))

    def _fill(self, transfer: FileTransfer, body: Body, span: Span) -> int:
        """Read one buffer, write it to the volume and hand it to the hasher.

        Returns the number of bytes, which is less than the range only at the end of a file of unknown size.
        """
        buffer = self._buffers.acquire(self._evict, self._cancellation.check)
        filled = 0
        try:
            with self._meter.waiting_for_network():
                while filled < len(span):
                    self._cancellation.check()
                    count = body.readinto(buffer[filled : len(span)])
                    if not count and not transfer.file.sized:
                        break
                    filled += count
        except DownloadError:
            # Keep whole pages of what has arrived: the next protocol or the next pod continues behind them.
            filled -= filled % PAGE
            if filled:
                with suppress(DownloadError):
                    self._write(transfer, span.start, buffer, filled)
            self._buffers.release(buffer)
            raise
        # Write first, then hash: once the buffer is handed over, it may be evicted and read back from the volume.
        try:
            self._write(transfer, span.start, buffer, filled)
        except DownloadError:
            self._buffers.release(buffer)
            raise
        transfer.add_buffer(span.start, buffer, filled, self._buffers.release)
        return filled

    def _write(self, transfer: FileTransfer, position: int, buffer: memoryview, length: int) -> None:
        transfer.partial.write(position, buffer[:length])
        transfer.partial.complete(Span(position, position + length))
        self._meter.add_written(length)

    def _evict(self) -> memoryview | None:
        """Return a buffer of the youngest file that can evict one: older files are closer to their commit."""
        transfers = reversed(self._scheduler.transfers)
        return next((buffer for transfer in transfers if (buffer := transfer.evict()) is not None), None)

    def _on_committed(
        self,
        sink: FileSink,
        feed: Feed | None,
        completed_files: Sequence[CompletedFile],
        rejected: Mapping[str, IntegrityError],
    ) -> None:
        """Fetch rejected files again, once each; a file that is rejected twice is left to the next attempt."""
        damaged = [file for file in (each.partial.file for each in completed_files) if file.path in rejected]
        shared = [file for file in damaged if feed is not None and feed.rejected(file)]
        damaged = [file for file in damaged if file not in shared]
        again = [file for file in damaged if self._config.refetch and self._scheduler.may_refetch(file)]
        for file in (*shared, *again):
            log.warning("%s; downloading it again", rejected[file.path])
        for file in damaged:
            if file not in again:
                sink.fail(file, rejected[file.path])
        self._scheduler.committed(len(completed_files), again)

    def _give_up(self, transfer: FileTransfer, error: DownloadError, sink: FileSink) -> None:
        """Leave a failed file to the next attempt, or restart it in one stream if the server ignores ranges."""
        transfer.drop_buffers(self._buffers.release)
        if transfer.dropped:
            transfer.partial.close()
            self._scheduler.wake()
            return
        stored = transfer.stored_bytes
        ranges_ignored = isinstance(error, RangeIgnored) and stored and not transfer.is_fresh and not transfer.shared
        if ranges_ignored and self._scheduler.restart(transfer.file):
            log.info("%s; reading it from the first byte in one stream", error.message)
            transfer.partial.discard()
            self._meter.add_written(-stored)
            return
        if transfer.error is not None and not may_combine(transfer.file):
            # The next attempt cannot use these bytes, as nothing proves that they are of the same version (ADR 48).
            self._meter.add_written(-stored)
        transfer.partial.close()
        sink.fail(transfer.file, error)
        self._scheduler.wake()
