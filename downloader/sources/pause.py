"""The pause that a server asks for: one for all threads and protocols of a place (ADR 59)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from downloader.deadlines import MAX_RETRY_AFTER

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.errors import Throttled


class SharedPause:
    """Until when no request is sent, and why. For many threads."""

    def __init__(self, clock: Callable[[], float], longest: float = MAX_RETRY_AFTER) -> None:
        """Begin without a pause. A server that asks for more than the `longest` seconds is not waited for."""
        self.longest = longest
        self.reason = ""
        self._clock = clock
        self._lock = threading.Lock()
        self._until = clock()

    @property
    def left(self) -> float:
        """Seconds until it is over."""
        return max(0.0, self._until - self._clock())

    def extend(self, error: Throttled, seconds: float) -> bool:
        """Let the pause last until `seconds` after the request was sent; return whether a new one begins.

        It counts from `Throttled.asked_at`: the response to a pipelined request may have waited for long to be read,
        and one that was on its way when a pause began belongs to that pause.
        """
        with self._lock:
            now = self._clock()
            until = seconds + (now if error.asked_at is None else error.asked_at)
            if until <= max(now, self._until):
                return False
            new = self._until <= now
            self._until = until
            self.reason = error.message
            return new
