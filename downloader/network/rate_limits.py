"""`RateLimits`: rate limits that servers report as exhausted (`RateLimit`). Requests beyond them are not sent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from downloader.errors import Throttled
from downloader.network.errors import host_of
from downloader.network.retry_after import window_left

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.network.url import Address, Origin

API = "/api/"
"""The Hub limits its API separately: when a listing has exhausted that limit, files can still be fetched."""


class RateLimits:
    """The ends of exhausted windows, by origin and kind of request. For many threads."""

    def __init__(self, longest: float) -> None:
        """Ignore windows of more than `longest` seconds: the user may not want to wait for their end."""
        self._longest = longest
        self._ends: dict[tuple[Origin, bool], float] = {}

    def note(self, address: Address, headers: Mapping[str, str]) -> None:
        """Record the rate limit that a response reports."""
        left = window_left(headers)
        if left and left <= self._longest:
            self._ends[_kind(address)] = time.monotonic() + left

    def left(self, address: Address) -> float:
        """Return the seconds until the next request is allowed; 0 if it is allowed now."""
        if not self._ends:
            return 0.0
        return max(0.0, self._ends.get(_kind(address), 0.0) - time.monotonic())

    def check(self, address: Address) -> None:
        """Raise Throttled if the limit is exhausted."""
        left = self.left(address)
        if left:
            host = host_of(address.url)
            raise Throttled(f"{host} allows no more requests for {left:.0f} s (RateLimit)", retry_after=left)


def _kind(address: Address) -> tuple[Origin, bool]:
    return address.origin, API in address.target.partition("?")[0]
