"""What a thread has asked for ahead: it gets the answers in the order of its requests, or does without them."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx2

    from downloader.wire.channel import Channel
    from downloader.wire.connection import Origin
    from downloader.wire.ranges import RangeRequest


class Ahead(threading.local):
    """What one thread has asked for and not taken yet, on one connection."""

    def __init__(self) -> None:
        self.origin: Origin | None = None
        self.channel: Channel | None = None
        self.requests: deque[httpx2.Request] = deque()
        """Those that are still to be answered, in order."""

    def start(self, origin: Origin, channel: Channel, requests: Sequence[httpx2.Request]) -> None:
        """Begin with requests that are about to be sent."""
        self.origin, self.channel, self.requests = origin, channel, deque(requests)

    def next(self, request: httpx2.Request) -> Channel | None:
        """Return the connection on which this very request is answered next, if there is one."""
        if not self.requests or self.requests[0] is not request:
            return None
        if self.channel is None or self.channel.closed:
            self.drop()
            return None
        self.requests.popleft()
        return self.channel

    def drop(self) -> None:
        """Do without the answers that have not been taken."""
        if self.channel is not None and self.requests:
            self.channel.close()
        self.requests.clear()
        self.channel = None


class Announced(threading.local):
    """Requests of one thread that were sent ahead, the next one last."""

    def __init__(self) -> None:
        self.waiting: list[tuple[RangeRequest, str, httpx2.Request]] = []

    def take(self, request: RangeRequest, url: str) -> httpx2.Request | None:
        """Return the request as it was sent, if it is the next one."""
        if not self.waiting:
            return None
        announced, where, ready = self.waiting[-1]
        if where != url or announced != request:
            return None
        self.waiting.pop()
        return ready
