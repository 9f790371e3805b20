"""Who is using a file's handles: they are closed only when nobody is, for the kernel gives their numbers out again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from downloader.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Callable


class HandleGuard:
    """A context that any number of threads may be in, until it is shut. `when_empty` then runs once, after the last."""

    def __init__(self, when_empty: Callable[[], None]) -> None:
        self._when_empty: Callable[[], None] | None = when_empty
        self._lock = threading.Lock()
        self._emptied: threading.Condition | None = None
        """Made by the first who has to wait: of ten thousand small files nobody has."""
        self._inside = 0
        self._barred = False
        self._shut = False

    @property
    def is_shut(self) -> bool:
        """Nobody gets in any more, and the handles are closed or soon will be."""
        return self._shut

    def __enter__(self) -> None:
        with self._lock:
            if self._barred:
                raise InternalError("a partial was used after it was closed")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._emptied is not None:
                self._emptied.notify_all()
            last = self._last()
        if last is not None:
            last()

    def drain(self) -> None:
        """Let nobody in any more and wait for those inside."""
        with self._lock:
            self._barred = True
            if self._inside:
                self._emptied = self._emptied or threading.Condition(self._lock)
                self._emptied.wait_for(lambda: not self._inside)

    def shut(self) -> None:
        """Let nobody in any more. Does not wait: a thread may be stuck in a volume that does not answer."""
        with self._lock:
            self._barred = self._shut = True
            last = self._last()
        if last is not None:
            last()

    def _last(self) -> Callable[[], None] | None:
        """Return what is to be done, once, after the last one has left."""
        if self._inside or not self._shut:
            return None
        last, self._when_empty = self._when_empty, None
        return last
