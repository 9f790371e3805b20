"""Rate limits that are used up, as servers tell in `RateLimit`: what would be refused is not asked for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from downloader.errors import Throttled
from downloader.network.errors import host_of, window_left

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.network.url import Address, Origin

LONGEST = 600.0
"""Seconds. Of a window that lasts longer it is not certain that waiting for its end is what the user wants."""
API = "/api/"
"""What the Hub counts by itself: a listing may use its limit up, and files are still handed out."""


class RateLimits:
    """The ends of windows in which nothing is left, by origin and kind of request. For many threads."""

    def __init__(self) -> None:
        self._ends: dict[tuple[Origin, bool], float] = {}

    def note(self, address: Address, headers: Mapping[str, str]) -> None:
        """Keep what an answer says of the limit that it has counted against."""
        left = window_left(headers)
        if left and left <= LONGEST:
            self._ends[_kind(address)] = time.monotonic() + left

    def left(self, address: Address) -> float:
        """Return the seconds until there is a right to ask for this again; 0 where nothing is known against it."""
        if not self._ends:
            return 0.0
        return max(0.0, self._ends.get(_kind(address), 0.0) - time.monotonic())

    def check(self, address: Address) -> None:
        """Raise Throttled for what would be refused."""
        left = self.left(address)
        if left:
            host = host_of(address.url)
            raise Throttled(f"{host} allows no more requests for {left:.0f} s (RateLimit)", retry_after=left)


def _kind(address: Address) -> tuple[Origin, bool]:
    return address.origin, API in address.target.partition("?")[0]
