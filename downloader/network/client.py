"""`HttpClient`: small responses read whole, byte ranges as bodies, and pipelining for both."""

from __future__ import annotations

import contextlib
from collections import deque
from functools import partial
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import httpx2

from downloader.errors import DownloadError, SourceUnavailable, Throttled
from downloader.network.errors import HttpStatusError, map_exception, map_status
from downloader.network.httpx_adapter import LibraryTransport, check_redirect, stay_on_the_route
from downloader.network.interfaces import ANY_CONTENT, NOT_OBSERVED
from downloader.network.messages import MAX_ERROR_BODY, RequestBuilder, read_whole
from downloader.network.pool import Pool, Timeouts
from downloader.network.prefetch import Prefetcher
from downloader.network.ranges import RangeRequest, SpanBody, checked_body, unsatisfied, was_decompressed
from downloader.network.redirects import EXPIRED, FOREIGN, RedirectFollower, RememberedLocations
from downloader.network.streams import StreamBody, stream_body
from downloader.network.transport import SocketTransport
from downloader.network.url import address

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from downloader.network.interfaces import ContentRules, NetworkObserver
    from downloader.network.messages import Request, StreamingResponse
    from downloader.network.proxies import Proxies
    from downloader.network.tls import Trust
    from downloader.network.url import Origin

MAX_RESPONSE = 64 << 20
MAX_TOTAL = 1 << 30
MAX_RESPONSES = 10_000
HEADS_AHEAD, HEADS_AT_ONCE = 128, 32
"""Requests for heads that may be pipelined on one connection, whose responses fit into its buffers; sent in groups."""
BAD_REQUEST = int(HTTPStatus.BAD_REQUEST)
UNENCODED = {"accept-encoding": "identity"}


class Response(NamedTuple):
    """A small response, read whole. `url` is where the last redirect led."""

    status: int
    url: str
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes
    complete: bool = True
    """Whether the end of the body is certain. Where the connection just ended, bytes may be missing."""
    truncated: bool = False
    """Whether the body is longer: only its beginning was read."""

    def status_error(self) -> HttpStatusError:
        """Return the error that its status is, for a caller that expected another one."""
        return HttpStatusError(self.status, self.url, self.headers, self.body)


class HttpClient:
    """One for a run, for all threads. It does not retry: that is the sources' wrapper."""

    def __init__(
        self,
        tls: Trust,
        proxies: Proxies,
        *,
        user_agent: str,
        timeouts: Timeouts | None = None,
        observer: NetworkObserver = NOT_OBSERVED,
        content: ContentRules = ANY_CONTENT,
    ) -> None:
        """Report requests and responses that are read whole to `observer`; check files by the rules for `content`."""
        self._observer = observer
        self._content = content
        self._pool = Pool(tls, proxies, timeouts or Timeouts())
        self.transport = SocketTransport(self._pool)
        self._user_agent = user_agent
        self._builder = RequestBuilder({"accept": "*/*", "user-agent": user_agent})
        self._follower = RedirectFollower(self.transport, self._builder, observer)
        self._locations = RememberedLocations()
        self._prefetcher = Prefetcher(
            self.transport, self._builder, self._locations.get, self._pool.is_far, self._pool.timeouts.look_ahead
        )

    def heads(
        self, urls: Sequence[str], headers: Mapping[str, str], *, follow: bool = True
    ) -> Generator[Response | SourceUnavailable]:
        """Send HEAD for each URL, many of them pipelined. Yields what `fetch` returns, or its SourceUnavailable.

        Raises every other error of `fetch`.
        """
        requests = self._builder.build_many("HEAD", map(address, urls), {**headers, **UNENCODED})
        waiting: deque[Request] = deque()
        try:
            for number, url in enumerate(urls):
                # Once for each group and not for each URL, except where the server has closed the connection.
                if number % HEADS_AT_ONCE == 0 or not self.transport.pipelined:
                    with contextlib.suppress(*FOREIGN):  # `fetch` raises it when it is the URL's turn
                        waiting.extend(islice(requests, HEADS_AHEAD - len(waiting)))
                    self.transport.prefetch(list(waiting))
                ready = waiting.popleft() if waiting else None
                try:
                    found: Response | SourceUnavailable = self.fetch(
                        url, method="HEAD", headers=headers, limit=0, follow=follow, ready=ready
                    )
                except SourceUnavailable as error:
                    found = error
                yield found
        finally:
            self.transport.prefetch([])

    def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        public_headers: Mapping[str, str] | None = None,
        limit: int = MAX_RESPONSE,
        truncate: bool = False,
        follow: bool = True,
        ready: Request | None = None,
    ) -> Response:
        """Return a small response, whatever its status below 500; with `limit=0` only its head is read.

        `headers` are sent to the URL's own origin only, `public_headers` to every origin that it redirects to. With
        `follow=False` a redirect is a response like any other. `ready` is the request where it was pipelined.

        Raises SourceUnavailable, Throttled, UntrustedServer, ConfigurationError; ProtocolFailed for a body of more
        than `limit` bytes, unless `truncate` lets it read only the beginning.
        """
        try:
            public = {**UNENCODED, **(public_headers or {})}
            response, _ = self._follower.send(method, url, headers or {}, public, follow=follow, ready=ready)
        except FOREIGN as error:
            raise map_exception(error, url) from error
        where = response.address.url
        try:
            body = read_whole(response, limit + truncate, self._observer, truncate=truncate) if limit else b""
        except FOREIGN as error:
            raise map_exception(error, url, where) from error
        finally:
            response.drain(MAX_ERROR_BODY)
        self._observer.on_response()
        if response.status >= BAD_REQUEST:
            status_error = map_status(response.status, where, response.headers, body, response.asked_at)
            if isinstance(status_error, SourceUnavailable):
                raise status_error
        complete = not limit or response.complete
        return Response(response.status, where, response.headers, body[:limit], complete, truncated=len(body) > limit)

    def open(self, request: RangeRequest) -> SpanBody | StreamBody:
        """Start reading a range. Raises HttpStatusError for statuses that only the source can interpret."""
        known = self._locations.get(request.url)
        if known is not None:
            try:
                return self._open(request, known)
            except HttpStatusError as error:
                if error.status not in EXPIRED:
                    raise
                self._locations.forget(request.url)
            except Throttled:
                raise
            except SourceUnavailable:
                self._locations.forget(request.url)  # the origin may name a better one when this is retried
                raise
        return self._open(request, request.url)

    def _open(self, request: RangeRequest, url: str) -> SpanBody | StreamBody:
        hint = self._prefetcher.take(request, url)
        try:
            response, crossed = self._follower.send(
                "GET",
                url,
                request.headers,
                request.range_headers(),
                home=request.url,
                hint=hint,
                ahead=partial(self._prefetcher.look_ahead, request),
            )
        except FOREIGN as error:
            raise map_exception(error, url) from error
        if crossed:
            request = request._replace(at=response.address.url)
        try:
            if not response.is_success:
                raise self._status_error(request, response)
            if was_decompressed(request, response.headers):
                response.close()
                return self._open(request._replace(as_stored=True), url)
            body: SpanBody | StreamBody
            if request.size is None:
                body = stream_body(request, response, self._content)
            else:
                body = checked_body(request, response, self._content, self._observer)
        except DownloadError:
            response.close()
            raise
        if crossed:
            self._locations.remember(request.url, response.address.url)
        return body

    def prefetch(self, requests: Sequence[RangeRequest]) -> None:
        """Pipeline the ranges that the calling thread will `open` next, in this order.

        Ranges of an earlier call that were not opened yet must come first again; otherwise they are dropped. Nothing
        is raised, and where pipelining is impossible, each range is requested when it is opened.
        """
        self._prefetcher.prefetch(requests)

    def _status_error(self, request: RangeRequest, response: StreamingResponse) -> DownloadError:
        if response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return unsatisfied(request, response.headers)
        try:
            body = read_whole(response, MAX_ERROR_BODY, self._observer, truncate=True)
        except (httpx2.HTTPError, DownloadError):
            body = b""
        return map_status(response.status, response.address.url, response.headers, body, response.asked_at)

    @property
    def asked(self) -> list[Origin]:
        """The servers that were asked so far, or would have been if they could be reached, in this order."""
        return list(self._pool.asked)

    def library_client(
        self, limit: int = MAX_RESPONSE, total: int = MAX_TOTAL, responses: int = MAX_RESPONSES
    ) -> httpx2.Client:
        """Return a client for a library that uses httpx2, with our connections, errors and limits.

        Error statuses and broken connections are raised as our errors, so that the library does not retry by itself
        and each source interprets statuses in one place. The same holds for a response of more than `limit` bytes, for
        more than `total` bytes together and for more than `responses` responses: a listing may have no end.
        """
        return httpx2.Client(
            transport=LibraryTransport(self.transport, self._observer, limit=limit, total=total, responses=responses),
            follow_redirects=True,
            headers={"user-agent": self._user_agent},
            cookies=_no_cookies(),
            trust_env=False,
            event_hooks={"response": [check_redirect, stay_on_the_route]},
        )

    def interrupt(self) -> None:
        """End every exchange that is under way, from any thread: threads that wait for a response get an error."""
        self._pool.interrupt()

    def abort(self) -> None:
        """Do the same for good: no further request is sent."""
        self._pool.abort()

    def close(self) -> None:
        """Close idle connections."""
        self.transport.close()


def _no_cookies() -> CookieJar:
    """Return a jar that keeps no cookie: no source needs any, and httpx2 fails on malformed ones."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))
