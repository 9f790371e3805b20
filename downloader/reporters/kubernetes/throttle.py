"""Decides when the next patch is due: each costs the operator a reconcile, and etcd a write of the object."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from downloader.deadlines import (
    MAX_RETRY_AFTER,
    STATUS_FIRST_PAUSE,
    STATUS_HEARTBEAT,
    STATUS_MAX_PAUSE,
    STATUS_MESSAGE_GAP,
    STATUS_REJECTED_PAUSES,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.reporters.kubernetes.status import Status

JITTER: Final = 0.1
"""Random part of each pause, so that a hundred pods do not patch at the same time."""

_NEVER: Final = float("-inf")


class PatchThrottle:
    """Remembers what was written and how the server responded. All times are seconds of one clock."""

    def __init__(
        self, interval: float, *, first_pause: float = STATUS_FIRST_PAUSE, chance: Callable[[], float] = random.random
    ) -> None:
        """Start with nothing written.

        `interval` is the minimum of seconds between patches in which only numbers change, `first_pause` the seconds
        after the first failure of the server. `chance` returns a random number in [0, 1).
        """
        self._interval = interval
        self._first_pause = first_pause
        self._chance = chance
        self._jitter = JITTER * chance()
        self._failures = 0
        self._held_until = _NEVER
        self._written_at = _NEVER
        self.written_status: Status | None = None
        """The status that was written last."""

    def due(self, status: Status) -> float:
        """Return the time at which this status is to be written; it may have passed."""
        return max(self._written_at + self._pause(status), self._held_until)

    def _pause(self, status: Status) -> float:
        before = self.written_status
        if before is None or status.stage != before.stage:
            return 0.0
        interval = self._interval * (1 + self._jitter)
        if status.message != before.message:
            return min(STATUS_MESSAGE_GAP, interval)
        if status != before:
            return interval
        return max(STATUS_HEARTBEAT * (1 - self._jitter), interval)

    def written(self, status: Status, now: float) -> None:
        """Record that the server accepted this status."""
        self.written_status = status
        self._written_at = now
        self._failures = 0
        self._jitter = JITTER * self._chance()

    def busy(self, now: float, retry_after: float | None) -> None:
        """Record that the server failed; `retry_after` is the pause in seconds that it asked for, if it did."""
        pause = (
            self._growing(self._first_pause, STATUS_MAX_PAUSE)
            if retry_after is None
            else min(retry_after, MAX_RETRY_AFTER)
        )
        self._hold(now, pause)

    def refused(self, now: float) -> None:
        """Record that the server rejected a status."""
        self._hold(now, self._growing(*STATUS_REJECTED_PAUSES))

    def _growing(self, first: float, longest: float) -> float:
        return float(min(longest, first * 2 ** min(self._failures, 30)))

    def _hold(self, now: float, pause: float) -> None:
        self._failures += 1
        self._held_until = now + pause * (1 + JITTER * self._chance())
