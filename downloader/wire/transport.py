"""httpx2's transport seam over `Pool`, with a response stream that reads straight into the caller's buffer."""

from __future__ import annotations

import http.client
import ssl
from typing import TYPE_CHECKING

import httpx2

from downloader.wire.connection import Origin, Pool, interrupt

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

PIECE = 1 << 18
STREAM = "socket_stream"
"""The response extension that holds the `SocketStream`: httpx2 hands `response.stream` out wrapped."""
UNSENDABLE = "a header has characters that no header may have"


class SocketStream(httpx2.SyncByteStream):
    """The body of one answer. `interrupt` may be called from any thread."""

    def __init__(
        self,
        connection: http.client.HTTPConnection,
        sock: socket.socket,
        response: http.client.HTTPResponse,
        keep: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._sock = sock
        """Kept apart: the connection lets go of it when the server will not use it again."""
        self._response = response
        self._keep = keep
        self._left = response.length
        """Bytes still to come; None when the server did not say (chunked, or until it closes)."""
        self._open = True
        if self._left == 0:
            self._finish()  # as after HEAD: nobody will read

    def readinto(self, view: memoryview) -> int:
        """Put what has arrived into `view`, at least one byte; 0 at the end. Raises httpx2's errors."""
        try:
            return self._read(view)
        except TimeoutError as error:
            raise httpx2.ReadTimeout("silent for too long") from error
        except http.client.HTTPException as error:
            raise httpx2.RemoteProtocolError(f"{type(error).__name__}: {error}") from error
        except (OSError, ValueError, AttributeError) as error:
            # The last two are what the standard library's objects raise when another thread closed them.
            raise httpx2.ReadError(str(error) or type(error).__name__) from error

    def _read(self, view: memoryview) -> int:
        if self._left is None:
            # Not `readinto`, which waits until the whole view is full, and loses what it has when that fails.
            piece = self._response.read1(min(len(view), PIECE))
            view[: len(piece)] = piece
            if not piece:
                self._finish()
            return len(piece)
        if self._left == 0:
            self._finish()
            return 0
        count = self._response.fp.readinto1(view if len(view) <= self._left else view[: self._left])
        if not count:
            raise httpx2.RemoteProtocolError(f"the connection was closed with {self._left} bytes still to come")
        self._left -= count
        if self._left == 0:
            self._finish()
        return count

    def _finish(self) -> None:
        """Keep the connection for the next request, if the server lets us."""
        if not self._open:
            return
        self._open = False
        reusable = not self._response.will_close
        self._response.close()
        if reusable:
            self._keep()
        else:
            self._connection.close()

    def __iter__(self) -> Iterator[bytes]:
        view = memoryview(bytearray(PIECE))
        while count := self.readinto(view):
            yield bytes(view[:count])

    def interrupt(self) -> None:
        """Wake a reader that is blocked in another thread; it sees the connection end."""
        if self._open:
            interrupt(self._sock)

    def close(self) -> None:
        """Give the connection up unless the body was read to its end. Only for the thread that reads."""
        if self._open:
            self._open = False
            self._response.close()
            self._connection.close()


class SocketTransport(httpx2.BaseTransport):
    """Sends httpx2's requests over pooled connections. Timeouts are the pool's: a caller cannot switch them off."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request. A connection that the server closed while it was idle is replaced once."""
        origin = Origin.of(request.url)
        if origin.scheme not in ("http", "https"):
            raise httpx2.UnsupportedProtocol(f"{origin.scheme}:// cannot be fetched over HTTP")
        connection, used = self._pool.take(origin)
        try:
            return self._exchange(connection, origin, request)
        except Unanswered:
            if not used:
                raise
        return self._exchange(self._pool.fresh(origin), origin, request)

    def _exchange(
        self, connection: http.client.HTTPConnection, origin: Origin, request: httpx2.Request
    ) -> httpx2.Response:
        sock = connection.sock
        try:
            response = self._ask(connection, origin, request)
        except Exception as error:
            connection.close()
            raise _head_error(error) from error
        stream = SocketStream(connection, sock, response, lambda: self._pool.give(origin, connection))
        headers = [
            (name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in response.getheaders()
        ]
        return httpx2.Response(
            response.status, headers=headers, stream=stream, request=request, extensions={STREAM: stream}
        )

    def _ask(
        self, connection: http.client.HTTPConnection, origin: Origin, request: httpx2.Request
    ) -> http.client.HTTPResponse:
        target = request.url.raw_path.decode("ascii")
        authorization = self._pool.proxied(origin)
        if authorization is not None:
            target = f"{origin.scheme}://{request.url.netloc.decode('ascii')}{target}"
        connection.putrequest(request.method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers.raw:
            connection.putheader(name, value)
        if authorization:
            connection.putheader("Proxy-Authorization", authorization)
        connection.endheaders(request.read() or None)
        response = connection.getresponse()
        if response.status < http.client.OK:
            # The standard library knows one interim answer; after any other the next request would get this one's.
            raise http.client.UnknownProtocol(f"an interim answer, {response.status}")
        return response

    def close(self) -> None:
        """Close idle connections."""
        self._pool.close()


class Unanswered(httpx2.RemoteProtocolError):
    """The server closed the connection without an answer, as it does with one that was idle for too long."""


def _head_error(error: Exception) -> httpx2.TransportError:
    """Return httpx2's error for one that sending a request or reading the head of its answer raised."""
    if isinstance(error, TimeoutError):
        return httpx2.ReadTimeout("no answer within the time")
    if isinstance(error, http.client.RemoteDisconnected | ConnectionResetError | BrokenPipeError | ssl.SSLEOFError):
        return Unanswered("the server closed the connection without an answer")
    if isinstance(error, http.client.HTTPException):
        return httpx2.RemoteProtocolError(f"{type(error).__name__}: {error}")
    if isinstance(error, OSError):
        return httpx2.ReadError(str(error) or type(error).__name__)
    return httpx2.LocalProtocolError(UNSENDABLE)
