"""`Cancellation`: ends work early. It wakes sleeping threads, interrupts blocked readers and keeps the reason."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from downloader.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from downloader.errors import DownloadError

log = logging.getLogger(__name__)


class Cancellation:
    """Shared by all threads of a run, or of one attempt: an attempt has a child of the run's cancellation.

    The reason is the error that each worker raises then, so that a stall and SIGTERM end a run in different ways.
    """

    def __init__(self, parent: Cancellation | None = None) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._wakers: dict[int, Callable[[], None]] = {}
        self._next_waker = 0
        self._reason: DownloadError | None = None
        self._forget_parent = parent.on_cancel(lambda: self._inherit(parent)) if parent else None

    def _inherit(self, parent: Cancellation) -> None:
        if parent.reason is not None:
            self.cancel(parent.reason)

    @property
    def reason(self) -> DownloadError | None:
        """Why work has to end; None while it may go on."""
        return self._reason

    def cancel(self, reason: DownloadError | None = None) -> None:
        """End the work, by default as the calling program.

        The first reason stays. Each waker runs once, in this thread, and no failure stops the rest.
        """
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason or Cancelled()
            wakers = list(self._wakers.values())
            self._wakers.clear()
        self._event.set()
        for waker in wakers:
            try:
                waker()
            except Exception:  # a waker that fails must not keep the others from running
                log.debug("a waker failed", exc_info=True)

    def check(self) -> None:
        """Raise the reason if work has to end."""
        if self._reason is not None:
            raise self._reason

    def sleep(self, seconds: float) -> None:
        """Sleep, or raise the reason as soon as there is one."""
        self._event.wait(seconds)
        self.check()

    def on_cancel(self, waker: Callable[[], None]) -> Callable[[], None]:
        """Call `waker` upon cancellation, at once if that has happened. Returns a function that unregisters it."""
        with self._lock:
            if self._reason is None:
                key = self._next_waker
                self._next_waker += 1
                self._wakers[key] = waker
                return lambda: self._forget(key)
        waker()
        return lambda: None

    def _forget(self, key: int) -> None:
        with self._lock:
            self._wakers.pop(key, None)

    def waking(self, waker: Callable[[], None]) -> AbstractContextManager[None]:
        """Run the block with `waker` registered."""
        return _Waking(self, waker)

    def close(self) -> None:
        """Unregister from the parent: it must not keep the child in memory after its attempt."""
        if self._forget_parent is not None:
            self._forget_parent()


class _Waking:
    """The block of `Cancellation.waking`. A class, since a generator costs more and there is one for each file."""

    def __init__(self, cancellation: Cancellation, waker: Callable[[], None]) -> None:
        self._cancellation = cancellation
        self._waker = waker

    def __enter__(self) -> None:
        self._forget = self._cancellation.on_cancel(self._waker)

    def __exit__(self, *_: object) -> None:
        self._forget()
