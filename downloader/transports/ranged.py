"""Moves files over anything that a source can read spans of: many ranges at once, or one stream for each file.

Workers fill page-aligned buffers, write each to the volume and leave it to the file's hasher, which follows in order.
So hashing costs no second pass, and memory is bounded by the number of buffers whatever the artifact's size.
"""

from __future__ import annotations

import logging
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from downloader.artifact import Span
from downloader.errors import DownloadError, RangeIgnored, Verdict
from downloader.integrity import may_combine
from downloader.transports import Arrival
from downloader.transports.affinity import Affinity
from downloader.transports.buffers import Buffers
from downloader.transports.crew import Crew, Growth, guarded
from downloader.transports.deliveries import Deliveries
from downloader.transports.schedule import Schedule, Task
from downloader.transports.shape import SMALL
from downloader.transports.work import Work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from downloader.artifact import RemoteFile
    from downloader.cancellation import Cancellation
    from downloader.meter import Meter
    from downloader.sources import Body, Source
    from downloader.transports import Landing
    from downloader.transports.shape import Shape
    from downloader.transports.work import Stretch

PAGE = 4096
GRACE = 4.0
"""Seconds that all together get to end after a cancellation.

Less than the whole run gets, so that the lease is let go also when a connection cannot be woken.
"""

log = logging.getLogger(__name__)


class Ranged:
    """A transport over `Source.open`."""

    def __init__(self, source: Source, meter: Meter, cancellation: Cancellation, shape: Shape) -> None:
        self._source = source
        self._meter = meter
        self._cancellation = cancellation
        self._shape = shape
        self._affinity = Affinity()
        self._buffers = Buffers(max(shape.buffers, shape.most), shape.buffer_size)
        self._schedule = Schedule(shape, lambda: cancellation.reason is not None)

    def fetch(self, files: Sequence[RemoteFile], landing: Landing) -> None:
        """Bring every file home."""
        self._schedule.add(files)
        deliveries = Deliveries(lambda works: self._deliver_small(works, landing))
        busy = self._schedule.busy
        crew = Crew(lambda: self._work(landing, deliveries), self._meter, self._cancellation)
        crew.run(Growth(min(self._shape.connections, busy), min(self._shape.most, busy)))
        # Nobody may go on while the next attempt opens the same partials: it would name what is only half there.
        deadline = time.monotonic() + GRACE
        crew.join(GRACE)
        deliveries.end(max(0.0, deadline - time.monotonic()))
        self._cancellation.check()

    def _work(self, landing: Landing, deliveries: Deliveries) -> None:
        """Run one worker until nothing is left to do."""

        def go_on() -> None:
            task: Task | None = None
            while (task := task or self._next_task(landing, deliveries)) is not None:
                following = self._schedule.ahead_of(task)
                if following is not None:
                    self._announce(task, following)
                self._do(task, landing, deliveries)
                task = following

        guarded(go_on, self._cancellation)
        self._source.announce([])

    def _next_task(self, landing: Landing, deliveries: Deliveries) -> Task | None:
        """Return what to do next; None when all is done or ends."""
        while (found := self._schedule.next()) is not None:
            if isinstance(found, Task):
                self._affinity.scatter()
                return found
            if len(found) > 1:
                self._affinity.gather()
                self._source.announce([(file, Span(0, file.size)) for file in found])
            *together, last = found
            for file in together:
                task = self._begin(file, landing)
                if task is not None:
                    self._do(task, landing, deliveries)
            task = self._begin(last, landing)
            if task is not None:
                return task
        return None

    def _announce(self, *tasks: Task) -> None:
        self._source.announce([(work.file, stretch.span) for work, stretch in tasks if stretch is not None])

    def _begin(self, file: RemoteFile, landing: Landing) -> Task | None:
        try:
            work = Work(file, landing.begin(file), self._cancellation.check, landing.inspect)
        except DownloadError as error:
            self._schedule.not_begun()
            if error.verdict is Verdict.STOP:
                raise
            landing.fail(file, error)
            return None
        return self._schedule.begun(work)

    def _do(self, task: Task, landing: Landing, deliveries: Deliveries) -> None:
        """Fetch a stretch and take leave of it; the last one of a file delivers it or leaves it to the next attempt."""
        work, stretch = task
        error = self._fetch(work, stretch) if stretch is not None else None
        if error is None:
            work.hash_ready(self._buffers.release)
            if work.claim():
                self._schedule.complete(work)
                if work.file.size > SMALL:
                    self._deliver([work], landing)
                else:
                    deliveries.add(work, self._cancellation.check)
                return
        reason = self._schedule.leave(work, error)
        if reason is not None:
            self._leave(work, reason, landing)

    def _fetch(self, work: Work, stretch: Stretch) -> DownloadError | None:
        """Fetch a stretch; return what went wrong with this file. Errors of the run are raised."""
        try:
            with closing(self._source.open(work.file, stretch.span)) as body:
                if work.error is not None:
                    return work.error  # given up while this thread waited for its turn
                self._read(work, body, stretch)
        except DownloadError as error:
            self._cancellation.check()
            if error.verdict is Verdict.STOP:
                raise
            return error
        finally:
            work.leave(stretch)
        return None

    def _read(self, work: Work, body: Body, stretch: Stretch) -> None:
        with self._cancellation.waking(body.interrupt):
            while (span := work.advance(stretch, self._buffers.size)) is not None:
                filled = self._fill(work, body, span)
                if filled < len(span):
                    work.end(stretch, span.start + filled)
                    return
            if stretch.stop < stretch.span.stop:
                return  # others have taken over
            with self._meter.waiting_for_network():
                body.readinto(memoryview(bytearray(1)))

    def _fill(self, work: Work, body: Body, span: Span) -> int:
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
        work.absorb(span.start, buffer, filled, self._buffers.release)
        return filled

    def _write(self, work: Work, position: int, buffer: memoryview, length: int) -> None:
        work.partial.write(position, buffer[:length])
        work.partial.complete(Span(position, position + length))
        self._meter.landed(length)

    def _spare(self) -> memoryview | None:
        works = reversed(self._schedule.works)
        return next((buffer for work in works if (buffer := work.spare()) is not None), None)

    def _deliver_small(self, works: Sequence[Work], landing: Landing) -> None:
        self._affinity.gather()
        guarded(lambda: self._deliver(works, landing), self._cancellation)

    def _deliver(self, works: Sequence[Work], landing: Landing) -> None:
        refused = landing.deliver([Arrival(work.partial, work.results(), work.head) for work in works])
        damaged = [work for work in works if work.file.path in refused]
        again = [work.file for work in damaged if self._schedule.may_come_again(work.file)]
        for work in damaged:
            if work.file not in again:
                self._leave(work, refused[work.file.path], landing)
        for file in again:
            log.warning("%s; it is fetched again", refused[file.path])
        self._schedule.delivered(len(works), again)

    def _leave(self, work: Work, error: DownloadError, landing: Landing) -> None:
        work.drop(self._buffers.release)
        held = work.held
        if isinstance(error, RangeIgnored) and held and not work.whole and self._schedule.restart(work.file):
            log.info("%s; it is read from its first byte, in one stream", error.message)
            work.partial.discard()
            self._meter.landed(-held)
            return
        if work.error is not None and not may_combine(work.file):
            self._meter.landed(-held)  # whoever goes on begins at the first byte
        work.partial.close()
        landing.fail(work.file, error)
        self._schedule.wake()
