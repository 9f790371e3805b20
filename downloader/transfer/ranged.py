"""Moves files over anything that a source can read spans of: many ranges at once, or one stream for each file.

Workers fill page-aligned buffers, write each to the volume and leave it to the file's hasher, which follows in order.
So hashing costs no second pass, and memory is bounded by the number of buffers whatever the artifact's size.
"""

from __future__ import annotations

import logging
import time
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING

from downloader.artifact import Span
from downloader.errors import DownloadError, RangeIgnored, Verdict
from downloader.integrity import may_combine
from downloader.transfer.buffers import Buffers
from downloader.transfer.commit_queue import CommitQueue
from downloader.transfer.cpu_affinity import CpuAffinity
from downloader.transfer.file_transfer import FileTransfer
from downloader.transfer.scheduler import Scheduler, Task
from downloader.transfer.workers import WorkerPool, guarded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from downloader.artifact import RemoteFile
    from downloader.cancellation import Cancellation
    from downloader.errors import IntegrityError
    from downloader.progress import ProgressMeter
    from downloader.sources import Body, Source
    from downloader.sources.concurrency import ConcurrencyController
    from downloader.transfer.base import CompletedFile, FileSink
    from downloader.transfer.config import TransferConfig
    from downloader.transfer.file_transfer import Segment

PAGE = 4096
GRACE = 4.0
"""Seconds that all together get to end after a cancellation.

Less than the whole run gets, so that the lease is let go also when a connection cannot be woken.
"""

log = logging.getLogger(__name__)


class Ranged:
    """A transport over `Source.open`."""

    def __init__(
        self,
        source: Source,
        meter: ProgressMeter,
        cancellation: Cancellation,
        shape: TransferConfig,
        concurrency: ConcurrencyController,
    ) -> None:
        self._source = source
        self._meter = meter
        self._cancellation = cancellation
        self._shape = shape
        self._concurrency = concurrency
        self._cpu_affinity = CpuAffinity()
        self._buffers = Buffers(max(shape.buffers, shape.most), shape.buffer_size)
        self._schedule = Scheduler(shape, lambda: cancellation.reason is not None)

    def fetch(self, files: Sequence[RemoteFile], sink: FileSink) -> None:
        """Bring every file home."""
        self._schedule.add(files)
        commit_queue = CommitQueue(sink, partial(self._on_committed, sink), self._cancellation, self._cpu_affinity)
        busy = self._schedule.busy
        workers = WorkerPool(lambda: self._work(sink, commit_queue), self._meter, self._cancellation)
        self._concurrency.start(min(self._shape.connections, busy), min(self._shape.most, busy))
        workers.run(self._concurrency)
        # Nobody may go on while the next attempt opens the same partials: it would name what is only half there.
        deadline = time.monotonic() + GRACE
        workers.join(GRACE)
        commit_queue.close(max(0.0, deadline - time.monotonic()))
        self._cancellation.check()

    def _work(self, sink: FileSink, commit_queue: CommitQueue) -> None:
        """Run one worker until nothing is left to do."""

        def go_on() -> None:
            task: Task | None = None
            while (task := task or self._next_task(sink, commit_queue)) is not None:
                following = self._schedule.ahead_of(task)
                if following is not None:
                    self._announce(task, following)
                self._do(task, sink, commit_queue)
                task = following

        guarded(go_on, self._cancellation)
        self._source.prefetch([])

    def _next_task(self, sink: FileSink, commit_queue: CommitQueue) -> Task | None:
        """Return what to do next; None when all is done or ends."""
        while (found := self._schedule.next()) is not None:
            if isinstance(found, Task):
                self._cpu_affinity.unpin()
                return found
            if len(found) > 1:
                self._cpu_affinity.pin()
                self._source.prefetch([(file, Span(0, file.size)) for file in found])
            *together, last = found
            for file in together:
                task = self._begin(file, sink)
                if task is not None:
                    self._do(task, sink, commit_queue)
            task = self._begin(last, sink)
            if task is not None:
                return task
        return None

    def _announce(self, *tasks: Task) -> None:
        self._source.prefetch([(work.file, segment.span) for work, segment in tasks if segment is not None])

    def _begin(self, file: RemoteFile, sink: FileSink) -> Task | None:
        try:
            work = FileTransfer(file, sink.begin(file), self._cancellation.check, sink.inspect)
        except DownloadError as error:
            self._schedule.not_begun()
            if error.verdict is Verdict.FAIL:
                raise
            sink.fail(file, error)
            return None
        return self._schedule.begun(work)

    def _do(self, task: Task, sink: FileSink, commit_queue: CommitQueue) -> None:
        """Fetch a stretch and take leave of it; the last one of a file delivers it or leaves it to the next attempt."""
        work, segment = task
        error = self._fetch(work, segment) if segment is not None else None
        if error is None:
            work.hash_ready(self._buffers.release)
            completed_file = work.try_complete()
            if completed_file is not None:
                self._schedule.complete(work)
                commit_queue.commit(completed_file)
                return
        reason = self._schedule.leave(work, error)
        if reason is not None:
            self._leave(work, reason, sink)

    def _fetch(self, work: FileTransfer, segment: Segment) -> DownloadError | None:
        """Fetch a stretch; return what went wrong with this file. Errors of the run are raised."""
        try:
            with closing(self._source.open(work.file, segment.span)) as body:
                if work.error is not None:
                    return work.error  # given up while this thread waited for its turn
                self._read(work, body, segment)
        except DownloadError as error:
            self._cancellation.check()
            if error.verdict is Verdict.FAIL:
                raise
            return error
        finally:
            work.leave(segment)
        return None

    def _read(self, work: FileTransfer, body: Body, segment: Segment) -> None:
        with self._cancellation.waking(body.interrupt):
            while (span := work.advance(segment, self._buffers.size)) is not None:
                filled = self._fill(work, body, span)
                if filled < len(span):
                    work.end(segment, span.start + filled)
                    return
            if segment.stop < segment.span.stop:
                return  # others have taken over
            with self._meter.waiting_for_network():
                body.readinto(memoryview(bytearray(1)))

    def _fill(self, work: FileTransfer, body: Body, span: Span) -> int:
        """Read one buffer, write it and hand it to the hasher.

        Returns how many bytes that were: fewer than the span has at the end of a file of untold size.
        """
        buffer = self._buffers.acquire(self._spare, self._cancellation.check)
        filled = 0
        try:
            with self._meter.waiting_for_network():
                while filled < len(span):
                    self._cancellation.check()
                    count = body.readinto(buffer[filled : len(span)])
                    if not count and not work.file.sized:
                        break
                    filled += count
        except DownloadError:
            # What came so far is worth keeping: the next protocol or the next pod goes on behind it.
            filled -= filled % PAGE
            if filled:
                with suppress(DownloadError):
                    self._write(work, span.start, buffer, filled)
            self._buffers.release(buffer)
            raise
        try:
            self._write(work, span.start, buffer, filled)
        except DownloadError:
            self._buffers.release(buffer)
            raise
        work.add_buffer(span.start, buffer, filled, self._buffers.release)
        return filled

    def _write(self, work: FileTransfer, position: int, buffer: memoryview, length: int) -> None:
        work.partial.write(position, buffer[:length])
        work.partial.complete(Span(position, position + length))
        self._meter.add_written(length)

    def _spare(self) -> memoryview | None:
        works = reversed(self._schedule.works)
        return next((buffer for work in works if (buffer := work.spare()) is not None), None)

    def _on_committed(
        self, sink: FileSink, completed_files: Sequence[CompletedFile], rejected: Mapping[str, IntegrityError]
    ) -> None:
        """Fetch rejected files again, once each; a file that is rejected twice is left to the next attempt."""
        damaged = [file for file in (each.partial.file for each in completed_files) if file.path in rejected]
        again = [file for file in damaged if self._schedule.may_come_again(file)]
        for file in damaged:
            if file in again:
                log.warning("%s; downloading it again", rejected[file.path])
            else:
                sink.fail(file, rejected[file.path])
        self._schedule.committed(len(completed_files), again)

    def _leave(self, work: FileTransfer, error: DownloadError, sink: FileSink) -> None:
        work.drop(self._buffers.release)
        held = work.held
        if isinstance(error, RangeIgnored) and held and not work.whole and self._schedule.restart(work.file):
            log.info("%s; reading it from the first byte in one stream", error.message)
            work.partial.discard()
            self._meter.add_written(-held)
            return
        if work.error is not None and not may_combine(work.file):
            self._meter.add_written(-held)  # whoever goes on begins at the first byte
        work.partial.close()
        sink.fail(work.file, error)
        self._schedule.wake()
