"""Moves files over anything that a source can read spans of: many ranges at once, or one stream for each file.

Workers fill page-aligned buffers, write each to the volume and leave it to the file's hasher, which follows in order.
So hashing costs no second pass, and memory is bounded by the number of buffers whatever the artifact's size.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from contextlib import closing, suppress
from sys import maxsize
from typing import TYPE_CHECKING

from downloader.artifact import Span
from downloader.errors import DownloadError, Verdict
from downloader.transports import Arrival
from downloader.transports.buffers import Buffers
from downloader.transports.crew import Crew, Growth, guarded
from downloader.transports.deliveries import Deliveries
from downloader.transports.shape import SMALL
from downloader.transports.work import Stretch, Work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from downloader.artifact import RemoteFile
    from downloader.cancellation import Cancellation
    from downloader.meter import Meter
    from downloader.sources import Body, Source
    from downloader.transports import Landing
    from downloader.transports.shape import Shape

PAGE = 4096
AHEAD_OF_ALL = 4
"""Spans for each connection that must be left for one of them to take a second: all shall end at one time."""
GRACE = 4.0
"""Seconds that all together get to end after a cancellation.

Less than the whole run gets, so that the lease is let go also when a connection cannot be woken.
"""

WORTH_SHARING = 2
"""Requests that must be left of a stretch for its rest to be given to idle workers: its connection is lost by that."""

Task = tuple[Work, Stretch | None]

log = logging.getLogger(__name__)


class Ranged:
    """A transport over `Source.open`."""

    def __init__(self, source: Source, meter: Meter, cancellation: Cancellation, shape: Shape) -> None:
        self._source = source
        self._meter = meter
        self._cancellation = cancellation
        self._shape = shape
        self._buffers = Buffers(max(shape.buffers, shape.most), shape.buffer_size)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting: deque[RemoteFile] = deque()
        self._works: list[Work] = []
        """Files of which something is still to be fetched or hashed."""
        self._beginning = 0
        self._delivering = 0
        self._refetched: set[str] = set()

    def fetch(self, files: Sequence[RemoteFile], landing: Landing) -> None:
        """Bring every file home."""
        self._waiting.extend(files)
        deliveries = Deliveries(lambda works: guarded(lambda: self._deliver(works, landing), self._cancellation))
        busy = sum(self._requests(file) for file in files)
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
                work, stretch = task
                following = self._reserve(work, stretch)
                error = self._fetch(work, stretch) if stretch is not None else None
                self._settle(work, error, landing, deliveries)
                task = following

        guarded(go_on, self._cancellation)
        self._source.announce([])

    def _next_task(self, landing: Landing, deliveries: Deliveries) -> Task | None:
        """Return a stretch to fetch, or a file of which nothing is missing; None when all is done or ends."""
        while True:
            with self._lock:
                if self._is_over():
                    return None
                task = self._next_stretch()
                if task is not None:
                    return task
                if not self._may_begin():
                    # A file that is being opened may have work for this thread, one that proves corrupt has again.
                    self._changed.wait(0.2)
                    continue
                files = self._take_files()
                self._beginning += len(files)
            if len(files) > 1:
                self._source.announce([(file, Span(0, file.size)) for file in files])
            *together, last = files
            for file in together:
                started = self._begin(file, landing)
                if started is not None:
                    work, stretch = started
                    error = self._fetch(work, stretch) if stretch is not None else None
                    self._settle(work, error, landing, deliveries)
            started = self._begin(last, landing)
            if started is not None:
                return started

    def _is_over(self) -> bool:
        """Tell whether this thread will never have anything to do again."""
        left = self._waiting or self._works or self._beginning or self._delivering
        return self._cancellation.reason is not None or not left

    def _next_stretch(self) -> Task | None:
        """Return a stretch of a file that has been begun; None where there is none, or another is to be begun first.

        The bytes of a file are hashed by one thread at a time, so as many as there are connections are begun.
        """
        if self._may_begin() and self._beginning + len(self._works) < self._shape.connections:
            return None
        task = self._take_stretch()
        return task if task or self._may_begin() else self._take_over()

    def _may_begin(self) -> bool:
        """Tell whether there is another file, and the shape allows to fetch it beside the others."""
        return bool(self._waiting) and not self._is_full()

    def _take_stretch(self) -> Task | None:
        """Return a stretch of a file that has been begun: of the one that the fewest are working on."""
        works = [work for work in self._works if work.pending and self._has_room(work)]
        if not works:
            return None
        work = min(works, key=lambda work: work.in_flight)
        work.in_flight += 1
        return work, work.take(self._limit(work.file))

    def _take_over(self) -> Task | None:
        """Return a part of what somebody else was to fetch: there is nothing else to do."""
        works = [work for work in self._works if self._has_room(work)]
        work = max(works, key=lambda work: work.longest, default=None)
        length = self._shape.request(work.file) if work is not None else None
        if work is None or length is None or not work.share(WORTH_SHARING * length):
            return None
        return self._take_stretch()

    def _limit(self, file: RemoteFile) -> int | None:
        """Return how much to ask for at once: all that is missing while there are files for everybody.

        In one stream bytes come in the order in which they are hashed, with less ado than in many requests.
        """
        files = len(self._waiting) + self._beginning + len(self._works)
        if self._shape.streams and files >= max(self._shape.connections, 2):
            return None
        return self._shape.request(file)

    def _take_files(self) -> list[RemoteFile]:
        """Return the next file, or several small ones that can be asked for at once: a fair share of them."""
        files = [self._waiting.popleft()]
        if self._shape.files is None and self._goes_along(files[0]):
            share = min(self._shape.together, len(self._waiting) // self._shape.connections)
            while len(files) < share and self._goes_along(self._waiting[0]):
                files.append(self._waiting.popleft())
        return files

    def _goes_along(self, file: RemoteFile) -> bool:
        # Answers may be mixed up on the way: a digest would tell, and then the file is asked for alone.
        return 0 < file.size <= SMALL and bool(file.digests) and file.path not in self._refetched

    def _reserve(self, work: Work, stretch: Stretch | None) -> Task | None:
        """Take the next stretch early where there are plenty, so that it is asked for before this one has come."""
        length = self._shape.request(work.file)
        if stretch is None or length is None or len(stretch.span) > length:
            return None
        if not self._shape.ahead or not work.file.digests:
            return None
        with self._lock:
            plenty = work.left > AHEAD_OF_ALL * self._shape.connections * length
            task = self._take_stretch() if plenty and self._cancellation.reason is None else None
        if task is not None and task[1] is not None:
            self._source.announce([(work.file, stretch.span), (task[0].file, task[1].span)])
        return task

    def _is_full(self) -> bool:
        """Tell whether as many files are being fetched as the shape allows; what only waits for the disk is none."""
        return self._shape.files is not None and self._beginning + len(self._works) >= self._shape.files

    def _has_room(self, work: Work) -> bool:
        return work.in_flight < (self._shape.per_file or maxsize)

    def _requests(self, file: RemoteFile) -> int:
        """Return how many workers the file can keep busy."""
        length = self._shape.request(file)
        return 1 if length is None else max(1, -(-file.size // length))

    def _begin(self, file: RemoteFile, landing: Landing) -> Task | None:
        try:
            work = Work(file, landing.begin(file), self._cancellation.check)
        except DownloadError as error:
            with self._lock:
                self._beginning -= 1
                self._changed.notify_all()
            if error.verdict is Verdict.STOP:
                raise
            landing.fail(file, error)
            return None
        with self._lock:
            self._beginning -= 1
            self._works.append(work)
            work.in_flight += 1
            stretch = work.take(self._limit(work.file)) if work.pending else None
            self._changed.notify_all()
        return work, stretch

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
                self._fill(work, body, span)
            if stretch.stop < stretch.span.stop:
                return  # others have taken over
            with self._meter.waiting_for_network():
                body.readinto(memoryview(bytearray(1)))

    def _fill(self, work: Work, body: Body, span: Span) -> None:
        """Read one buffer, write it and hand it to the hasher."""
        buffer = self._buffers.acquire(self._spare, self._cancellation.check)
        filled = 0
        try:
            with self._meter.waiting_for_network():
                while filled < len(span):
                    self._cancellation.check()
                    filled += body.readinto(buffer[filled : len(span)])
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

    def _write(self, work: Work, position: int, buffer: memoryview, length: int) -> None:
        work.partial.write(position, buffer[:length])
        work.partial.complete(Span(position, position + length))
        self._meter.landed(length)

    def _spare(self) -> memoryview | None:
        with self._lock:
            works = list(reversed(self._works))
        return next((buffer for work in works if (buffer := work.spare()) is not None), None)

    def _settle(self, work: Work, error: DownloadError | None, landing: Landing, deliveries: Deliveries) -> None:
        """Take leave of a span; the last one of a file delivers it or leaves it to the next attempt."""
        if error is None:
            work.hash_ready(self._buffers.release)
            if work.claim():
                with self._lock:
                    self._works.remove(work)
                    self._delivering += 1
                if work.file.size > SMALL:
                    self._deliver([work], landing)
                else:
                    deliveries.add(work, self._cancellation.check)
                return
        with self._lock:
            work.in_flight -= 1
            work.error = work.error or error
            if work.error is None or work.in_flight:
                return
            self._works.remove(work)
        self._leave(work, work.error, landing)

    def _deliver(self, works: Sequence[Work], landing: Landing) -> None:
        refused = landing.deliver([Arrival(work.partial, work.results()) for work in works])
        again = [work.file for work in works if work.file.path in refused and work.file.path not in self._refetched]
        for work in works:
            error = refused.get(work.file.path)
            if error is not None and work.file not in again:
                self._leave(work, error, landing)
        for file in again:
            log.warning("%s; it is fetched again", refused[file.path])
        with self._lock:
            self._refetched.update(file.path for file in again)
            self._waiting.extendleft(again)
            self._delivering -= len(works)
            self._changed.notify_all()

    def _leave(self, work: Work, error: DownloadError, landing: Landing) -> None:
        work.drop(self._buffers.release)
        work.partial.close()
        landing.fail(work.file, error)
        with self._lock:
            self._changed.notify_all()
