"""Redirects: where they may lead, what is sent there, and which of them are remembered."""

from __future__ import annotations

import threading
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx2

from downloader.artifact import shown_url
from downloader.errors import ProtocolFailed
from downloader.network.errors import map_exception
from downloader.network.messages import MAX_ERROR_BODY
from downloader.network.url import address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from downloader.network.interfaces import NetworkObserver
    from downloader.network.messages import Request, RequestBuilder, StreamingResponse
    from downloader.network.pipelining import Hint
    from downloader.network.transport import SocketTransport
    from downloader.network.url import Address, Origin

MAX_REDIRECTS = 10
MAX_REMEMBERED = 65_536
"""Locations that are kept, one for each redirected file. A signed URL has about a kilobyte."""
FOREIGN = (httpx2.HTTPError, httpx2.InvalidURL)
"""What httpx2 raises: the second is not a subclass of the first."""
EXPIRED = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
)
"""Statuses with which one store or another answers a signed URL that has expired."""


def headers_for(
    target: Origin, home: Origin, private: Mapping[str, str], public: Mapping[str, str]
) -> Mapping[str, str]:
    """Return the headers of a request to `target`, to which the server at `home` may have led.

    `private` ones, such as credentials and whatever else was configured for `home`, are for `home` alone: a redirect,
    a remembered location or a link to the next page can name any server. `public` ones go everywhere.
    """
    return {**private, **public} if private and home.shares_credentials_with(target) else public


def request_for(  # noqa: PLR0917 - where to, and what is sent there
    builder: RequestBuilder,
    method: str,
    target: Address,
    home: Origin,
    private: Mapping[str, str],
    public: Mapping[str, str],
) -> Request:
    """Return a request to `target`, with the headers that it may have. Raises httpx2.LocalProtocolError."""
    return builder.build(method, target, headers_for(target.origin, home, private, public))


class RedirectFollower:
    """Sends requests and follows redirects, with credentials for the first origin only.

    The caller learns where the response came from, so that the further ranges of a file are requested there (ADR 4).
    """

    def __init__(self, transport: SocketTransport, builder: RequestBuilder, observer: NetworkObserver) -> None:
        self._transport = transport
        self._builder = builder
        self._observer = observer

    def send(
        self,
        method: str,
        url: str,
        private: Mapping[str, str],
        public: Mapping[str, str],
        *,
        home: str | None = None,
        follow: bool = True,
        ready: Request | None = None,
        hint: Hint | None = None,
        ahead: Callable[[Address], Request | None] = lambda _: None,
    ) -> tuple[StreamingResponse, bool]:
        """Return the response, and whether it came from another origin than that of `home` (`url` by default).

        `private` headers are sent to the origin of `home`, `public` ones to every origin. `ready` is the first request
        where it was pipelined, `hint` says more of it: what has been answered or followed already. `ahead` is told
        where a pipelined request was redirected to, and may return the next request. Raises our errors, and
        httpx2.InvalidURL for `url`.
        """
        origin = address(home or url).origin
        self._transport.allow_host(origin.host)
        current, received = address(url), None
        if hint is not None:
            current, ready, received = hint.at or current, hint.ready, hint.response
        cookies = ""
        for _ in range(MAX_REDIRECTS + 1):
            response = received
            if response is None:
                request = ready or request_for(self._builder, method, current, origin, private, public)
                response = self._exchange(request, home or url)
            if not follow or not response.redirects:
                return response, current.origin != origin
            response.drain(MAX_ERROR_BODY)
            if "set-cookie" in response.headers:
                # Login pages redirect in a circle until a cookie comes back.
                cookies = "the server sets a cookie on the way, and cookies are not kept"
            current = redirect_target(current, response.headers["location"])
            # A thread that has pipelined one request has announced more, and they may be redirected as well.
            ready, received = ahead(current) if ready is not None else None, None
        raise ProtocolFailed(f"{shown_url(url)} redirects more than {MAX_REDIRECTS} times", hint=cookies)

    def _exchange(self, request: Request, url: str) -> StreamingResponse:
        """Send a request on the way to `url`. Raises our errors."""
        try:
            self._observer.on_request(request.address.authority)
            return self._transport.send(request)
        except FOREIGN as error:
            raise map_exception(error, url, request.address.url) from error


def redirect_target(current: Address, location: str) -> Address:
    """Return where a redirect leads. Raises ProtocolFailed if it must not be followed."""
    where = shown_url(current.url)
    try:
        target = current.join(location)
    except httpx2.InvalidURL as error:
        raise ProtocolFailed(f"{where} redirects to what is not an address: {error}") from error
    scheme = target.origin.scheme
    if scheme not in ("http", "https"):
        raise ProtocolFailed(f"{where} redirects to {scheme}://, which is not followed")
    if not target.origin.host or not target.origin.port:
        raise ProtocolFailed(f"{where} redirects to what is not an address: no host, or port 0")
    if current.origin.loses_tls_at(target.origin):
        raise ProtocolFailed(f"{where} redirects from https to http, which is not followed")
    return target


class RememberedLocations:
    """Where URLs have redirected to, for the further ranges of the same files. For many threads.

    Otherwise each range would cost a second request at the origin, which may limit their rate. A location may be a
    signed URL that expires: the client forgets it then, and asks the origin again.
    """

    def __init__(self) -> None:
        self._locations: dict[str, str] = {}
        self._lock = threading.Lock()

    def get(self, url: str) -> str | None:
        """Return the location of a URL, None if it is not known."""
        return self._locations.get(url)

    def remember(self, url: str, location: str) -> None:
        """Keep a location."""
        with self._lock:
            if len(self._locations) >= MAX_REMEMBERED:
                self._locations.clear()  # each file asks its origin once more
            self._locations[url] = location

    def forget(self, url: str) -> None:
        """Drop a location that did not work."""
        with self._lock:
            self._locations.pop(url, None)
