"""Our connections as a transport for libraries that use httpx2 (ADR 3): bounded responses, our errors."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2

from downloader.artifact import shown_url
from downloader.errors import ProtocolFailed
from downloader.network.content_encoding import decoded
from downloader.network.errors import map_exception, map_status
from downloader.network.messages import Request, lines, read_whole
from downloader.network.redirects import headers_for, redirect_target
from downloader.network.url import address

if TYPE_CHECKING:
    from downloader.network.interfaces import NetworkObserver
    from downloader.network.transport import SocketTransport
    from downloader.network.url import Origin

PUBLIC = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
        "user-agent",
    }
)
"""What httpx2 itself adds to a request. Any other header is a credential, or may be one."""
ABOUT_CODING = frozenset({"content-encoding", "content-length", "transfer-encoding"})


class LibraryTransport(httpx2.BaseTransport):
    """Sends a library's requests: at most `responses` responses of `limit` bytes each and `total` bytes together."""

    def __init__(
        self, inner: SocketTransport, observer: NetworkObserver, *, limit: int, total: int, responses: int
    ) -> None:
        self._inner = inner
        self._observer = observer
        self._limit = limit
        self._bytes_left = total
        self._responses_left = responses
        self._home: Origin | None = None

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request. Errors and error statuses are raised as our errors, before the library interprets them."""
        url = str(request.url)
        self._responses_left -= 1
        if self._responses_left < 0 or self._bytes_left < 0:
            raise ProtocolFailed(f"{shown_url(url)}: there is no end to this listing")
        self._guard(request)
        try:
            request.headers["accept-encoding"] = "identity"
            ours = _ours(request)
            self._observer.on_request(ours.address.authority)
            response = self._inner.send(ours)
            try:
                body = read_whole(response, self._limit, self._observer)
            finally:
                response.close()
            self._observer.on_response()
        except httpx2.HTTPError as error:
            raise map_exception(error, url) from error
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise map_status(response.status, url, response.headers, body)
        body = decoded(body, response.headers, self._limit, shown_url(url))
        self._bytes_left -= len(body)
        headers = [(name, value) for name, value in response.headers.items() if name not in ABOUT_CODING]
        return httpx2.Response(response.status, headers=headers, content=body, request=request)

    def _guard(self, request: httpx2.Request) -> None:
        """Keep private headers to the first origin: a server chooses where the next page of a listing is."""
        origin = address(str(request.url)).origin
        if self._home is None:
            self._home = origin
            self._inner.allow_host(origin.host)
        if self._home.loses_tls_at(origin):
            where = shown_url(str(request.url))
            raise ProtocolFailed(f"{where} is where a listing goes on, from https to http, which is not followed")
        public = {name: value for name, value in request.headers.items() if name in PUBLIC}
        private = {name: value for name, value in request.headers.items() if name not in PUBLIC}
        request.headers = httpx2.Headers(headers_for(origin, self._home, private, public))


def _ours(request: httpx2.Request) -> Request:
    """Return httpx2's request as our own. Raises httpx2.LocalProtocolError for characters that no field may have."""
    fields = lines((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw)
    return Request(request.method, address(str(request.url)), fields, request.read())


def stay_on_the_route(response: httpx2.Response) -> None:
    """Rewrite the link to the next page of a listing: the path of this page, with the query of the link.

    Mirrors pass on the origin's link, or one without a host or without their own prefix.
    """
    following = response.links.get("next", {}).get("url")
    if following is None:
        return
    here, query = str(response.request.url).partition("?")[0], urlsplit(following).query
    if not query:
        raise ProtocolFailed(f"{shown_url(here)} names a malformed next page")
    response.headers["link"] = f'<{here}?{query}>; rel="next"'


def check_redirect(response: httpx2.Response) -> None:
    """Raise ProtocolFailed for a redirect that must not be followed, before httpx2 does."""
    if response.has_redirect_location:
        redirect_target(address(str(response.request.url)), response.headers["location"])
