"""`Connection`: one HTTP/1.1 connection, on which requests may be pipelined.

`http.client.HTTPConnection` allows one request at a time, so it only connects. Its `HTTPResponse` reads what is rare:
heads that `h1.parse_common_head` does not match, and bodies without a length. It takes this object for a socket, and
reads from the same buffer as everything else, so that no byte of the next response is lost in a buffer of its own.
"""
# ruff: noqa: D102 -- io.BufferedIOBase documents the methods of a file

from __future__ import annotations

import http.client
import io
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, cast

import httpx2

from downloader.formatting import single_line
from downloader.network.h1 import AROUND, Head, is_begun, parse_common_head

if TYPE_CHECKING:
    import socket

    from downloader.network.sockets import BlockingSocket
    from downloader.network.tls import SecureSocket

TRANSFER_CODINGS = frozenset({"", "identity", "chunked"})
READ_AHEAD = 1 << 16
"""Bytes of the buffer that heads are read through: with pipelining it holds several small responses."""


class NetworkStream(Protocol):
    """A socket, or TLS on top of one."""

    def recv_into(self, view: memoryview, /) -> int:
        """Read what has arrived into `view`, at least one byte, and return its length; 0 at the end."""

    def gather_into(self, view: memoryview, /) -> int:
        """Do the same, but wait for a moment until it is full. All of it must be certain to come."""

    def sendall(self, data: bytes, /) -> None:
        """Send everything."""


class Reader(io.BufferedIOBase):
    """What arrives on a connection, through one buffer. `HTTPResponse` reads it like a file.

    io.BufferedReader copies all that it holds to show it, which is as much for each head as the file behind it has.
    """

    def __init__(self, stream: NetworkStream) -> None:
        self._stream = stream
        self.buffer = bytearray(READ_AHEAD)
        self._view = memoryview(self.buffer)
        self.start = self.stop = 0
        """What has arrived and is not read yet is `buffer[start:stop]`."""

    def fill(self) -> int:
        """Wait for more, and return how many bytes have come: 0 at the end, or if there is no room for more."""
        if self.start == self.stop:
            self.start = self.stop = 0
        elif self.start and self.stop == READ_AHEAD:
            kept = self.stop - self.start
            self._view[:kept] = self._view[self.start : self.stop]
            self.start, self.stop = 0, kept
        if self.stop == READ_AHEAD:
            return 0
        count = self._stream.recv_into(self._view[self.stop :])
        self.stop += count
        return count

    def skip(self, count: int) -> None:
        """Pass over bytes that have arrived."""
        self.start += count

    def readable(self) -> bool:
        return True

    def readinto1(self, view: memoryview) -> int:  # type: ignore[override]
        """Put what has arrived into `view`, waiting for it only if there is nothing; 0 at the end.

        A large view, of which all must be certain to come, is waited for a little, since each read takes the lock.
        """
        ready = self.stop - self.start
        if not ready:
            if len(view) >= READ_AHEAD:
                return self._stream.gather_into(view)
            ready = self.fill()
        count = min(len(view), ready)
        view[:count] = self._view[self.start : self.start + count]
        self.start += count
        return count

    def readinto(self, view: memoryview) -> int:  # type: ignore[override]
        done = 0
        while done < len(view) and (count := self.readinto1(view[done:])):
            done += count
        return done

    def read1(self, size: int = -1) -> bytes:
        if self.start == self.stop and not self.fill():
            return b""
        ready = self.stop - self.start
        return self._take(ready if size < 0 else min(size, ready))

    def read(self, size: int | None = -1) -> bytes:
        pieces, left = [], sys.maxsize if size is None or size < 0 else size
        while left and (piece := self.read1(left)):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def readline(self, size: int | None = -1) -> bytes:
        pieces, left = [], sys.maxsize if size is None or size < 0 else size
        while left and (self.start < self.stop or self.fill()):
            end = self.buffer.find(b"\n", self.start, self.stop) + 1
            piece = self._take(min(left, (end or self.stop) - self.start))
            pieces.append(piece)
            left -= len(piece)
            if piece.endswith(b"\n"):
                break
        return b"".join(pieces)

    def _take(self, count: int) -> bytes:
        piece = bytes(self._view[self.start : self.start + count])
        self.start += count
        return piece

    def close(self) -> None:
        """Do nothing: `HTTPResponse` closes it at the end of each response, which is not that of the connection."""


class Connection:
    """For one thread at a time. Another thread may only shut the socket down, to wake the reader."""

    def __init__(self, plain: BlockingSocket, stream: SecureSocket | None = None) -> None:
        """`stream` is TLS over the socket; None where nothing is encrypted."""
        self.sock = plain.sock
        self._plain = plain
        self._secure = stream
        self._stream = stream or plain
        self.reader = Reader(self._stream)
        self.responses = 0
        """Heads that were read since it was last counted from 0, for pipelining."""

    def send(self, data: bytes) -> None:
        """Send requests. Raises OSError."""
        self._stream.sendall(data)

    def receive(self, method: str) -> tuple[Head, http.client.HTTPResponse | None]:
        """Read the head of the next response, and return what reads its body where that has no length.

        Interim responses before it are passed over. Raises http.client.HTTPException and OSError.
        """
        while True:
            head, body = self._next_head(method)
            if head.status == HTTPStatus.SWITCHING_PROTOCOLS:
                raise http.client.UnknownProtocol("a switch of protocols, which was not asked for")
            if head.status >= HTTPStatus.OK:
                self.responses += 1
                return head, body

    def _next_head(self, method: str) -> tuple[Head, http.client.HTTPResponse | None]:
        reader = self.reader
        if reader.start < reader.stop or reader.fill():
            found = parse_common_head(reader.buffer, method, reader.start, reader.stop)
            if found is None and is_begun(reader.buffer, reader.start, reader.stop):
                # Not after each byte: a server may send a long head one by one.
                while reader.fill() and is_begun(reader.buffer, reader.start, reader.stop):
                    pass
                found = parse_common_head(reader.buffer, method, reader.start, reader.stop)
            if found is not None:
                head, size = found
                reader.skip(size)
                return head, None
        parsed = http.client.HTTPResponse(cast("socket.socket", self), method=method)
        parsed.begin()  # it passes over 100 by itself, and over no other interim response
        coding = (parsed.getheader("transfer-encoding") or "").partition(",")[0].strip().lower()
        if coding not in TRANSFER_CODINGS:
            # The library would take the coded bytes for the file, to the end of the connection.
            raise http.client.UnknownTransferEncoding(f"it has the transfer coding {single_line(coding, 20)!r}")
        return Head(parsed.status, _fields(parsed), parsed.length, parsed.will_close), parsed

    @property
    def timeout(self) -> float:
        """Seconds for which one read or send waits."""
        return self._plain.timeout

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._plain.timeout = seconds

    def makefile(self, _mode: str) -> Reader:
        """Return the reader, as a socket does."""
        return self.reader

    @property
    def stream_of_tls(self) -> SecureSocket | None:
        """TLS over the socket; None where nothing is encrypted."""
        return self._secure

    @property
    def is_drained(self) -> bool:
        """Whether no byte is buffered behind the response that was read last."""
        return self.reader.start == self.reader.stop

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
    pairs = ((name, value.strip(AROUND)) for name, value in parsed.getheaders())
    raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in pairs]
    return dict(httpx2.Headers(raw))
