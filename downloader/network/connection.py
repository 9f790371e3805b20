"""`Connection`: one HTTP/1.1 connection, on which requests may be pipelined.

`http.client.HTTPConnection` allows one request at a time, so it only connects. Its `HTTPResponse` reads what is rare:
heads that `h1.parse_common_head` does not match, and bodies without a length. It takes this object for a socket, and
reads from the same buffer as everything else, so that no byte of the next response is lost in a buffer of its own.
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
"""Bytes of the buffer that heads are read through: with pipelining it holds several small responses."""


class NetworkStream(Protocol):
    """A socket, or TLS on top of one."""

    def recv_into(self, view: memoryview, /) -> int:
        """Read what has arrived into `view`, at least one byte, and return its length; 0 at the end."""

    def sendall(self, data: bytes, /) -> None:
        """Send everything."""


class _Incoming(io.RawIOBase):
    """The raw stream below the buffer. While it is `muted` it would block, so that only buffered bytes are seen."""

    def __init__(self, stream: NetworkStream) -> None:
        self._stream = stream
        self.muted = False

    def readable(self) -> bool:
        return True

    def readinto(self, view: memoryview) -> int | None:  # type: ignore[override]
        return None if self.muted else self._stream.recv_into(view)


class _Shared(io.BufferedReader):
    """The buffer of a connection. `HTTPResponse` closes it at the end of each response, which must not end it."""

    def close(self) -> None:
        pass


class Connection:
    """For one thread at a time. Another thread may only shut the socket down, to wake the reader."""

    def __init__(self, sock: socket.socket, stream: SecureSocket | None = None) -> None:
        """`stream` is TLS over the socket; None where nothing is encrypted."""
        self.sock = sock
        self._secure = stream
        self._stream = stream or sock
        self._incoming = _Incoming(self._stream)
        self.reader = _Shared(self._incoming, READ_AHEAD)
        self.responses = 0
        """Heads that were read since it was last counted from 0, for pipelining."""

    def send(self, data: bytes) -> None:
        """Send requests. Raises OSError."""
        self._stream.sendall(data)

    def receive(self, method: str) -> tuple[Head, http.client.HTTPResponse | None]:
        """Read the head of the next response, and return what reads its body where that has no length.

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
            # The standard library skips 100 only. After another 1xx the next request would get this one's response.
            raise http.client.UnknownProtocol(f"an interim answer, {parsed.status}")
        self.responses += 1
        return Head(parsed.status, _fields(parsed), parsed.length, parsed.will_close), parsed

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the reader, as a socket does."""
        return self.reader

    @property
    def stream_of_tls(self) -> SecureSocket | None:
        """TLS over the socket; None where nothing is encrypted."""
        return self._secure

    @property
    def is_drained(self) -> bool:
        """Whether no byte is buffered behind the response that was read last."""
        self._incoming.muted = True
        try:
            return not self.reader.peek(1)
        finally:
            self._incoming.muted = False

    @property
    def close_notified(self) -> bool:
        """Whether TLS announced the end. A plain connection just ends, and may have been cut."""
        return self._secure is not None and self._secure.close_notified

    @property
    def closed(self) -> bool:
        """Whether it was closed on our side."""
        return self.sock.fileno() < 0

    def close(self) -> None:
        """Close it. May be called twice."""
        self.sock.close()


def _fields(parsed: http.client.HTTPResponse) -> dict[str, str]:
    """Return the fields of a head as httpx2 reads them, which guesses the encoding of what is not ASCII."""
    pairs = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in parsed.getheaders()]
    return dict(httpx2.Headers(pairs))
