"""One request and its reply on the server's side: conditions, ranges, and the verbs that faults are made of."""

from __future__ import annotations

import re
import select
import socket
import ssl
import struct
from http import HTTPStatus
from typing import TYPE_CHECKING

from tests.servers.messages import Record, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping
    from http.server import BaseHTTPRequestHandler

    from tests.servers.messages import Request

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_TLS_STEP = 1 << 20
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Ended(Exception):
    """The connection is unusable."""


class Exchange:
    """One request and its reply; `tests.servers.faults.Exchange` tells what its methods do."""

    def __init__(self, handler: BaseHTTPRequestHandler, request: Request, reply: Reply) -> None:
        self._handler = handler
        self._request = request
        self._reply = reply
        self.url = request.origin + request.target
        self.sent = 0
        self._take(reply)
        self._obey_conditions()
        self.record = Record(reply.route, request, self.status)

    def _take(self, reply: Reply) -> None:
        self.status = reply.status
        self.headers = dict(reply.headers)
        self._content = reply.content
        self._size = len(reply.content) if isinstance(reply.content, bytes) else reply.content.size
        self._bound(0, self._size)

    def _bound(self, start: int, stop: int) -> None:
        self.start, self.stop = start, stop
        self.declared: int | None = stop - start
        self.length = 0 if self._request.method == "HEAD" else stop - start

    def _refuse(self, status: int, headers: dict[str, str]) -> None:
        self._take(Reply(self._reply.route, status, headers))

    def _obey_conditions(self) -> None:
        asked, etag = self._request.headers, self.headers.get("ETag")
        if self.status != HTTPStatus.OK:
            return
        if "if-match" in asked and etag not in [name.strip() for name in asked["if-match"].split(",")]:
            self._refuse(412, {})
        elif self._request.method == "GET" and self._reply.divisible and asked.get("if-range", etag) == etag:
            self._obey_range(_RANGE.fullmatch(asked.get("range", "")))

    def _obey_range(self, asked: re.Match[str] | None) -> None:
        if asked is None or not any(asked.groups()):
            return
        first, last = asked.groups()
        start = int(first) if first else max(0, self._size - int(last))
        stop = min(self._size, int(last) + 1) if first and last else self._size
        if start >= stop:
            self._refuse(416, {"Content-Range": f"bytes */{self._size}"})
        else:
            self._part(start, stop)

    def _part(self, start: int, stop: int) -> None:
        self.status = 206
        self.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{self._size}"
        self._bound(start, stop)

    @property
    def conditional(self) -> bool:
        return "if-match" in self._request.headers

    def replace(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        self._take(Reply(self._reply.route, status, dict(headers), content))

    def ignore_range(self) -> None:
        self._take(self._reply)

    def ignore_conditions(self) -> None:
        self._take(self._reply)
        if self._request.method == "GET":
            self._obey_range(_RANGE.fullmatch(self._request.headers.get("range", "")))

    def shift_range(self, by: int) -> None:
        self._part(min(self.start + by, self._size - 1), min(self.stop + by, self._size))

    def shorten_range(self, to: int) -> None:
        if self.status == HTTPStatus.PARTIAL_CONTENT:
            self._part(self.start, min(self.start + to, self.stop))

    def head(self) -> None:
        self.record.status = self.status
        # Python sends the time of its own, unless a fault has set another one.
        begin = self._handler.send_response_only if "Date" in self.headers else self._handler.send_response
        begin(self.status)
        for name, value in self.headers.items():
            self._handler.send_header(name, value)
        if self.declared is not None:
            self._handler.send_header("Content-Length", str(self.declared))
        self._handler.end_headers()

    def body(self, until: int | None = None) -> None:
        until = self.length if until is None else min(until, self.length)
        connection = self._handler.connection
        while self.sent < until:
            start, stop = self.start + self.sent, self.start + until
            if isinstance(self._content, bytes):
                connection.sendall(memoryview(self._content)[start:stop])
                self._count(until - self.sent)
            elif isinstance(connection, ssl.SSLSocket):
                piece = self._content.read(start, min(stop, start + _TLS_STEP))
                connection.sendall(piece)
                self._count(len(piece))
            else:
                self._count(self._content.send(connection, start, stop))

    def _count(self, sent: int) -> None:
        self.sent += sent
        self.record.sent += sent

    def send(self, content: bytes) -> None:
        self._handler.connection.sendall(content)

    def flip(self) -> None:
        at = self.start + self.sent
        right = self._content[at] if isinstance(self._content, bytes) else self._content.read(at, at + 1)[0]
        self._handler.connection.sendall(bytes([right ^ 0xFF]))
        self._count(1)

    def hang(self, seconds: float | None) -> None:
        gone = select.poll()  # not by whether there is something to read: that may be the next request
        gone.register(self._handler.connection, select.POLLRDHUP)
        if gone.poll(None if seconds is None else seconds * 1000):
            raise Ended

    def end(self, *, reset: bool) -> None:
        if reset:
            self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        raise Ended
