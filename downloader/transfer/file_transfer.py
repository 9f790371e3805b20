"""One file on its way: which spans are still to be fetched, and the hasher that follows them in order."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.artifact import Span
from downloader.errors import VolumeError
from downloader.integrity import HEAD, Hasher
from downloader.transfer.base import CompletedFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.artifact import RemoteFile
    from downloader.errors import DownloadError
    from downloader.volume import Partial

READ_BACK = 1 << 20


@dataclass(slots=True, eq=False)
class Segment:
    """What one worker fetches of a file, buffer by buffer. Its rest may be given to others meanwhile."""

    span: Span
    """As it was asked for."""
    position: int
    """Where the next buffer begins."""
    stop: int
    """Where it ends by now."""

    @property
    def left(self) -> int:
        """Bytes for which no buffer has been begun."""
        return self.stop - self.position


class FileTransfer:
    """A file that workers fetch span by span.

    Spans are handed out in order and hashed in order: a buffer that is ready before its turn waits, and when memory
    is short its bytes are read back from the volume instead. One worker at a time hashes; whoever completes the next
    span takes everything that is ready behind it along.
    """

    def __init__(
        self,
        file: RemoteFile,
        partial: Partial,
        check: Callable[[], None],
        inspect: Callable[[RemoteFile, bytes], None] = lambda _file, _head: None,
    ) -> None:
        """`check` raises when the run ends: what is on the volume already may take minutes to be hashed.

        `inspect` is given the first bytes once they are there, and raises if they cannot be right.
        """
        self._check = check
        # Formats are told by the size, too, so that a file of untold size is looked at when it has ended.
        self._inspect: Callable[[RemoteFile, bytes], None] | None = inspect if file.sized else None
        self.file = file = file if file.sized else file.with_size(0)
        self.partial = partial
        self.error: DownloadError | None = None
        self.in_flight = 0
        self._gaps = partial.missing()
        self._gaps.reverse()
        self.whole = self._gaps == [file.span]
        """Nothing of the file was there when it was begun."""
        self._stretches: list[Segment] = []
        self._lock = threading.Lock()
        self._hasher = Hasher(file.size, file.digests)
        self._hashed = 0
        self._hashing = False
        self._claimed = False
        self._ready: dict[int, tuple[memoryview, int]] = {}
        self._written = _between(self._gaps[::-1], file.size)

    @property
    def pending(self) -> bool:
        """There are spans that nobody has taken yet."""
        return bool(self._gaps) and self.error is None

    @property
    def held(self) -> int:
        """Bytes that are on the volume."""
        stop = max((gap.stop for gap in self.partial.missing()), default=0)
        return max(stop, self.file.size) - sum(len(gap) for gap in self.partial.missing())

    @property
    def left(self) -> int:
        """Bytes that nobody has taken yet."""
        return sum(len(gap) for gap in self._gaps)

    def take(self, limit: int | None) -> Segment:
        """Take the next bytes to fetch, at most `limit` of them. Not for several threads at once, as is `share`."""
        gap = self._gaps.pop()
        if limit is not None and len(gap) > limit:
            # Cut at multiples of the limit, so that writes stay aligned after a resume at an odd offset.
            cut = min(gap.stop, (gap.start // limit + 1) * limit)
            self._gaps.append(Span(cut, gap.stop))
            gap = Span(gap.start, cut)
        segment = Segment(gap, gap.start, gap.stop)
        self._stretches.append(segment)
        return segment

    def advance(self, segment: Segment, size: int) -> Span | None:
        """Return what the next buffer of `size` bytes is for; None at the end of the stretch."""
        with self._lock:
            if not segment.left:
                return None
            start = segment.position
            segment.position += min(size - start % size, segment.left)
            return Span(start, segment.position)

    def end(self, segment: Segment, size: int) -> None:
        """Take note that a file of untold size has ended. For whoever reads the stretch that is the file."""
        with self._lock:
            segment.position = segment.stop = size
            self.partial.end(size)
            self.file = self.partial.file

    def share(self, least: int) -> bool:
        """Give the rest of the longest stretch to whoever takes it next, if that has `least` bytes; tell whether."""
        with self._lock:
            longest = max(self._stretches, key=lambda segment: segment.left, default=None)
            if longest is None or longest.left < least or self._gaps or self.error is not None:
                return False
            self._gaps.append(Span(longest.position, longest.stop))
            longest.stop = longest.position
            return True

    def leave(self, segment: Segment) -> None:
        """Take leave of a stretch: nobody reads it any more."""
        with self._lock:
            self._stretches.remove(segment)

    @property
    def longest(self) -> int:
        """Bytes that are left of the longest stretch."""
        with self._lock:
            return max((segment.left for segment in self._stretches), default=0)

    def add_buffer(self, start: int, buffer: memoryview, length: int, release: Callable[[memoryview], None]) -> None:
        """Take a buffer whose bytes are on the volume; hash what is next in order."""
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
            with self._lock:
                self._hashed += length
                self._hashing = False
            self._look_at_head()

    def _look_at_head(self) -> None:
        with self._lock:
            inspect = self._inspect if self._hashed >= min(HEAD, self.file.size) else None
            if inspect is not None:
                self._inspect = None
        if inspect is not None:
            inspect(self.file, self._hasher.head)

    def _next_piece(self) -> tuple[memoryview | None, int] | None:
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
        view = memoryview(bytearray(min(READ_BACK, length)))
        position, stop = self._hashed, self._hashed + length
        while position < stop:
            self._check()
            count = self.partial.readinto(position, view[: stop - position])
            if not count:
                raise VolumeError(f"{self.file.path}: the volume lost what was written", hint="run again")
            self._hasher.update(view[:count])
            position += count

    def spare(self) -> memoryview | None:
        """Give up the buffer that would wait longest for its turn; its bytes will be read back from the volume.

        None while hashing goes on: then buffers come back by themselves, and reading back would only add to the work.
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
        with self._lock:
            if self._claimed or self._hashing or self._hashed < self.file.size:
                return None
            self._claimed = True
        return CompletedFile(self.partial.finish(), self._hasher.results(), self._hasher.head)

    def drop(self, release: Callable[[memoryview], None]) -> None:
        """Give all waiting buffers back; nothing will be hashed any more."""
        with self._lock:
            waiting = [buffer for buffer, _ in self._ready.values()]
            self._ready.clear()
        for buffer in waiting:
            release(buffer)


def _between(gaps: list[Span], size: int) -> dict[int, int]:
    """Return what lies between the gaps, start → stop: the bytes that are on the volume already."""
    written, position = {}, 0
    for gap in gaps:
        if gap.start > position:
            written[position] = gap.start
        position = gap.stop
    if position < size:
        written[position] = size
    return written
