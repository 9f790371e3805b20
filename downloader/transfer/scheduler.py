"""Who fetches what next: files that wait, files that have been begun, and what nobody has taken of these yet.

While there are as many files as connections each has a worker of its own and comes in a stream. A file that is left
over is shared: in requests of the shape, and by taking over what somebody else has not begun.
"""

from __future__ import annotations

import threading
from collections import deque
from sys import maxsize
from typing import TYPE_CHECKING, NamedTuple

from downloader.integrity import may_combine
from downloader.transfer.config import SMALL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from downloader.artifact import RemoteFile
    from downloader.errors import DownloadError
    from downloader.transfer.config import TransferConfig
    from downloader.transfer.file_transfer import FileTransfer, Segment

AT_THE_END = 2
"""Where fewer requests are left for each one under way, they become shorter: all shall end at one time."""
SHORTEST = 4
"""The part of the usual length below which they do not: what waits to be hashed takes a buffer, however short it is."""
WORTH_SHARING = 2
"""Requests that must be left of a stretch for its rest to be given to idle workers: its connection is lost by that."""
WAKE_UP = 0.2
"""Seconds between two looks for an end that nobody tells of."""


class Task(NamedTuple):
    """What one worker does next; no stretch where nothing of the file is missing."""

    work: FileTransfer
    segment: Segment | None


class Scheduler:
    """Shared by all workers of one attempt. `ended` tells whether the attempt has to end."""

    def __init__(self, shape: TransferConfig, ended: Callable[[], bool]) -> None:
        self._shape = shape
        self._ended = ended
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting: deque[RemoteFile] = deque()
        self._works: list[FileTransfer] = []
        """Files of which something is still to be fetched or hashed."""
        self._beginning = 0
        self._committing = 0
        self._refetched: set[str] = set()

    def add(self, files: Iterable[RemoteFile]) -> None:
        """Let these wait. Before anybody asks for work."""
        self._waiting.extend(files)

    @property
    def busy(self) -> int:
        """Workers that the files which wait can keep busy."""
        return sum(self._requests(file) for file in self._waiting)

    @property
    def works(self) -> list[FileTransfer]:
        """What is being fetched or hashed, oldest first."""
        with self._lock:
            return list(self._works)

    def next(self) -> Task | Sequence[RemoteFile] | None:
        """Wait for something to do: a task, or files to begin; None when there will never be anything again.

        Of files to begin, each must be told of by `begun` or `not_begun`.
        """
        with self._lock:
            while not self._is_over():
                task = self._next_task()
                if task is not None:
                    return task
                if self._may_begin():
                    files = self._take_files()
                    self._beginning += len(files)
                    return files
                # A file that is being opened may have work for this thread, one that proves corrupt has again.
                self._changed.wait(WAKE_UP)
            return None

    def begun(self, work: FileTransfer) -> Task:
        """Take note of a file that was begun; whoever did it has its first stretch."""
        with self._lock:
            self._beginning -= 1
            self._works.append(work)
            work.in_flight += 1
            segment = work.take(self._limit(work)) if work.pending else None
            self._changed.notify_all()
        return Task(work, segment)

    def not_begun(self) -> None:
        """Take note of a file that could not be begun."""
        with self._lock:
            self._beginning -= 1
            self._changed.notify_all()

    def ahead_of(self, task: Task) -> Task | None:
        """Return a task to be asked for before this one has come, where there are plenty; None where there are not."""
        work, segment = task
        length = self._request_of(work)
        if segment is None or length is None or len(segment.span) > length:
            return None
        if not self._shape.ahead or not work.file.digests:
            return None
        with self._lock:
            plenty = work.left > work.in_flight * self._shortened(length)
            return self._take_segment() if plenty and not self._ended() else None

    def complete(self, work: FileTransfer) -> None:
        """Record that a file has all its bytes; its commit begins."""
        with self._lock:
            self._works.remove(work)
            self._committing += 1

    def leave(self, work: FileTransfer, error: DownloadError | None) -> DownloadError | None:
        """Take leave of a stretch; return why the file has to be left, to the last one that was working on it."""
        with self._lock:
            work.in_flight -= 1
            work.error = work.error or error
            if work.error is None or work.in_flight:
                return None
            self._works.remove(work)
            return work.error

    def may_come_again(self, file: RemoteFile) -> bool:
        """Tell whether a file that was refused has not been fetched twice yet."""
        return file.path not in self._refetched

    def committed(self, count: int, again: Sequence[RemoteFile]) -> None:
        """Record that the commit of `count` files has ended; those in `again` were rejected and wait once more."""
        with self._lock:
            self._refetched.update(file.path for file in again)
            self._waiting.extendleft(again)
            self._committing -= count
            self._changed.notify_all()

    def restart(self, file: RemoteFile) -> bool:
        """Let a file wait again that shall come in one stream from its first byte; False where it comes in parts."""
        with self._lock:
            if self._request(file) is not None:
                return False
            self._waiting.append(file)
            self._changed.notify_all()
            return True

    def wake(self) -> None:
        """Let everybody look anew."""
        with self._lock:
            self._changed.notify_all()

    def _is_over(self) -> bool:
        """Tell whether there will never be anything to do again."""
        left = self._waiting or self._works or self._beginning or self._committing
        return self._ended() or not left

    def _next_task(self) -> Task | None:
        """Return a stretch of a file that has been begun; None where there is none, or another is to be begun first.

        The bytes of a file are hashed by one thread at a time, so nobody joins another while there are files to begin.
        """
        if self._may_begin():
            return self._take_segment(beside=0)
        return self._take_segment() or self._steal()

    def _take_segment(self, beside: int = maxsize) -> Task | None:
        """Return a stretch of the file that the fewest are working on, if not more than `beside` are."""
        works = [work for work in self._works if work.pending and self._has_room(work)]
        work = min(works, key=lambda work: work.in_flight, default=None)
        if work is None or work.in_flight > beside:
            return None
        work.in_flight += 1
        return Task(work, work.take(self._limit(work)))

    def _steal(self) -> Task | None:
        """Return a part of what somebody else was to fetch: there is nothing else to do."""
        works = [work for work in self._works if self._has_room(work)]
        work = max(works, key=lambda work: work.longest, default=None)
        length = self._request_of(work) if work is not None else None
        if work is None or length is None or not work.share(WORTH_SHARING * length):
            return None
        return self._take_segment()

    def _limit(self, work: FileTransfer) -> int | None:
        """Return how much to ask for at once: more while there are files for everybody.

        In one stream bytes come in the order in which they are hashed, with less ado than in many requests.
        """
        length = self._request_of(work)
        if length is None:
            return None
        files = len(self._waiting) + self._beginning + len(self._works)
        if files >= max(self._shape.connections, 2):
            return max(length, self._shape.stream)
        return self._shortened(length)

    def _shortened(self, length: int) -> int:
        """Return how much to ask for at once where `length` is usual: less when only a few requests are left."""
        if self._waiting:
            return length
        left = sum(work.left for work in self._works)
        requests = AT_THE_END * sum(work.in_flight for work in self._works)
        shortest = length // SHORTEST
        while length > shortest and left < requests * length:
            length //= 2
        return length

    def _take_files(self) -> list[RemoteFile]:
        """Return the next file, or several small ones that can be asked for at once: a fair share of them."""
        files = [self._waiting.popleft()]
        if self._shape.files is None and self._is_batchable(files[0]):
            share = min(self._shape.together, len(self._waiting) // self._shape.connections)
            while len(files) < share and self._is_batchable(self._waiting[0]):
                files.append(self._waiting.popleft())
        return files

    def _is_batchable(self, file: RemoteFile) -> bool:
        # Answers may be mixed up on the way: a digest would tell, and then the file is asked for alone.
        return 0 < file.size <= SMALL and bool(file.digests) and file.path not in self._refetched

    def _may_begin(self) -> bool:
        """Tell whether there is another file, and the shape allows to fetch it beside the others."""
        return bool(self._waiting) and not self._is_full()

    def _is_full(self) -> bool:
        """Tell whether as many files are being fetched as the shape allows; what only waits for the disk is none."""
        return self._shape.files is not None and self._beginning + len(self._works) >= self._shape.files

    def _has_room(self, work: FileTransfer) -> bool:
        return work.in_flight < (self._shape.per_file or maxsize)

    def _request(self, file: RemoteFile) -> int | None:
        """Return how many bytes to ask for at once; None for one stream, also where parts may be of two versions."""
        return self._shape.request(file) if file.sized and may_combine(file) else None

    def _request_of(self, work: FileTransfer) -> int | None:
        """Return how many bytes of a begun file to ask for at once; None for one stream, as where it lands in order."""
        return None if work.partial.in_order else self._request(work.file)

    def _requests(self, file: RemoteFile) -> int:
        """Return how many workers the file can keep busy."""
        length = self._request(file)
        return 1 if length is None else max(1, -(-file.size // length))
