"""The commit of a completed file: from "last byte hashed" to "has its final name" in four calls.

1. `CommitQueue.commit` decides when: a large file at once, small ones in batches, since they share syncs.
2. `FileSink.commit` decides whether: it compares the digests with the published ones and rejects damaged files.
3. `Volume.commit` requires the lease.
4. `Committer.commit` (`volume/commit.py`) syncs the bytes, renames the files, syncs the directories and writes the
   commit log, in this order.
"""

from __future__ import annotations

import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from downloader.condition import Condition
from downloader.deadlines import CHECK_INTERVAL
from downloader.transfer.config import SMALL
from downloader.transfer.workers import guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from downloader.cancellation import Cancellation
    from downloader.errors import IntegrityError
    from downloader.transfer.base import CompletedFile, FileSink
    from downloader.transfer.cpu_affinity import CpuAffinity

WAITING = 256
"""Files that may wait while the thread commits as many others; `commit` blocks when there are more.

Each is an open file, and on many nodes a process may have 1024 of them.
"""


class CommitQueue:
    """Commits the files of one attempt to a sink, small ones in a thread of its own (ADR 22).

    `on_committed` receives each batch after its commit, with the errors of rejected files by path. Errors in the thread
    cancel the attempt.
    """

    def __init__(
        self,
        sink: FileSink,
        on_committed: Callable[[Sequence[CompletedFile], Mapping[str, IntegrityError]], None],
        cancellation: Cancellation,
        cpu_affinity: CpuAffinity,
    ) -> None:
        self._sink = sink
        self._on_committed = on_committed
        self._cancellation = cancellation
        self._cpu_affinity = cpu_affinity
        self._lock = threading.Lock()
        self._changed = Condition(self._lock)
        self._waiting: deque[CompletedFile] = deque()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="commits", daemon=True)
        self._thread.start()

    def commit(self, completed_file: CompletedFile) -> None:
        """Commit a large file now, or queue a small one. Blocks while the queue is full.

        Raises the errors of the sink for a large file, and the reason of the cancellation while it blocks.
        """
        if completed_file.partial.file.size > SMALL:
            self._commit([completed_file])
            return
        with self._lock:
            while len(self._waiting) >= WAITING:
                self._cancellation.check()
                self._changed.wait(CHECK_INTERVAL)
            self._waiting.append(completed_file)
            if len(self._waiting) == 1:
                self._changed.notify_all()

    def close(self, seconds: float) -> None:
        """Drop the queue and wait at most that long for the batch that is being committed."""
        with self._lock:
            self._waiting.clear()
            self._ended = True
            self._changed.notify_all()
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._waiting:
                    if self._ended:
                        return
                    self._changed.wait()
                batch = list(self._waiting)
                self._waiting.clear()
                self._changed.notify_all()
            self._cpu_affinity.pin()
            guarded(partial(self._commit, batch), self._cancellation)

    def _commit(self, batch: Sequence[CompletedFile]) -> None:
        self._on_committed(batch, self._sink.commit(batch))
