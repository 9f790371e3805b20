"""`Prefetcher`: requests the ranges that a thread will open next, and follows their redirects ahead of it."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from downloader.errors import DownloadError
from downloader.network.messages import MAX_ERROR_BODY
from downloader.network.pipelining import Hint, PrefetchHints
from downloader.network.redirects import FOREIGN, redirect_target, request_for
from downloader.network.url import address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from downloader.network.messages import Request, RequestBuilder
    from downloader.network.ranges import RangeRequest
    from downloader.network.transport import SocketTransport
    from downloader.network.url import Address, Origin

WORTH_A_ROUND_TRIP = 1 << 20
"""Bytes. A longer range takes longer to arrive than a short round trip, so its request need not be pipelined."""


class Prefetcher:
    """Pipelines announced ranges, for many threads."""

    def __init__(
        self,
        transport: SocketTransport,
        builder: RequestBuilder,
        location: Callable[[str], str | None],
        is_far: Callable[[Origin], bool],
        seconds: float,
    ) -> None:
        """`location` returns where a URL is known to have redirected to, `is_far` whether a round trip takes long.

        For at most `seconds`, redirects of further files are read before the first file is fetched.
        """
        self._transport = transport
        self._builder = builder
        self._location = location
        self._is_far = is_far
        self._seconds = seconds
        self._hints = PrefetchHints()

    def prefetch(self, requests: Sequence[RangeRequest]) -> None:
        """Pipeline the ranges that the calling thread will open next: see `HttpClient.prefetch`."""
        hints = self._hints.following(requests)
        origin = hints[0].ready.address.origin if hints else None
        with contextlib.suppress(*FOREIGN):
            for request in requests[len(hints) :]:
                url = self._location(request.url) or request.url
                where = address(url)
                if len(request.span) > WORTH_A_ROUND_TRIP and not self._is_far(where.origin):
                    break  # from a server nearby a long range is best requested when there is time to read it
                origin = where.origin if origin is None else origin
                if where.origin != origin:
                    break  # one connection leads to one origin, and its credentials are for no other
                hints.append(Hint(request, url, self._get(request, where)))
        self._hints.replace(hints)
        self._transport.prefetch([hint.ready for hint in hints if hint.response is None])

    def take(self, request: RangeRequest, url: str) -> Hint | None:
        """Return what was announced of a range that is read from `url` now, if it is the next one."""
        return self._hints.take(request, url)

    def look_ahead(self, request: RangeRequest, target: Address) -> Request | None:
        """Read the redirects of the files that will be opened next, and pipeline the requests that they lead to.

        The Hub redirects each file, so else each would take a round trip of its own. `target` is where that of the file
        that is being opened has led; returns its next request, None where there is nothing to read ahead.
        """
        ahead = [hint for hint in self._hints.waiting if hint.at is None]
        if not ahead or self._transport.pipelined < len(ahead) or not all(_is_small(hint.request) for hint in ahead):
            return None
        first = self._get(request, target)
        followed = [first]
        latest = time.monotonic() + self._seconds
        for hint in ahead:
            # A slow server must not keep the first file waiting until it has answered for all of them.
            if time.monotonic() > latest or not self._follow(hint):
                return first
            if hint.ready.address.origin == target.origin:
                followed.append(hint.ready)
        self._transport.prefetch(followed)
        return first

    def _follow(self, hint: Hint) -> bool:
        """Read the response to a pipelined request; return whether it is a redirect, which is followed then."""
        hint.response = response = self._transport.receive_ahead(hint.ready)
        if response is None:
            return False
        if not response.redirects or response.length is None or response.length > MAX_ERROR_BODY:
            return False
        try:
            target = redirect_target(hint.ready.address, response.headers["location"])
            following = self._get(hint.request, target)
        except (*FOREIGN, DownloadError):
            return False  # it is raised when the file is opened
        response.drain(MAX_ERROR_BODY)
        hint.response, hint.at, hint.ready = None, target, following
        return True

    def _get(self, request: RangeRequest, where: Address) -> Request:
        """Return the request for a range at one address, which its server may have named."""
        home = address(request.url).origin
        return request_for(self._builder, "GET", where, home, request.headers, request.range_headers())


def _is_small(request: RangeRequest) -> bool:
    """Tell whether it is a whole file: the place of one that comes in ranges is asked for once."""
    return request.whole and len(request.span) <= WORTH_A_ROUND_TRIP
