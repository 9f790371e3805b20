"""What a thread has asked for ahead: it gets the answers in the order of its requests, or does without them."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from downloader.network.connection import Connection
    from downloader.network.messages import Request
    from downloader.network.ranges import RangeRequest


class Pipeline(threading.local):
    """What one thread has asked for and not taken yet, on one connection."""

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.requests: deque[Request] = deque()
        """Those that are still to be answered, in order."""

    @property
    def count(self) -> int:
        """How many are still to be answered; none where the connection was ended."""
        return len(self.requests) if self.connection is not None and not self.connection.closed else 0

    def start(self, connection: Connection) -> None:
        """Begin on a connection."""
        connection.responses = 0
        self.connection = connection

    def following(self, requests: Sequence[Request]) -> int:
        """Return how many are still to be answered, if `requests` begin with them; else 0."""
        count = self.count
        same = len(requests) >= count and all(one is other for one, other in zip(self.requests, requests, strict=False))
        return count if same else 0

    def send(self, requests: Sequence[Request], heads: bytes) -> None:
        """Send more of them. Raises OSError."""
        if self.connection is not None:
            now = time.monotonic()
            for request in requests:
                request.pipelined_at = now
            self.requests.extend(requests)
            self.connection.send(heads)

    def next(self, request: Request) -> Connection | None:
        """Return the connection on which this very request is answered next, if there is one."""
        if not self.requests or self.requests[0] is not request:
            return None
        if self.connection is None or self.connection.closed:
            self.drop()
            return None
        self.requests.popleft()
        return self.connection

    def drop(self) -> None:
        """Do without the answers that have not been taken."""
        if self.connection is not None and self.requests:
            self.connection.close()
        self.requests.clear()
        self.connection = None


class PrefetchHints(threading.local):
    """Requests of one thread that were sent ahead, the next one last."""

    def __init__(self) -> None:
        self.waiting: list[tuple[RangeRequest, str, Request]] = []

    def following(self, requests: Sequence[RangeRequest]) -> list[tuple[RangeRequest, str, Request]]:
        """Return what is waiting if `requests` begin with it, else nothing."""
        waiting = self.waiting[::-1]
        return waiting if [request for request, _, _ in waiting] == list(requests[: len(waiting)]) else []

    def take(self, request: RangeRequest, url: str) -> Request | None:
        """Return the request as it was sent, if it is the next one."""
        if not self.waiting:
            return None
        prefetched, where, ready = self.waiting[-1]
        if where != url or prefetched != request:
            return None
        self.waiting.pop()
        return ready
