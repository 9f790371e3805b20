"""`SocketTransport`: sends requests over pooled connections, one at a time or pipelined."""

from __future__ import annotations

import http.client
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx2

from downloader.errors import ProtocolFailed
from downloader.formatting import reason
from downloader.network.h1 import field_lines, request_head
from downloader.network.messages import UNSENDABLE, StreamingResponse, malformed
from downloader.network.pipelining import Pipeline
from downloader.network.rate_limits import RateLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from downloader.network.connection import Connection
    from downloader.network.messages import Request
    from downloader.network.pool import Pool
    from downloader.network.url import Origin


_PROXY_AUTHENTICATION_REQUIRED = int(HTTPStatus.PROXY_AUTHENTICATION_REQUIRED)


class SocketTransport:
    """Sends requests, for many threads. Timeouts are the pool's: a caller cannot switch them off."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._pipeline = Pipeline()
        self._proven: set[Origin] = set()
        """Servers that answered a request which was sent behind another."""
        self._unpipelined: set[Origin] = set()
        """Servers that did not: their requests are not pipelined any more."""
        self._rate_limits = RateLimits(pool.timeouts.rate_limit)

    def prefetch(self, requests: Sequence[Request]) -> None:
        """Pipeline requests without a body; the calling thread must `send` the same objects next, in this order.

        Requests of an earlier call that were not sent yet must come first again; otherwise they are dropped. Nothing is
        raised: where pipelining fails, `send` sends the request as usual. Raises ValueError for several origins.
        """
        asked = self._pipeline.following(requests)
        if not asked:
            self._pipeline.drop()
        elif asked == len(requests):
            return
        if len(requests) < 2:  # noqa: PLR2004 - a single one gains nothing
            return
        origin = requests[0].address.origin
        if origin in self._unpipelined or self._pool.proxied(origin) is not None:
            return
        if self._rate_limits.left(requests[0].address):
            return
        if any(request.address.origin != origin for request in requests[asked:]):
            raise ValueError("requests to several origins cannot go over one connection")
        try:
            heads = [self._head(request) for request in requests[asked:]]
            if not asked:
                self._pipeline.start(self._pool.take(origin)[0])
            self._pipeline.send(requests[asked:], b"".join(heads))
        except (OSError, ValueError, httpx2.TransportError, ProtocolFailed):
            self._pipeline.drop()  # `send` raises the same error where it concerns the request

    def allow_host(self, host: str) -> None:
        """Allow any address for a host that the run itself names."""
        self._pool.allow_host(host)

    @property
    def pipelined(self) -> int:
        """How many pipelined requests of the calling thread are not answered yet."""
        return self._pipeline.count

    def send(self, request: Request) -> StreamingResponse:
        """Send one request and read the head of its response.

        A connection that the server had closed while it was idle is replaced once. Raises httpx2's errors. While the
        server's rate limit is exhausted, raises Throttled and sends nothing.
        """
        origin = request.address.origin
        if origin.scheme not in ("http", "https"):
            raise httpx2.UnsupportedProtocol(f"{origin.scheme}:// cannot be fetched over HTTP")
        connection = self._pipeline.next(request)
        if connection is not None:
            try:
                return self._receive_pipelined(connection, request)
            except httpx2.TransportError:
                self._unpipelined.add(origin)  # and send it again on another connection
        self._rate_limits.check(request.address)
        request.pipelined_at = None
        try:
            message = self._head(request) + request.body
        except ValueError as error:
            raise httpx2.LocalProtocolError(UNSENDABLE) from error
        connection, used = self._pool.take(origin)
        try:
            return self._exchange(connection, request, message)
        except NoResponse:
            if not used:
                raise
        return self._exchange(self._pool.fresh(origin), request, message)

    def receive_ahead(self, request: Request) -> StreamingResponse | None:
        """Read the head of the response to a pipelined request, if it is the next; None where that fails.

        Nothing is sent then: `send` does it when the request's turn comes.
        """
        connection = self._pipeline.next(request)
        if connection is None:
            return None
        try:
            return self._receive_pipelined(connection, request)
        except httpx2.TransportError:
            self._unpipelined.add(request.address.origin)
            self._pipeline.drop()
            return None

    def _head(self, request: Request) -> bytes:
        where = request.address
        authorization = self._pool.proxied(where.origin)
        if authorization is None:
            return request_head(request.method, where.target, request.fields)
        fields = request.fields
        if authorization:
            fields += field_lines([("Proxy-Authorization", authorization)])
        return request_head(request.method, f"{where.origin.scheme}://{where.authority}{where.target}", fields)

    def _exchange(self, connection: Connection, request: Request, message: bytes) -> StreamingResponse:
        try:
            connection.send(message)
        except Exception as error:
            connection.close()
            raise _head_error(error) from error
        return self._receive(connection, request)

    def _receive_pipelined(self, connection: Connection, request: Request) -> StreamingResponse:
        """Read a pipelined response, with a short timeout until the server has proved that it supports pipelining."""
        origin = request.address.origin
        if origin in self._proven:
            return self._receive(connection, request)
        usual = connection.timeout
        # A server that forgot the request keeps the connection open: without this, the whole read timeout passes.
        proof = self._pool.timeouts.pipelined
        connection.timeout = min(usual, proof)
        response = self._receive(connection, request)
        if not connection.closed:
            connection.timeout = usual
        if connection.responses > 1:
            self._proven.add(origin)
        return response

    def _receive(self, connection: Connection, request: Request) -> StreamingResponse:
        try:
            head, body = connection.receive(request.method)
        except Exception as error:
            connection.close()
            raise _head_error(error) from error
        by_proxy = head.status == _PROXY_AUTHENTICATION_REQUIRED
        refused = self._pool.wants_password(request.address.origin) if by_proxy else None
        if refused is not None:
            connection.close()
            raise refused
        self._rate_limits.note(request.address, head.fields)
        response = StreamingResponse(request.address, head, connection, body, self._keep)
        response.asked_at = request.pipelined_at
        return response

    def _keep(self, origin: Origin, connection: Connection) -> None:
        if connection is self._pipeline.connection:
            if self._pipeline.requests:
                return  # it belongs to this thread until the last response is read
            self._pipeline.drop()
        self._pool.give(origin, connection)

    def close(self) -> None:
        """Close idle connections."""
        self._pool.close()


class NoResponse(httpx2.ReadError):
    """The server closed the connection without a response, as it does with one that was idle for too long."""


def _head_error(error: Exception) -> httpx2.TransportError:
    """Return httpx2's error for what sending a request or reading the head of its response raised."""
    if isinstance(error, TimeoutError):
        return httpx2.ReadTimeout("no answer within the time")
    if isinstance(error, http.client.RemoteDisconnected | ConnectionResetError | BrokenPipeError | ssl.SSLEOFError):
        return NoResponse("the server closed the connection without an answer")
    if isinstance(error, http.client.HTTPException):
        return httpx2.RemoteProtocolError(malformed(error))
    if isinstance(error, OSError):
        return httpx2.ReadError(reason(error))
    return httpx2.LocalProtocolError(UNSENDABLE)
