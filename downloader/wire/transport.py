"""httpx2's transport seam over `Pool`, with a response stream that reads straight into the caller's buffer."""

from __future__ import annotations

import http.client
import ssl
from typing import TYPE_CHECKING

import httpx2

from downloader.wire.ahead import Ahead
from downloader.wire.channel import Channel, head
from downloader.wire.connection import Origin, Pool, interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PIECE = 1 << 18
STREAM = "socket_stream"
"""The response extension that holds the `SocketStream`: httpx2 hands `response.stream` out wrapped."""
PROOF_SECONDS = 5.0
"""How long an answer may take that was asked for ahead, until a server has shown that it can do that."""
UNSENDABLE = "a header has characters that no header may have"


class SocketStream(httpx2.SyncByteStream):
    """The body of one answer. `interrupt` may be called from any thread."""

    def __init__(self, channel: Channel, response: http.client.HTTPResponse, keep: Callable[[], None]) -> None:
        self._channel = channel
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
        count = self._channel.reader.readinto1(view if len(view) <= self._left else view[: self._left])
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
        if self._response.will_close:
            self._channel.close()
        else:
            self._keep()

    def __iter__(self) -> Iterator[bytes]:
        view = memoryview(bytearray(PIECE))
        while count := self.readinto(view):
            yield bytes(view[:count])

    def interrupt(self) -> None:
        """Wake a reader that is blocked in another thread; it sees the connection end."""
        if self._open:
            interrupt(self._channel.sock)

    def close(self) -> None:
        """Give the connection up unless the body was read to its end. Only for the thread that reads."""
        if self._open:
            self._open = False
            self._channel.close()


class SocketTransport(httpx2.BaseTransport):
    """Sends httpx2's requests over pooled connections. Timeouts are the pool's: a caller cannot switch them off."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._ahead = Ahead()
        self._proven: set[Origin] = set()
        """Those who answered a request that had been sent behind another."""
        self._impatient: set[Origin] = set()
        """Those who did not."""

    def announce(self, requests: Sequence[httpx2.Request]) -> None:
        """Send requests without a body ahead: the calling thread will hand in the same objects next, in this order.

        Those that were announced before and not handed in yet come first again, or are let go of.

        It then finds them answered, or, where that goes wrong, they are sent as if nothing had been announced.
        """
        asked = self._ahead.following(requests)
        if not asked:
            self._ahead.drop()
        if len(requests) < 2:  # noqa: PLR2004 - one alone is as quick without
            return
        origin = Origin.of(requests[0].url)
        if origin in self._impatient or self._pool.proxied(origin) is not None:
            return
        if any(Origin.of(request.url) != origin for request in requests):
            raise ValueError("requests to several origins cannot go over one connection")
        try:
            heads = [self._head(origin, request) for request in requests[asked:]]
            if not asked:
                self._ahead.start(self._pool.take(origin)[0])
            self._ahead.send(requests[asked:], b"".join(heads))
        except (OSError, ValueError, httpx2.TransportError):
            self._ahead.drop()  # the request itself will tell what is wrong

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request. A connection that the server closed while it was idle is replaced once."""
        origin = Origin.of(request.url)
        if origin.scheme not in ("http", "https"):
            raise httpx2.UnsupportedProtocol(f"{origin.scheme}:// cannot be fetched over HTTP")
        channel = self._ahead.next(request)
        if channel is not None:
            try:
                return self._answer_ahead(channel, origin, request)
            except httpx2.TransportError:
                self._impatient.add(origin)  # and ask again, as if nothing had been announced
        try:
            message = self._head(origin, request) + request.read()
        except ValueError as error:
            raise httpx2.LocalProtocolError(UNSENDABLE) from error
        channel, used = self._pool.take(origin)
        try:
            return self._exchange(channel, origin, request, message)
        except Unanswered:
            if not used:
                raise
        return self._exchange(self._pool.fresh(origin), origin, request, message)

    def _head(self, origin: Origin, request: httpx2.Request) -> bytes:
        target = request.url.raw_path.decode("ascii")
        headers = request.headers.raw
        authorization = self._pool.proxied(origin)
        if authorization is not None:
            target = f"{origin.scheme}://{request.url.netloc.decode('ascii')}{target}"
        if authorization:
            headers = [*headers, (b"Proxy-Authorization", authorization.encode("latin-1"))]
        return head(request.method, target, headers)

    def _exchange(self, channel: Channel, origin: Origin, request: httpx2.Request, message: bytes) -> httpx2.Response:
        try:
            channel.send(message)
        except Exception as error:
            channel.close()
            raise _head_error(error) from error
        return self._answer(channel, origin, request)

    def _answer_ahead(self, channel: Channel, origin: Origin, request: httpx2.Request) -> httpx2.Response:
        """Take an answer to a request that was sent ahead; of a server that is not known to do that not for long."""
        if origin in self._proven:
            return self._answer(channel, origin, request)
        usual = channel.sock.gettimeout()
        channel.sock.settimeout(PROOF_SECONDS if usual is None else min(usual, PROOF_SECONDS))
        response = self._answer(channel, origin, request)
        if not channel.closed:
            channel.sock.settimeout(usual)
        if channel.answers > 1:
            self._proven.add(origin)
        return response

    def _answer(self, channel: Channel, origin: Origin, request: httpx2.Request) -> httpx2.Response:
        try:
            response = channel.receive(request.method)
            if response.status < http.client.OK:
                # The standard library knows one interim answer; after another the next request would get this one's.
                raise http.client.UnknownProtocol(f"an interim answer, {response.status}")  # noqa: TRY301
        except Exception as error:
            channel.close()
            raise _head_error(error) from error
        stream = SocketStream(channel, response, lambda: self._keep(origin, channel))
        headers = [
            (name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in response.getheaders()
        ]
        return httpx2.Response(
            response.status, headers=headers, stream=stream, request=request, extensions={STREAM: stream}
        )

    def _keep(self, origin: Origin, channel: Channel) -> None:
        if channel is self._ahead.channel:
            if self._ahead.requests:
                return  # there is more to come on it
            self._ahead.drop()
        self._pool.give(origin, channel)

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
