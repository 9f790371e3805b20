"""Pipelining: several requests on one connection before their responses (RFC 9112, section 9.3.2; ADR 20).

A small file takes one round trip, and almost no time besides. With sixteen requests on the way, a thread waits for one
round trip and not for sixteen. There is one `Pipeline` and one list of hints for each thread, so neither has a lock:

- A worker calls `HttpClient.prefetch` with the ranges that it will open next. The requests go out at once, on one
  connection that belongs to this thread until its last response is read.
- HTTP/1.1 has no request ids: the n-th response is for the n-th request. So a thread must open its ranges in the order
  in which it announced them, and read each body to its end before it opens the next. A pipelined request is recognized
  by identity: `SocketTransport.send` reads a response from the pipeline only for the very object that is next in it.
- A different request goes over another connection and leaves the pipeline as it is.
- When a response breaks, when its body is not read to its end, or when the next hint does not continue the last one,
  the connection is closed: the responses still on their way could be taken for others. Their ranges are requested
  again when they are opened. So a wrong hint costs bytes and is not an error.
- A server that answers out of order sends the bytes of another file. The transport announces only files with a digest,
  which shows that, and fetches a damaged file again without pipelining.
- Only GET and HEAD without a body are pipelined: they may be repeated when the connection breaks.
- Servers may read one request and forget what they received behind it. A server is believed to pipeline once it has
  sent a second response on such a connection. Until then each response must begin within `Timeouts.pipelined`; if it
  does not, the request is sent again on another connection, and this server's requests are not pipelined any more.
- Where files are redirected, as the Hub does it, the redirects of all announced files are read before the first of
  them is opened, and the requests that follow are pipelined as well (`Prefetcher.look_ahead`). A response that is no
  redirect waits until its file is opened, and nothing behind it is read before that.
- Nothing is pipelined through a proxy for plain HTTP, since it is another server that would have to support it, nor
  while the server's rate limit is exhausted.

The hint belongs to the calling thread and is not an argument of `open`, since sources are wrapped: retries, the
concurrency limit and the bandwidth limit all pass `open` on, one range at a time, and each of them may decide that a
range is not opened at all. An explicit batch would give every wrapper a queue of bodies whose order it must keep.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from downloader.network.connection import Connection
    from downloader.network.messages import Request, StreamingResponse
    from downloader.network.ranges import RangeRequest
    from downloader.network.url import Address


class Pipeline(threading.local):
    """The requests of one thread that were sent on one connection and are not answered yet, in order."""

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.requests: deque[Request] = deque()

    @property
    def count(self) -> int:
        """How many responses are still to come; 0 where the connection was closed."""
        return len(self.requests) if self.connection is not None and not self.connection.closed else 0

    def start(self, connection: Connection) -> None:
        """Begin on a connection from the pool."""
        connection.responses = 0
        self.connection = connection

    def following(self, requests: Sequence[Request]) -> int:
        """Return how many responses are still to come if `requests` begin with theirs; else 0."""
        count = self.count
        return count if list(self.requests) == list(requests[:count]) else 0

    def send(self, requests: Sequence[Request], heads: bytes) -> None:
        """Send more requests, whose heads are `heads`. Raises OSError."""
        if self.connection is not None:
            # One time for all: a Retry-After in a response counts from when its request was sent, not read.
            now = time.monotonic()
            for request in requests:
                request.pipelined_at = now
            self.requests.extend(requests)
            self.connection.send(heads)

    def next(self, request: Request) -> Connection | None:
        """Return the connection whose next response is for this very request, if there is one."""
        if not self.requests or self.requests[0] is not request:
            return None
        if self.connection is None or self.connection.closed:
            # A response was not read to its end, so the ones behind it are lost.
            self.drop()
            return None
        self.requests.popleft()
        return self.connection

    def drop(self) -> None:
        """Forget the responses that are still to come. The connection is closed, unless there are none."""
        if self.connection is not None and self.requests:
            self.connection.close()
        self.requests.clear()
        self.connection = None


class Hint:
    """A range that a thread announced."""

    __slots__ = ("at", "ready", "request", "response", "url")

    def __init__(self, request: RangeRequest, url: str, ready: Request) -> None:
        self.request = request
        self.url = url
        """Where it is to be read from."""
        self.ready = ready
        """The request that was sent for it, or the one that its redirect leads to."""
        self.at: Address | None = None
        """Where its redirect has led; None before that was read."""
        self.response: StreamingResponse | None = None
        """The response to `ready`, if that was read already."""


class PrefetchHints(threading.local):
    """The ranges that one thread announced."""

    def __init__(self) -> None:
        self._waiting: list[Hint] = []
        """The next one last, since that is where a list is popped."""

    @property
    def waiting(self) -> list[Hint]:
        """What is still to be opened, in order."""
        return self._waiting[::-1]

    def following(self, requests: Sequence[RangeRequest]) -> list[Hint]:
        """Return what is waiting, in order, if `requests` begin with it; else nothing."""
        waiting = self.waiting
        return waiting if [hint.request for hint in waiting] == list(requests[: len(waiting)]) else []

    def replace(self, hints: Sequence[Hint]) -> None:
        """Forget what was announced before, and expect these ranges."""
        for hint in self._waiting:
            if hint.response is not None and hint not in hints:
                hint.response.close()
        self._waiting = list(reversed(hints))

    def take(self, request: RangeRequest, url: str) -> Hint | None:
        """Return the hint, if this range is the next one and is still to be read from `url`."""
        if not self._waiting:
            return None
        hint = self._waiting[-1]
        if hint.url != url or hint.request != request:
            # A retry of an earlier range, or the location has expired meanwhile: what follows may still be taken.
            return None
        return self._waiting.pop()
