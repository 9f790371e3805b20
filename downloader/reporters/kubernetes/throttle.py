"""When the next patch is due: each one costs the operator a reconcile and etcd a write of the whole object."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.reporters.kubernetes.status import Status

HEARTBEAT: Final = 60.0
"""Seconds after which a status is written again though nothing changed: somebody may have overwritten it."""
MESSAGE_GAP: Final = 2.0
"""Seconds between patches for new messages, which in a bad network come in swarms."""
FIRST_PAUSE: Final = 1.0
"""Seconds until the next attempt when the server has trouble; each time twice as long,"""
LONGEST_PAUSE: Final = 60.0
"""but never longer than this."""
REFUSED_PAUSES: Final = (60.0, 600.0)
"""Seconds after the first refusal, as the operator may bind our role a moment too late, and at most later on."""
LONGEST_RETRY_AFTER: Final = 600.0
"""Seconds. A server that names more than this did not mean it."""
JITTER: Final = 0.1
"""Part of each pause that is left to chance, so that a hundred pods do not patch in step."""

_NEVER: Final = float("-inf")


class PatchThrottle:
    """Remembers what was written and how the server took it. All times are seconds of one clock."""

    def __init__(
        self, interval: float, *, first_pause: float = FIRST_PAUSE, chance: Callable[[], float] = random.random
    ) -> None:
        """`interval` is the floor between patches in which only numbers changed, `chance` gives a number in [0, 1)."""
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
        """Return when this status is to be written; it may be long past."""
        return max(self._written_at + self._pause(status), self._held_until)

    def _pause(self, status: Status) -> float:
        before = self.written_status
        if before is None or status.stage != before.stage:
            return 0.0
        interval = self._interval * (1 + self._jitter)
        if status.message != before.message:
            return min(MESSAGE_GAP, interval)
        if status != before:
            return interval
        return max(HEARTBEAT * (1 - self._jitter), interval)

    def written(self, status: Status, now: float) -> None:
        """Take note that the server took this status."""
        self.written_status = status
        self._written_at = now
        self._failures = 0
        self._jitter = JITTER * self._chance()

    def busy(self, now: float, retry_after: float | None) -> None:
        """Take note that the server could not; it may name a pause in seconds."""
        pause = (
            self._growing(self._first_pause, LONGEST_PAUSE)
            if retry_after is None
            else min(retry_after, LONGEST_RETRY_AFTER)
        )
        self._hold(now, pause)

    def refused(self, now: float) -> None:
        """Take note that the server did not want to."""
        self._hold(now, self._growing(*REFUSED_PAUSES))

    def _growing(self, first: float, longest: float) -> float:
        return float(min(longest, first * 2 ** min(self._failures, 30)))

    def _hold(self, now: float, pause: float) -> None:
        self._failures += 1
        self._held_until = now + pause * (1 + JITTER * self._chance())
