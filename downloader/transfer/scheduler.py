"""Assigns work to the workers of one attempt: files to begin, and ranges of files that have been begun.

While there are at least as many files as connections, each file has one worker and comes in one stream: bytes then
arrive in the order in which they are hashed, and there are fewer requests (ADR 27). The last files are shared by all
workers: in requests of the configured size, and by stealing from each other's segments.

This module is long because everything that its lock guards is here.
"""

from __future__ import annotations

import threading
from sys import maxsize
from typing import TYPE_CHECKING, NamedTuple

from downloader.condition import Condition
from downloader.deadlines import CHECK_INTERVAL
from downloader.errors import ProtocolFailed
from downloader.integrity import may_combine
from downloader.transfer.config import SMALL
from downloader.transfer.waiting import WaitingFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from downloader.artifact import RemoteFile, Span
    from downloader.errors import DownloadError
    from downloader.progress import FileProgress
    from downloader.transfer.config import TransferConfig
    from downloader.transfer.file_transfer import FileTransfer, Segment

TAIL_REQUESTS = 2
"""Requests per one in flight below which they become shorter, so that all workers finish at about the same time."""
TAIL_SHARE = 4
"""Requests are shortened to 1 / this at most: bytes that wait to be hashed take a whole buffer, however few."""
STEAL_REQUESTS = 2
"""Requests that must remain of a segment for its rest to be stolen: that costs the connection of its worker."""


class Task(NamedTuple):
    """The next step of one worker; without a segment where nothing of the file is missing."""

    transfer: FileTransfer
    segment: Segment | None


class Scheduler:
    """Shared by all workers of one attempt. `ended` says whether the attempt has to end.

    Invariant: every file is in exactly one of these states, or is done: in `_waiting`, counted in `_beginning`, in
    `_transfers`, or counted in `_committing`. A small file that comes in one piece is counted in `_beginning` until it
    has come. Workers return only when all four are empty, since a file that is being opened may have work for an idle
    worker, and a file that is being committed may be rejected and wait again.
    """

    def __init__(self, config: TransferConfig, ended: Callable[[], bool]) -> None:
        self._config = config
        self._ended = ended
        self._lock = threading.Lock()
        self._changed = Condition(self._lock)
        self._waiting = WaitingFiles()
        self._beginning = 0
        self._transfers: list[FileTransfer] = []
        """Files that are being fetched or hashed, oldest first."""
        self._committing = 0
        self._refetched: set[str] = set()
        self._fed = False
        """More work may be added while the workers run."""
        self._hungry = 0
        """Unassigned bytes below which the feed wants to be woken; 0 while it does not wait."""

    def add(self, files: Sequence[RemoteFile]) -> None:
        """Add files."""
        with self._lock:
            self._waiting.add(files)
            self._changed.notify_all()

    def feed(self, *, more: bool) -> None:
        """Say whether more work may be added: while it may, idle workers wait for it."""
        with self._lock:
            self._fed = more
            self._changed.notify_all()

    def add_transfer(self, transfer: FileTransfer) -> None:
        """Add a shared file, which this process fetches in part."""
        with self._lock:
            self._transfers.append(transfer)

    def drop(self, transfer: FileTransfer) -> bool:
        """Give up a shared file; return whether the caller has to close it, since no worker will or has."""
        with self._lock:
            if transfer not in self._transfers:  # it has failed, or is being committed
                return False
            if transfer.in_flight:
                transfer.dropped = True
                transfer.error = transfer.error or ProtocolFailed(f"{transfer.file.path} begins again")
                return False
            self._transfers.remove(transfer)
            return True

    def extend(self, transfer: FileTransfer, spans: Iterable[Span] = (), found: Iterable[Span] = ()) -> None:
        """Add ranges of a shared file: some to fetch, and some that other processes have fetched."""
        with self._lock:
            transfer.extend(spans)
            transfer.add_found(found)
            self._changed.notify_all()

    @property
    def is_idle(self) -> bool:
        """Whether no worker has anything to do, though a shared file may wait for the bytes of other processes."""
        with self._lock:
            return not self._is_busy()

    def wait(self, below: int, seconds: float) -> bool:
        """Wait at most `seconds` until fewer bytes than `below` are unassigned; return whether that is so."""
        with self._lock:
            self._hungry = below
            try:
                return self._changed.wait_for(lambda: self._ended() or self._left() < below, seconds)
            finally:
                self._hungry = 0

    def useful_workers(self, files: Iterable[RemoteFile]) -> int:
        """Return the number of workers that these files can keep busy, counted up to `max_connections`."""
        useful = 0
        for file in files:
            useful += self._requests(file)
            if useful >= self._config.max_connections:
                break
        return useful

    @property
    def transfers(self) -> list[FileTransfer]:
        """The files that are being fetched or hashed, oldest first."""
        with self._lock:
            return list(self._transfers)

    def progress(self) -> tuple[FileProgress, ...]:
        """Return how far the files are that are being fetched or hashed, oldest first."""
        return tuple(transfer.progress for transfer in self.transfers)

    def next(self) -> Task | Sequence[RemoteFile] | None:
        """Wait for a task, or for files to begin. Returns None when the attempt is over.

        The caller reports each file to begin by `begun` or `not_begun`.
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
                # Every change of the state notifies, but a cancellation comes from outside and does not.
                self._changed.wait(CHECK_INTERVAL)
            return None

    def begun(self, transfer: FileTransfer) -> Task:
        """Add a file that was opened; the worker that opened it gets its first segment."""
        with self._lock:
            self._beginning -= 1
            self._transfers.append(transfer)
            transfer.in_flight += 1
            segment = transfer.take_segment(self._limit(transfer)) if transfer.has_unassigned else None
            self._changed.notify_all()
        return Task(transfer, segment)

    def brought(self) -> None:
        """Record that a file has come in one piece; its commit begins."""
        with self._lock:
            self._beginning -= 1
            self._committing += 1

    def not_begun(self) -> None:
        """Record that a file could not be opened, or did not come in one piece."""
        with self._lock:
            self._beginning -= 1
            self._changed.notify_all()

    def following(self, task: Task) -> Task | None:
        """Return a task to prefetch during this one; None where ranges are few and another worker may need them."""
        transfer, segment = task
        length = self._request_size(transfer)
        if segment is None or length is None or len(segment.span) > length:
            return None
        # A server may mix up pipelined responses. Without a digest that would go unnoticed.
        if not self._config.prefetch or not transfer.file.digests:
            return None
        with self._lock:
            plenty = transfer.unassigned_bytes > transfer.in_flight * self._shortened(length)
            return self._take_segment() if plenty and not self._ended() else None

    def complete(self, transfer: FileTransfer) -> None:
        """Record that a file has all its bytes; its commit begins."""
        with self._lock:
            self._transfers.remove(transfer)
            self._committing += 1

    def end_segment(self, transfer: FileTransfer, error: DownloadError | None) -> DownloadError | None:
        """Record that a worker has ended its segment. Returns the error of a failed file, to its last worker only."""
        with self._lock:
            transfer.in_flight -= 1
            transfer.error = transfer.error or error
            # The others notice `transfer.error` at their next request. Only the last one may close the partial.
            if transfer.error is None or transfer.in_flight:
                return None
            self._transfers.remove(transfer)
            return transfer.error

    def may_refetch(self, file: RemoteFile) -> bool:
        """Return whether a rejected file has been fetched only once so far."""
        # Without the lock: only the commit of this very file adds its path, and that has not ended yet.
        return file.path not in self._refetched

    def committed(self, count: int, again: Sequence[RemoteFile]) -> None:
        """Record that the commit of `count` files has ended; those in `again` were rejected and wait once more."""
        with self._lock:
            self._refetched.update(file.path for file in again)
            self._waiting.add_first(again)
            self._committing -= count
            self._changed.notify_all()

    def restart(self, file: RemoteFile) -> bool:
        """Add a file again whose ranges the server ignores; False if the file needs ranges."""
        with self._lock:
            if self._request_size_of(file) is not None:
                return False
            self._waiting.add([file])
            self._changed.notify_all()
            return True

    def wake(self) -> None:
        """Wake idle workers, so that they check whether the attempt is over."""
        with self._lock:
            self._changed.notify_all()

    def _left(self) -> int:
        return self._waiting.weight + sum(each.unassigned_bytes for each in self._transfers)

    def _is_over(self) -> bool:
        return self._ended() or not (self._fed or self._is_busy())

    def _is_busy(self) -> bool:
        # A shared file that only waits for the bytes of other processes is no work of this one.
        busy = any(not each.shared or each.in_flight or not each.is_idle for each in self._transfers)
        return bool(self._waiting or self._beginning or self._committing or busy)

    def _next_task(self) -> Task | None:
        """Return a task; None if all are taken, or if a file should be begun first.

        One thread at a time hashes a file, so a second worker on it only helps when there are no files to begin.
        """
        if (transfer := next((each for each in self._transfers if each.shared and each.has_ready), None)) is not None:
            transfer.in_flight += 1
            return Task(transfer, None)
        if self._may_begin():
            return self._take_segment(max_in_flight=0)
        return self._take_segment() or self._steal()

    def _take_segment(self, max_in_flight: int = maxsize) -> Task | None:
        """Return a segment of the file with the fewest workers, if it has at most `max_in_flight`."""
        # Bytes are hashed in order, by one thread for each file: workers of one file fill buffers that wait for each
        # other, workers of different files do not.
        candidates = [each for each in self._transfers if each.has_unassigned and self._has_room(each)]
        transfer = min(candidates, key=lambda each: each.in_flight, default=None)
        if transfer is None or transfer.in_flight > max_in_flight:
            return None
        transfer.in_flight += 1
        segment = transfer.take_segment(self._limit(transfer))
        if self._hungry and self._left() < self._hungry:
            self._changed.notify_all()  # the feed has to add work
        return Task(transfer, segment)

    def _steal(self) -> Task | None:
        """Return a part of what another worker has not started: there is nothing else to do."""
        # The longest rest first: its worker would finish last. What was claimed of a shared file is short already.
        candidates = [each for each in self._transfers if self._has_room(each) and not each.shared]
        transfer = max(candidates, key=lambda each: each.longest_remaining, default=None)
        length = self._request_size(transfer) if transfer is not None else None
        if transfer is None or length is None or not transfer.split_longest(STEAL_REQUESTS * length):
            return None
        return self._take_segment()

    def _limit(self, transfer: FileTransfer) -> int | None:
        """Return the size of the next request: a stream while there are files for all connections."""
        length = self._request_size(transfer)
        if length is None:
            return None
        files = len(self._waiting) + self._beginning + len(self._transfers)
        # Of a shared file, few bytes are claimed at a time: its first worker takes them, and the others what follows.
        first = transfer.shared and transfer.in_flight == 1
        if first or files >= max(self._config.initial_connections, 2):
            return max(length, self._config.stream_size)
        return self._shortened(length)

    def _shortened(self, length: int) -> int:
        """Return the size of a request whose usual size is `length`: less when only a few requests are left."""
        if self._waiting or self._fed:
            return length
        left = sum(transfer.unassigned_bytes for transfer in self._transfers)
        requests = TAIL_REQUESTS * sum(transfer.in_flight for transfer in self._transfers)
        shortest = length // TAIL_SHARE
        while length > shortest and left < requests * length:
            length //= 2
        return length

    def _take_files(self) -> list[RemoteFile]:
        """Return the next file, or a fair share of the small files that can be pipelined."""
        files = [self._waiting.take()]
        if self._config.max_files is None and self._is_pipelined(files[0]):
            # A share and not the whole depth: towards the end, all files would wait behind one connection.
            share = min(self._config.pipeline_depth, len(self._waiting) // self._config.initial_connections)
            while len(files) < share and self._is_pipelined(self._waiting.first):
                files.append(self._waiting.take())
        return files

    def _is_pipelined(self, file: RemoteFile) -> bool:
        # A server may mix up pipelined responses. The digest detects that, and then the file is requested alone.
        return 0 < file.size <= SMALL and bool(file.digests) and file.path not in self._refetched

    def _may_begin(self) -> bool:
        """Return whether there is another file, and the config allows to fetch it now."""
        return bool(self._waiting) and not self._is_full()

    def _is_full(self) -> bool:
        """Return whether the limit of files is reached. Files in their commit do not count."""
        limit = self._config.max_files
        return limit is not None and self._beginning + len(self._transfers) >= limit

    def _has_room(self, transfer: FileTransfer) -> bool:
        return transfer.in_flight < (self._config.max_connections_per_file or maxsize)

    def _request_size(self, transfer: FileTransfer) -> int | None:
        """Return the bytes per request of a begun file; None for one stream, also on a volume that writes in order."""
        return None if transfer.partial.in_order else self._request_size_of(transfer.file)

    def _request_size_of(self, file: RemoteFile) -> int | None:
        """Return the bytes per request; None for one stream, also where ranges may be of two versions (ADR 48)."""
        return self._config.request_size(file) if file.sized and may_combine(file) else None

    def _requests(self, file: RemoteFile) -> int:
        """Return the number of workers that the file can keep busy."""
        length = self._request_size_of(file)
        return 1 if length is None else max(1, -(-file.size // length))
