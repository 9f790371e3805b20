"""The state of one file during its transfer: ranges to fetch, and the hasher that follows them in order."""

from __future__ import annotations

import mmap
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.artifact import Span
from downloader.errors import VolumeError
from downloader.integrity import HEAD, Hasher
from downloader.progress import FileProgress
from downloader.transfer.base import CompletedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from downloader.artifact import RemoteFile
    from downloader.errors import DownloadError
    from downloader.volume import Partial

READ_BACK = 1 << 20
"""Bytes per read of what is hashed from the volume."""


@dataclass(slots=True, eq=False)
class Segment:
    """The range that one worker fetches, buffer by buffer. Its end may be stolen by idle workers meanwhile."""

    span: Span
    """As it was requested from the source."""
    position: int
    """Where the next buffer begins."""
    stop: int
    """Where the segment ends now."""

    @property
    def remaining(self) -> int:
        """Bytes for which no buffer has been started."""
        return self.stop - self.position


class FileTransfer:
    """A file whose ranges are fetched by several workers and hashed in order.

    Ranges are assigned in order, too. A buffer that is filled before its turn waits to be hashed; if memory runs short
    it is evicted, and its bytes are read back from the volume when their turn comes. One worker at a time hashes: the
    worker that completes the next range also hashes everything that is ready behind it. The others do not wait.

    The scheduler calls `take_segment`, `split_longest`, and reads and writes `in_flight` and `error`, under its own
    lock. The other methods are thread-safe.
    """

    def __init__(
        self,
        file: RemoteFile,
        partial: Partial,
        check: Callable[[], None],
        inspect: Callable[[RemoteFile, bytes, int], int] = lambda _file, _head, _hashed: 0,
        *,
        shared: bool = False,
        hashes: bool = True,
    ) -> None:
        """`check` raises when the attempt ends: to hash what an earlier run left may take minutes.

        `inspect` is the sink's (`FileSink.inspect`). Of a `shared` file, other processes fetch a part: this one fetches
        what `extend` says, and one of them all `hashes` it.
        """
        self.shared = shared
        self.dropped = False
        """Given up, without being a failure of this attempt."""
        self.hashes = hashes
        self._check = check
        # Some formats are recognized by the size as well: a file of unknown size is inspected at its end, in the sink.
        self._inspect: Callable[[RemoteFile, bytes, int], int] | None = inspect if file.sized else None
        self._inspected_at = min(HEAD, file.size)
        self._sized = file.sized
        self.file = file = file if file.sized else file.with_size(0)
        self.partial = partial
        self.error: DownloadError | None = None
        self.in_flight = 0
        """Workers that fetch a segment of the file."""
        missing = partial.missing()
        self._gaps = [] if shared else missing[::-1]
        self.is_fresh = self._gaps == [file.span]
        """Whether an earlier run or protocol left nothing of the file."""
        self._segments: list[Segment] = []
        self._lock = threading.Lock()
        self._hasher = Hasher(file.size, file.digests)
        self._hashed = 0
        self._hashing = False
        self._completed = False
        self._ready: dict[int, tuple[memoryview, int]] = {}
        """Filled buffers with their lengths, by offset."""
        self._written = _between(missing, file.size) if hashes else {}
        """Ranges to read back from the volume: stop by start."""

    @property
    def has_unassigned(self) -> bool:
        """Whether there are ranges that no worker has taken yet."""
        return bool(self._gaps) and self.error is None

    @property
    def unassigned_bytes(self) -> int:
        """Bytes that no worker has taken yet."""
        return sum(len(gap) for gap in self._gaps)

    @property
    def stored_bytes(self) -> int:
        """Bytes that are on the volume."""
        missing = self.partial.missing()
        stop = max((gap.stop for gap in missing), default=0)
        return max(stop, self.file.size) - sum(len(gap) for gap in missing)

    @property
    def progress(self) -> FileProgress:
        """How far the file is."""
        return FileProgress(self.file.path, self.stored_bytes, self.file.size if self._sized else None)

    def take_segment(self, limit: int | None) -> Segment:
        """Assign the next bytes, at most `limit` of them."""
        gap = self._gaps.pop()
        if limit is not None and len(gap) > limit:
            # Cut at multiples of the limit, so that direct writes stay aligned after a resume at an odd offset.
            cut = min(gap.stop, (gap.start // limit + 1) * limit)
            self._gaps.append(Span(cut, gap.stop))
            gap = Span(gap.start, cut)
        segment = Segment(gap, gap.start, gap.stop)
        # No lock: appending is atomic, and the segment is in the list before its worker sees it.
        self._segments.append(segment)
        return segment

    def extend(self, spans: Iterable[Span]) -> None:
        """Add ranges of a shared file that this process has to fetch, in order; neighbours become one."""
        with self._lock:
            for span in spans:
                if self._gaps and self._gaps[0].stop == span.start:
                    self._gaps[0] = Span(self._gaps[0].start, span.stop)
                else:
                    self._gaps.insert(0, span)

    def add_found(self, spans: Iterable[Span]) -> None:
        """Add ranges of a shared file that other processes have fetched: they are read back to be hashed."""
        with self._lock:
            for span in spans:
                self._written[span.start] = span.stop

    @property
    def has_ready(self) -> bool:
        """Whether bytes can be hashed, and no thread does it."""
        with self._lock:
            return not self._hashing and (self._hashed in self._ready or self._hashed in self._written)

    @property
    def is_idle(self) -> bool:
        """Whether this process has nothing to do for a shared file for now."""
        return not self.has_unassigned and not self.has_ready

    def advance(self, segment: Segment, size: int) -> Span | None:
        """Return the range of the segment's next buffer of `size` bytes; None at its end."""
        # The lock is what makes stealing safe: a range belongs either to this buffer or to the stolen rest.
        with self._lock:
            if not segment.remaining:
                return None
            start = segment.position
            segment.position += min(size - start % size, segment.remaining)
            return Span(start, segment.position)

    def end(self, segment: Segment, size: int) -> None:
        """Set the size of a file of unknown size, when its one segment has ended."""
        with self._lock:
            segment.position = segment.stop = size
            self.partial.end(size)
            self.file = self.partial.file

    def split_longest(self, min_bytes: int) -> bool:
        """Unassign the rest of the longest segment if it has at least `min_bytes`; return whether it did."""
        with self._lock:
            longest = max(self._segments, key=lambda segment: segment.remaining, default=None)
            if longest is None or longest.remaining < min_bytes or self._gaps or self.error is not None:
                return False
            self._gaps.append(Span(longest.position, longest.stop))
            longest.stop = longest.position
            return True

    def remove(self, segment: Segment) -> None:
        """Remove a segment that its worker has finished or abandoned."""
        with self._lock:
            self._segments.remove(segment)

    @property
    def longest_remaining(self) -> int:
        """Bytes that remain of the longest segment."""
        with self._lock:
            return max((segment.remaining for segment in self._segments), default=0)

    def add_buffer(self, start: int, buffer: memoryview, length: int, release: Callable[[memoryview], None]) -> None:
        """Take over a buffer whose bytes are on the volume, and hash what is next in order."""
        if not self.hashes:
            release(buffer)
            return
        with self._lock:
            self._ready[start] = (buffer, length)
        self.hash_ready(release)

    def hash_ready(self, release: Callable[[memoryview], None]) -> None:
        """Hash everything that is next in order, unless another thread is doing it."""
        while (piece := self._next_piece()) is not None:
            buffer, length = piece
            if buffer is None:
                self._hash_from_volume(length)
            else:
                self._hasher.update(buffer[:length])
                release(buffer)
            # Under one lock: a buffer that another worker added meanwhile is hashed in our next round, and the worker
            # of one that is added later finds `_hashing` false. Otherwise a last buffer could be left unhashed.
            with self._lock:
                self._hashed += length
                self._hashing = False
            self._inspect_head()

    def _inspect_head(self) -> None:
        with self._lock:
            inspect, hashed = self._inspect if self._hashed >= self._inspected_at else None, self._hashed
            if inspect is not None:
                self._inspect = None
        if inspect is not None and (again := inspect(self.file, self._hasher.head, hashed)):
            with self._lock:
                self._inspect, self._inspected_at = inspect, again

    def _next_piece(self) -> tuple[memoryview | None, int] | None:
        """Claim the next bytes in order: a buffer and its length, or None and the length of a range on the volume."""
        with self._lock:
            if self._hashing:
                return None
            piece: tuple[memoryview | None, int] | None = self._ready.pop(self._hashed, None)
            if piece is None:
                stop = self._written.pop(self._hashed, None)
                if stop is None:
                    return None
                piece = (None, stop - self._hashed)
            self._hashing = True
            return piece

    def _hash_from_volume(self, length: int) -> None:
        view = memoryview(mmap.mmap(-1, READ_BACK))  # begins with a page, so that reads may bypass the page cache
        position, stop = self._hashed, self._hashed + length
        while position < stop:
            self._check()
            count = self.partial.readinto(position, view[: stop - position])
            if not count:
                raise VolumeError(f"{self.file.path}: the volume lost what was written", hint="run again")
            self._hasher.update(view[:count])
            position += count

    def evict(self) -> memoryview | None:
        """Return the buffer that would wait longest to be hashed; its bytes will be read back from the volume.

        None while hashing goes on: then buffers return by themselves, and reading back would only add work (ADR 23).
        """
        with self._lock:
            if not self._ready or self._hashing or self._hashed in self._ready:
                return None
            start = max(self._ready)
            buffer, length = self._ready.pop(start)
            self._written[start] = start + length
            return buffer

    def try_complete(self) -> CompletedFile | None:
        """Return the file once, to one thread, as soon as every byte is on the volume and hashed."""
        # Two workers may finish the last two segments at the same time: only one of them may commit.
        with self._lock:
            if self._completed or self._hashing or self._hashed < self.file.size or not self.hashes:
                return None
            self._completed = True
        return CompletedFile(self.partial.finish(), self._hasher.results(), self._hasher.head)

    def drop_buffers(self, release: Callable[[memoryview], None]) -> None:
        """Release all waiting buffers of a file that will not be completed."""
        with self._lock:
            waiting = [buffer for buffer, _ in self._ready.values()]
            self._ready.clear()
        for buffer in waiting:
            release(buffer)


def _between(gaps: list[Span], size: int) -> dict[int, int]:
    """Return the ranges between the gaps, stop by start: bytes that are on the volume already."""
    written, position = {}, 0
    for gap in gaps:
        if gap.start > position:
            written[position] = gap.start
        position = gap.stop
    if position < size:
        written[position] = size
    return written
