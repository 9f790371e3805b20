"""How often a member looks at what the others do, and how much it claims at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.deadlines import SHARD_POLL

if TYPE_CHECKING:
    from downloader.progress import ProgressMeter

CLAIMED_BYTES = 64 << 20
"""Bytes of neighbouring pieces at most that are claimed together: they come with one request."""
CLAIMED_SECONDS = 0.25
"""In which they come at the present rate: a slow member must not keep much from the others."""
CLAIMS_LEFT = 4
"""Such claims that remain for each member at least, so that all end at about the same time."""
BUSY_FACTOR = 4
"""Pauses between two looks at what the others do, while this member has work of its own and meets no other member."""


class Pace:
    """The pace of one member. For one thread."""

    def __init__(self, meter: ProgressMeter) -> None:
        self._meter = meter
        self._looked = meter.clock()
        self._received = meter.own_received_bytes
        self._rate = 0.0
        """Bytes per second that came between the last two looks."""

    def look(self) -> None:
        """Begin the time between two looks: this is one."""
        now, received = self._meter.clock(), self._meter.own_received_bytes
        self._rate = (received - self._received) / max(now - self._looked, SHARD_POLL)
        self._looked, self._received = now, received

    def until_look(self, pause: float, *, busy: bool = True) -> float:
        """Return the seconds until the next look is due; 0 if it is.

        `pause` is that between two looks of a member that waits for others, or that meets them unless it is `busy`.
        """
        return max(0.0, self._looked + pause * (BUSY_FACTOR if busy else 1) - self._meter.clock())

    def most(self, piece: int, left: int, members: int) -> int:
        """Return how many neighbouring pieces to claim together, of `left` pieces of `piece` bytes each."""
        soon = min(CLAIMED_BYTES, int(self._rate * CLAIMED_SECONDS))
        return max(1, min(soon // piece, left // (CLAIMS_LEFT * members)))
