"""One connection that speaks HTTP/1.1: requests go out, answers come in, in order.

Several requests may be out at one time: a server answers them one after the other, and nobody waits for a round trip
in between. `http.client.HTTPConnection` allows one, so it only connects for us.
"""

from __future__ import annotations

import http.client
import io
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, cast

import httpx2

from downloader.network.h1 import Head, parse_common_head

if TYPE_CHECKING:
    import socket

    from downloader.network.tls import SecureSocket

READ_AHEAD = 1 << 16
"""Bytes read at once while an answer's head is looked for: with several answers on the way, a few of them."""


class NetworkStream(Protocol):
    """What sends and receives."""

    def recv_into(self, view: memoryview, /) -> int:
        """Put what has arrived into `view`, at least one byte; 0 at the end."""

    def sendall(self, data: bytes, /) -> None:
        """Send everything."""


class _Incoming(io.RawIOBase):
    """What a socket receives; nothing while it is `muted`."""

    def __init__(self, link: NetworkStream) -> None:
        self._link = link
        self.muted = False

    def readable(self) -> bool:
        return True

    def readinto(self, view: memoryview) -> int | None:  # type: ignore[override]
        return None if self.muted else self._link.recv_into(view)


class _Shared(io.BufferedReader):
    """A reader that all answers of a connection use in turn: an answer that closes it does not end it."""

    def close(self) -> None:
        pass


class Connection:
    """For one thread at a time."""

    def __init__(self, sock: socket.socket, link: SecureSocket | None = None) -> None:
        """`link` is what speaks over the socket, the socket itself where nothing is encrypted."""
        self.sock = sock
        self._secure = link
        self._link = link or sock
        self._incoming = _Incoming(self._link)
        self.reader = _Shared(self._incoming, READ_AHEAD)
        self.responses = 0

    def send(self, data: bytes) -> None:
        """Send requests. Raises OSError."""
        self._link.sendall(data)

    def receive(self, method: str) -> tuple[Head, http.client.HTTPResponse | None]:
        """Read the head of the next answer; with it comes who knows where its body ends, where its length is not told.

        Raises http.client.HTTPException and OSError.
        """
        found = parse_common_head(self.reader.peek(1), method)
        if found is not None:
            head, size = found
            self.reader.read(size)
            self.responses += 1
            return head, None
        parsed = http.client.HTTPResponse(cast("socket.socket", self), method=method)
        parsed.begin()
        if parsed.status < HTTPStatus.OK:
            # The standard library knows one interim answer; after another the next request would get this one's.
            raise http.client.UnknownProtocol(f"an interim answer, {parsed.status}")
        self.responses += 1
        return Head(parsed.status, _fields(parsed), parsed.length, parsed.will_close), parsed

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the reader, as a socket does."""
        return self.reader

    @property
    def silent(self) -> bool:
        """Nothing more has arrived than what was read: who sends more than the answer is not to be used again."""
        self._incoming.muted = True
        try:
            return not self.reader.peek(1)
        finally:
            self._incoming.muted = False

    @property
    def close_notified(self) -> bool:
        """The server said that nothing more comes, which only TLS can say: a plain connection just ends."""
        return self._secure is not None and self._secure.close_notified

    @property
    def closed(self) -> bool:
        """The connection was ended, on our side."""
        return self.sock.fileno() < 0

    def close(self) -> None:
        """End the connection. May be called twice."""
        self.sock.close()


def _fields(parsed: http.client.HTTPResponse) -> dict[str, str]:
    """Return the fields of a head as httpx2 reads them, which guesses how what is not ASCII was meant."""
    pairs = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in parsed.getheaders()]
    return dict(httpx2.Headers(pairs))
