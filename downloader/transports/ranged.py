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
from dataclasses import dataclass
from sys import maxsize
from typing import TYPE_CHECKING

from downloader.artifact import Span
from downloader.errors import DownloadError, IntegrityError, InternalError, Verdict
from downloader.transports.buffers import Buffers
from downloader.transports.deliveries import Deliveries
from downloader.transports.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from downloader.artifact import RemoteFile
    from downloader.cancellation import Cancellation
    from downloader.meter import Meter
    from downloader.sources import Body, Source
    from downloader.transports import Landing

PAGE = 4096
LARGEST_BUFFER = 4 << 20
MEMORY = 80 << 20
"""Bytes of all buffers together."""
WAITING_BUFFERS = 12
"""Buffers besides those that are being filled: they wait for their turn to be hashed."""
GRACE = 4.0
"""Seconds that all together get to end after a cancellation; who hangs in the file system is left behind.

Less than the whole run gets, so that the lease is let go also when a connection cannot be woken.
"""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shape:
    """The numbers of a ranged transport. Memory is `buffers * buffer_size` bytes."""

    connections: int = 8
    buffer_size: int = LARGEST_BUFFER
    buffers: int = 20
    request: Callable[[RemoteFile], int | None] = lambda _: LARGEST_BUFFER
    """Bytes that are asked for at once; None for all that is missing, in one stream."""
    files: int | None = None
    """Files that are fetched at one time, at most."""
    per_file: int | None = None
    """Connections that one file has, at most."""

    @classmethod
    def of(
        cls,
        connections: int,
        *,
        files: int | None = None,
        per_file: int | None = None,
        request: int = LARGEST_BUFFER,
    ) -> Shape:
        """Return a shape of so many connections: its buffers are smaller the more there are, the memory is the same."""
        buffers = connections + WAITING_BUFFERS
        size = LARGEST_BUFFER
        while size * buffers > MEMORY:
            size //= 2
        if files is not None and per_file is not None:
            connections = min(connections, files * per_file)
        return cls(connections, size, MEMORY // size, lambda _: request, files, per_file)


class Ranged:
    """A transport over `Source.open`."""

    def __init__(self, source: Source, meter: Meter, cancellation: Cancellation, shape: Shape) -> None:
        self._source = source
        self._meter = meter
        self._cancellation = cancellation
        self._shape = shape
        self._buffers = Buffers(max(shape.buffers, shape.connections), shape.buffer_size)
        self._lock = threading.Condition()
        self._waiting: deque[RemoteFile] = deque()
        self._works: list[Work] = []
        self._beginning = 0
        self._refetched: set[str] = set()
        self._deliveries = Deliveries(self._guarded)

    def fetch(self, files: Sequence[RemoteFile], landing: Landing) -> None:
        """Bring every file home."""
        self._waiting.extend(files)
        count = self._shape.connections
        count = min(count, sum(self._requests(file) for file in files))
        crew = [
            threading.Thread(target=self._work, args=(landing,), name=f"worker-{n}", daemon=True) for n in range(count)
        ]
        for worker in crew:
            worker.start()
        for worker in crew:
            while worker.is_alive() and self._cancellation.reason is None:
                worker.join(0.5)
        self._end(crew)
        self._cancellation.check()

    def _end(self, crew: Sequence[threading.Thread]) -> None:
        """Wait for everybody, but after a cancellation not for ever.

        A delivery that went on while the next attempt opens the same partial would name what is only half there.
        """
        deadline = time.monotonic() + GRACE
        for worker in crew:
            worker.join(max(0.0, deadline - time.monotonic()))
        self._deliveries.end(max(0.0, deadline - time.monotonic()))

    def _work(self, landing: Landing) -> None:
        """Run one worker until nothing is left to do."""

        def go_on() -> None:
            while (task := self._next_task(landing)) is not None:
                work, span = task
                error = self._fetch_span(work, span) if span is not None else None
                self._settle(work, error, landing)

        self._guarded(go_on)

    def _guarded(self, action: Callable[[], None]) -> None:
        """Let whatever goes wrong in a thread end the run, not only the thread."""
        try:
            action()
        except DownloadError as error:
            self._cancellation.cancel(error)
        except Exception as error:
            log.debug("a worker failed", exc_info=True)
            bug = InternalError(f"a worker failed: {type(error).__name__}: {error}", hint="please report this")
            bug.__cause__ = error
            self._cancellation.cancel(bug)

    def _next_task(self, landing: Landing) -> tuple[Work, Span | None] | None:
        """Return a span to fetch, or a file of which nothing is missing; None when all is done or ends."""
        while True:
            with self._lock:
                if self._cancellation.reason is not None:
                    return None
                work = next((work for work in self._works if work.pending and self._has_room(work)), None)
                if work is not None:
                    work.in_flight += 1
                    return work, work.take(self._shape.request(work.file))
                if not self._waiting or self._is_full():
                    if not (self._waiting or self._works or self._beginning):
                        return None
                    # A file that is being opened may have work for this thread, one that proves corrupt has again.
                    self._lock.wait(0.2)
                    continue
                file = self._waiting.popleft()
                self._beginning += 1
            started = self._begin(file, landing)
            if started is not None:
                return started

    def _is_full(self) -> bool:
        """Tell whether as many files are being fetched as the shape allows; what only waits for the disk is none."""
        if self._shape.files is None:
            return False
        return self._beginning + sum(not work.claimed for work in self._works) >= self._shape.files

    def _has_room(self, work: Work) -> bool:
        return work.in_flight < (self._shape.per_file or maxsize)

    def _requests(self, file: RemoteFile) -> int:
        """Return how many workers the file can keep busy."""
        length = self._shape.request(file)
        return 1 if length is None else max(1, -(-file.size // length))

    def _begin(self, file: RemoteFile, landing: Landing) -> tuple[Work, Span | None] | None:
        try:
            work = Work(file, landing.begin(file), self._cancellation.check)
        except DownloadError as error:
            with self._lock:
                self._beginning -= 1
                self._lock.notify_all()
            if error.verdict is Verdict.STOP:
                raise
            landing.fail(file, error)
            return None
        with self._lock:
            self._beginning -= 1
            self._works.append(work)
            work.in_flight += 1
            span = work.take(self._shape.request(work.file)) if work.pending else None
            self._lock.notify_all()
        return work, span

    def _fetch_span(self, work: Work, span: Span) -> DownloadError | None:
        """Fetch a span buffer by buffer; return what went wrong with this file. Errors of the run are raised."""
        try:
            with closing(self._source.open(work.file, span)) as body:
                if work.error is not None:
                    return work.error  # given up while this thread waited for its turn
                self._read_span(work, body, span)
        except DownloadError as error:
            self._cancellation.check()
            if error.verdict is Verdict.STOP:
                raise
            return error
        return None

    def _read_span(self, work: Work, body: Body, span: Span) -> None:
        with self._cancellation.waking(body.interrupt):
            position = span.start
            while position < span.stop:
                position += self._fill(work, body, position, span.stop)
            with self._meter.waiting_for_network():
                body.readinto(memoryview(bytearray(1)))

    def _fill(self, work: Work, body: Body, position: int, stop: int) -> int:
        """Read one buffer, write it and hand it to the hasher; return how many bytes it brought."""
        buffer = self._buffers.acquire(self._spare, self._cancellation.check)
        wanted = min(self._buffers.size - position % self._buffers.size, stop - position)
        filled = 0
        try:
            with self._meter.waiting_for_network():
                while filled < wanted:
                    self._cancellation.check()
                    filled += body.readinto(buffer[filled:wanted])
        except DownloadError:
            # What came so far is worth keeping: the next protocol or the next pod goes on behind it.
            filled -= filled % PAGE
            if filled:
                with suppress(DownloadError):
                    self._write(work, position, buffer, filled)
            self._buffers.release(buffer)
            raise
        try:
            self._write(work, position, buffer, filled)
        except DownloadError:
            self._buffers.release(buffer)
            raise
        work.absorb(position, buffer, filled, self._buffers.release)
        return filled

    def _write(self, work: Work, position: int, buffer: memoryview, length: int) -> None:
        work.partial.write(position, buffer[:length])
        work.partial.complete(Span(position, position + length))
        self._meter.landed(length)

    def _spare(self) -> memoryview | None:
        with self._lock:
            works = list(reversed(self._works))
        return next((buffer for work in works if (buffer := work.spare()) is not None), None)

    def _settle(self, work: Work, error: DownloadError | None, landing: Landing) -> None:
        """Take leave of a span; the last one of a file delivers it or leaves it to the next attempt."""
        if error is None:
            work.hash_ready(self._buffers.release)
            if work.claim():
                if work.file.size > self._shape.buffer_size:
                    self._deliver(work, landing)
                else:
                    self._deliveries.add(lambda: self._deliver(work, landing), self._cancellation.check)
                return
        with self._lock:
            work.in_flight -= 1
            work.error = work.error or error
            if work.error is None or work.in_flight:
                return
        self._leave(work, work.error, landing)

    def _deliver(self, work: Work, landing: Landing) -> None:
        try:
            landing.deliver(work.partial, work.results())
        except IntegrityError as error:
            if work.file.path in self._refetched:
                self._leave(work, error, landing)
                return
            log.warning("%s; it is fetched again", error)
            self._refetched.add(work.file.path)
            self._waiting.appendleft(work.file)
        self._forget(work)

    def _leave(self, work: Work, error: DownloadError, landing: Landing) -> None:
        work.drop(self._buffers.release)
        work.partial.close()
        landing.fail(work.file, error)
        self._forget(work)

    def _forget(self, work: Work) -> None:
        with self._lock:
            self._works.remove(work)
            self._lock.notify_all()
