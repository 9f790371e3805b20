"""Small files on their way to their final names: one thread takes all that have arrived, since they share syncs."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from downloader.transfer.file_transfer import FileTransfer

WAITING = 256
"""Files that may wait for the disk while as many are on their way to it; who brings more waits, too.

Each is an open file, and on many nodes a process may have 1024 of them.
"""
WAKE_UP = 0.5


class CommitQueue:
    """Delivers files behind the workers. `commit` gets as many as there are and must let nothing out."""

    def __init__(self, commit: Callable[[Sequence[FileTransfer]], None]) -> None:
        self._commit = commit
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting: deque[FileTransfer] = deque()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="deliveries", daemon=True)
        self._thread.start()

    def add(self, work: FileTransfer, check: Callable[[], None]) -> None:
        """Deliver soon. Waits for a place; `check` raises to end the wait."""
        with self._lock:
            while len(self._waiting) >= WAITING:
                check()
                self._changed.wait(WAKE_UP)
            self._waiting.append(work)
            if len(self._waiting) == 1:
                self._changed.notify_all()

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
            self._commit(batch)

    def end(self, seconds: float) -> None:
        """Begin no more and wait for those that are being delivered, but no longer than so many seconds."""
        with self._lock:
            self._waiting.clear()
            self._ended = True
            self._changed.notify_all()
        self._thread.join(seconds)
