"""`HttpClient`: how the sources talk HTTP. Small replies whole, spans as bodies, redirects only where they are safe."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from itertools import islice
from typing import TYPE_CHECKING

import httpx2

from downloader.artifact import shown_url
from downloader.errors import DownloadError, ProtocolFailed, SourceUnavailable, Throttled
from downloader.network.errors import HttpStatusError, map_exception, map_status
from downloader.network.httpx_adapter import LibraryTransport, stay_on_the_route
from downloader.network.interfaces import ANY_CONTENT, NOT_OBSERVED
from downloader.network.messages import Request, lines, read_whole
from downloader.network.pipelining import PrefetchHints
from downloader.network.pool import Pool, Timeouts
from downloader.network.ranges import RangeRequest, SpanBody, checked_body, unsatisfied, was_decompressed
from downloader.network.streams import StreamBody, stream_body
from downloader.network.transport import SocketTransport
from downloader.network.url import address

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

    from downloader.network.interfaces import ContentRules, NetworkObserver
    from downloader.network.messages import StreamingResponse
    from downloader.network.proxies import Proxies
    from downloader.network.tls import Trust
    from downloader.network.url import Address

MAX_REDIRECTS = 10
MAX_REMEMBERED = 65_536
MAX_REFUSAL_BODY = 4096
MAX_REPLY = 64 << 20
MAX_TOTAL = 1 << 30
MAX_ANSWERS = 10_000
HEADS_AHEAD, HEADS_AT_ONCE = 128, 32
"""Requests for heads that may be on the way on one connection, whose answers fit into its buffers; sent in groups."""
WORTH_A_ROUND_TRIP = 1 << 20
"""Bytes whose coming takes longer than a short round trip."""
UNPACKED = {"accept-encoding": "identity"}
FOREIGN = (httpx2.HTTPError, httpx2.InvalidURL)
"""What httpx2 raises: the second is no child of the first."""
EXPIRED = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
)
"""What a signed address that has run out is answered with, by one store or the other."""


@dataclass(frozen=True, slots=True)
class Response:
    """A small answer, read whole. `url` is where the last redirect led."""

    status: int
    url: str
    headers: Mapping[str, str]
    body: bytes
    complete: bool = True
    """The end of the body is certain; False where the connection just ended, so that it may have been cut."""
    cut: bool = False
    """The body is longer: only its beginning was read."""


class HttpClient:
    """One per run, for all threads. Knows no retries: those are the sources' wrapper."""

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
        """Tell `observer` of requests and of responses that are read whole; judge files by the rules for `content`."""
        self._observer = observer
        self._content = content
        self._pool = Pool(tls, proxies, timeouts or Timeouts())
        self.transport = SocketTransport(self._pool)
        self._usual = {"accept": "*/*", "user-agent": user_agent}
        self._locations: dict[str, str] = {}
        self._hints = PrefetchHints()
        self._lock = threading.Lock()

    def heads(
        self, urls: Sequence[str], headers: Mapping[str, str], *, follow: bool = True
    ) -> Generator[Response | SourceUnavailable]:
        """Ask for the heads of these answers, for many of them ahead. Yields what `fetch` returns, or passing trouble.

        Raises what else `fetch` raises.
        """
        requests = self._requests("HEAD", map(address, urls), {**headers, **UNPACKED})
        waiting: deque[Request] = deque()
        try:
            for url in urls:
                if self.transport.pipelined <= HEADS_AHEAD - HEADS_AT_ONCE:
                    with contextlib.suppress(*FOREIGN):
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
        limit: int = MAX_REPLY,
        cut: bool = False,
        follow: bool = True,
        ready: Request | None = None,
    ) -> Response:
        """Return a small answer, whatever its status below 500; with `limit=0` only its head is read.

        `headers` go to the URL's own origin only, `public_headers` to wherever it redirects, unless `follow=False`.
        Raises SourceUnavailable, Throttled, UntrustedServer, ConfigurationError; ProtocolFailed beyond `limit` bytes
        unless the body may be `cut` there.
        """
        try:
            public = {**UNPACKED, **(public_headers or {})}
            response, _ = self._follow(method, url, headers or {}, public, follow=follow, ready=ready)
        except FOREIGN as error:
            raise map_exception(error, url) from error
        where = response.address.url
        try:
            body = read_whole(response, limit + cut, self._observer, cut=cut) if limit else b""
        except FOREIGN as error:
            raise map_exception(error, url, where) from error
        finally:
            response.drain(MAX_REFUSAL_BODY)
        self._observer.on_response()
        if response.status >= HTTPStatus.BAD_REQUEST:
            trouble = map_status(response.status, where, response.headers, body, response.asked_at)
            if isinstance(trouble, SourceUnavailable):
                raise trouble
        complete = not limit or response.complete
        return Response(response.status, where, response.headers, body[:limit], complete, cut=len(body) > limit)

    def open(self, request: RangeRequest) -> SpanBody | StreamBody:
        """Start reading a span. Raises Refusal for statuses that only the source can interpret."""
        known = self._locations.get(request.url)
        if known is not None:
            try:
                return self._open(request, known)
            except HttpStatusError as refusal:
                if refusal.status not in EXPIRED:
                    raise
                self._forget(request.url)
            except Throttled:
                raise
            except SourceUnavailable:
                self._forget(request.url)  # the origin may know a better one the next time
                raise
        return self._open(request, request.url)

    def _open(self, request: RangeRequest, url: str) -> SpanBody | StreamBody:
        ready = self._hints.take(request, url)
        try:
            response, crossed = self._follow(
                "GET", url, request.headers, request.range_headers(), home=request.url, ready=ready
            )
        except FOREIGN as error:
            raise map_exception(error, url) from error
        if crossed:
            request = replace(request, at=response.address.url)
        try:
            if not response.is_success:
                raise self._refusal(request, response)
            if was_decompressed(request, response.headers):
                response.close()
                return self._open(replace(request, as_stored=True), url)
            opened = stream_body if request.size is None else checked_body
            body = opened(request, response, self._content)
        except DownloadError:
            response.close()
            raise
        if crossed:
            self._remember(request.url, response.address.url)
        return body

    def prefetch(self, requests: Sequence[RangeRequest]) -> None:
        """Ask at once for spans that the calling thread will `open` next, in this order; their answers then wait.

        Those that were announced and not opened yet come first again, or are let go of. Nothing is raised, and nothing
        is lost where it cannot be done.
        """
        asked = self._hints.following(requests)
        prefetched = list(asked)
        with contextlib.suppress(*FOREIGN):
            for request in requests[len(asked) :]:
                url = self._locations.get(request.url) or request.url
                where = address(url)
                if len(request.span) > WORTH_A_ROUND_TRIP and not self._pool.is_far(where.origin):
                    break  # what comes from nearby is best left with the server until there is time for it
                if prefetched and where.origin != prefetched[0][2].address.origin:
                    break  # one connection leads to one origin, and its credentials are for nobody else
                headers = request.range_headers()
                if address(request.url).origin.shares_credentials_with(where.origin):
                    headers = {**request.headers, **headers}
                prefetched.append((request, url, self._request("GET", where, headers)))
        self._hints.waiting = prefetched[::-1]
        self.transport.prefetch([ready for _, _, ready in prefetched])

    def _refusal(self, request: RangeRequest, response: StreamingResponse) -> DownloadError:
        if response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return unsatisfied(request, response.headers)
        try:
            body = read_whole(response, MAX_REFUSAL_BODY, self._observer, cut=True)
        except (httpx2.HTTPError, DownloadError):
            body = b""
        return map_status(response.status, response.address.url, response.headers, body, response.asked_at)

    def _follow(
        self,
        method: str,
        url: str,
        private: Mapping[str, str],
        public: Mapping[str, str],
        *,
        home: str | None = None,
        follow: bool = True,
        ready: Request | None = None,
    ) -> tuple[StreamingResponse, bool]:
        """Send and follow redirects; returns the answer and whether it came from another origin than `home`'s.

        `ready` is the first request where it has been made already.
        """
        origin = address(home or url).origin
        self.transport.name(origin.host)
        current = address(url)
        cookies = ""
        for _ in range(MAX_REDIRECTS + 1):
            at_home = origin.shares_credentials_with(current.origin)
            request = ready or self._request(method, current, {**private, **public} if at_home else public)
            ready = None
            try:
                self._observer.on_request(request.address.authority)
                response = self.transport.send(request)
            except FOREIGN as error:
                raise map_exception(error, home or url, current.url) from error
            if not follow or not response.redirects:
                return response, current.origin != origin
            response.drain(MAX_REFUSAL_BODY)
            if "set-cookie" in response.headers:
                cookies = "the server sets a cookie on the way, and cookies are not kept"
            current = _redirected(current, response.headers["location"])
        raise ProtocolFailed(f"{shown_url(url)} redirects more than {MAX_REDIRECTS} times", hint=cookies)

    def _request(self, method: str, where: Address, headers: Mapping[str, str]) -> Request:
        (request,) = self._requests(method, [where], headers)
        return request

    def _requests(self, method: str, where: Iterable[Address], headers: Mapping[str, str]) -> Iterator[Request]:
        """Return requests that differ in nothing but where they go. Raises httpx2.LocalProtocolError."""
        common = lines({**self._usual, **headers}.items())
        for one in where:
            yield Request(method, one, common if "host" in headers else lines([("Host", one.authority)]) + common)

    def library_client(
        self, limit: int = MAX_REPLY, total: int = MAX_TOTAL, answers: int = MAX_ANSWERS
    ) -> httpx2.Client:
        """Return a client for a library that brings httpx2 code of its own: our connections, our errors, our limits.

        Error statuses and broken connections are raised as our errors, so that no library retries by itself and
        each source judges its refusals in one place. So are answers of more than `limit` bytes, of more than `total`
        together, and more `answers` than that: listings may go on without end.
        """
        return httpx2.Client(
            transport=LibraryTransport(self.transport, self._observer, limit=limit, total=total, answers=answers),
            follow_redirects=True,
            cookies=_no_cookies(),
            trust_env=False,
            event_hooks={"response": [_check_where_it_leads, stay_on_the_route]},
        )

    def _remember(self, url: str, location: str) -> None:
        with self._lock:
            if len(self._locations) >= MAX_REMEMBERED:
                self._locations.clear()
            self._locations[url] = location

    def _forget(self, url: str) -> None:
        with self._lock:
            self._locations.pop(url, None)

    def interrupt(self) -> None:
        """End every exchange that is under way, from any thread: who waits for an answer gets an error."""
        self._pool.interrupt()

    def abort(self) -> None:
        """End every exchange, from any thread, and let none begin any more: who waits for an answer gets an error."""
        self._pool.abort()

    def close(self) -> None:
        """Close idle connections."""
        self.transport.close()


def _no_cookies() -> CookieJar:
    """Return a jar that takes none: what one server sets is nobody's business, and httpx2 stumbles over odd ones."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))


def _redirected(current: Address, location: str) -> Address:
    """Return where a redirect leads, if that may be followed."""
    where = shown_url(current.url)
    try:
        target = current.join(location)
    except httpx2.InvalidURL as error:
        raise ProtocolFailed(f"{where} redirects to what is no address: {error}") from error
    scheme = target.origin.scheme
    if scheme not in ("http", "https"):
        raise ProtocolFailed(f"{where} redirects to {scheme}://, which is not followed")
    if current.origin.scheme == "https" and scheme != "https":
        raise ProtocolFailed(f"{where} redirects from https to http, which is not followed")
    return target


def _check_where_it_leads(response: httpx2.Response) -> None:
    if response.has_redirect_location:
        _redirected(address(str(response.request.url)), response.headers["location"])
