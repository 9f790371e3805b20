"""Requests and responses. httpx2's own objects for them cost more than transferring a small file (ADR 31)."""

from __future__ import annotations

import contextlib
import http.client
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx2

from downloader.artifact import shown_url
from downloader.errors import ProtocolFailed
from downloader.formatting import reason, single_line
from downloader.network.h1 import field_lines
from downloader.network.pool import interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from downloader.network.connection import Connection
    from downloader.network.h1 import Head
    from downloader.network.interfaces import NetworkObserver
    from downloader.network.url import Address, Origin

PIECE = 1 << 18
OK, MULTIPLE_CHOICES = int(HTTPStatus.OK), int(HTTPStatus.MULTIPLE_CHOICES)
"""Numbers: to look up a member of an enumeration takes longer than to compare two of them."""
REDIRECTS = frozenset(
    {
        HTTPStatus.MOVED_PERMANENTLY,
        HTTPStatus.FOUND,
        HTTPStatus.SEE_OTHER,
        HTTPStatus.TEMPORARY_REDIRECT,
        HTTPStatus.PERMANENT_REDIRECT,
    }
)
UNSENDABLE = "a header has characters that no header may have"
MAX_ERROR_BODY = 4096
"""Bytes of a redirect or an error page that are read, so that its connection can be reused."""


def malformed(error: http.client.HTTPException) -> str:
    """Describe a response that the standard library could not read."""
    if isinstance(error, http.client.BadStatusLine):
        return f"it answers with {single_line(str(error), 60)!r}, which is no HTTP"
    if isinstance(error, http.client.IncompleteRead):
        return "the answer ended too early"
    return f"the answer is not proper HTTP: {reason(error)}"


class Request:
    """A request. It is compared by identity: a pipelined one must be sent as the same object."""

    __slots__ = ("address", "body", "fields", "method", "pipelined_at")

    def __init__(self, method: str, address: Address, fields: bytes, body: bytes = b"") -> None:
        """`fields` are the lines of its head, as `lines` writes them, with the host among them."""
        self.method = method
        self.address = address
        self.fields = fields
        self.body = body
        self.pipelined_at: float | None = None
        """When it was sent, by the monotonic clock, if it was pipelined: its response may be older than its reading."""


def lines(fields: Iterable[tuple[str, str]]) -> bytes:
    """Return header fields as they are sent. Raises httpx2.LocalProtocolError for characters that no field may have."""
    try:
        return field_lines(fields)
    except ValueError as error:
        raise httpx2.LocalProtocolError(UNSENDABLE) from error


class RequestBuilder:
    """Makes requests, all with the same `usual` headers."""

    def __init__(self, usual: Mapping[str, str]) -> None:
        self._usual = usual

    def build(self, method: str, where: Address, headers: Mapping[str, str]) -> Request:
        """Return one request without a body. Raises httpx2.LocalProtocolError."""
        fields = lines({**self._usual, **headers}.items())
        return Request(method, where, fields if "host" in headers else _host_line(where.authority) + fields)

    def build_many(self, method: str, addresses: Iterable[Address], headers: Mapping[str, str]) -> Iterator[Request]:
        """Yield requests that differ in their addresses only. Raises httpx2.LocalProtocolError."""
        common = lines({**self._usual, **headers}.items())
        for one in addresses:
            yield Request(method, one, common if "host" in headers else _host_line(one.authority) + common)


@lru_cache(maxsize=64)
def _host_line(authority: str) -> bytes:
    return lines([("Host", authority)])


class StreamingResponse:
    """A response whose head was read. `interrupt` may be called from any thread."""

    def __init__(
        self,
        address: Address,
        head: Head,
        connection: Connection,
        body: http.client.HTTPResponse | None,
        keep: Callable[[Origin, Connection], None],
    ) -> None:
        """`body` reads a body without a length; `keep` takes the connection back after the last byte."""
        self.address = address
        """Of the request."""
        self.asked_at: float | None = None
        """When the request was pipelined, as in `Request`."""
        self.status = head.status
        self.headers: Mapping[str, str] = head.fields
        """Names in lower case."""
        self._closes = head.closes
        self._connection = connection
        self._body = body
        self._keep = keep
        self._left = head.length
        """Bytes still to come; None where the server gave no length (chunked, or until it closes)."""
        self._open = True
        if self._left == 0:
            self._finish()  # as after HEAD: nothing will be read

    @property
    def length(self) -> int | None:
        """Bytes of the body that are still to come; None where the server gave no length."""
        return self._left

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return OK <= self.status < MULTIPLE_CHOICES

    @property
    def complete(self) -> bool:
        """Whether the end of a body that was read is certain: by its length, its last chunk, or TLS's close_notify.

        Where only the end of the connection ends the body, bytes may be missing.
        """
        if self._left is not None or self._body is None:
            return True
        return bool(self._body.chunked) or self._connection.close_notified

    @property
    def redirects(self) -> bool:
        """Whether it names another location."""
        return self.status in REDIRECTS and "location" in self.headers

    def readinto(self, view: memoryview) -> int:
        """Read what has arrived into `view` and return its length; 0 at the end of the body. Raises httpx2's errors."""
        try:
            return self._read(view)
        except TimeoutError as error:
            raise httpx2.ReadTimeout("silent for too long") from error
        except http.client.HTTPException as error:
            raise httpx2.RemoteProtocolError(malformed(error)) from error
        except (OSError, ValueError, AttributeError) as error:
            # ValueError and AttributeError: another thread closed the standard library's object meanwhile.
            raise httpx2.ReadError(reason(error)) from error

    def _read(self, view: memoryview) -> int:
        if self._left is None:
            return self._read_on(view)
        if self._left == 0:
            self._finish()
            return 0
        count = self._connection.reader.readinto1(view if len(view) <= self._left else view[: self._left])
        if not count:
            raise httpx2.ReadError(f"the connection was closed with {self._left} bytes still to come")
        self._left -= count
        if self._left == 0:
            self._finish()
        return count

    def _read_on(self, view: memoryview) -> int:
        """Read a body without a length."""
        # Not `readinto`: it waits until the whole view is full, and loses the bytes that it has when that fails.
        piece = self._body.read1(min(len(view), PIECE)) if self._body is not None else b""
        view[: len(piece)] = piece
        if not piece:
            self._finish()
        return len(piece)

    def _finish(self) -> None:
        """Return the connection to the pool, unless the server closes it."""
        if not self._open:
            return
        self._open = False
        if self._closes:
            self._connection.close()
        else:
            self._keep(self.address.origin, self._connection)

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it arrives. Raises httpx2's errors."""
        view = memoryview(bytearray(PIECE if self._left is None else min(PIECE, self._left)))
        while count := self.readinto(view):
            yield bytes(view[:count])

    def drain(self, max_bytes: int) -> None:
        """Close it. A rest of at most `max_bytes` is read first, so that the connection can be reused."""
        if self._open and self._left is not None and self._left <= max_bytes:
            with contextlib.suppress(httpx2.HTTPError):
                for _ in self.pieces():
                    pass
        self.close()

    def interrupt(self) -> None:
        """Wake a reader that is blocked in another thread; its read ends as if the server had closed the connection."""
        if self._open:
            interrupt(self._connection.sock)

    def close(self) -> None:
        """Close the connection unless the body was read to its end. Only for the thread that reads."""
        if self._open:
            self._open = False
            self._connection.close()


def read_whole(response: StreamingResponse, limit: int, observer: NetworkObserver, *, truncate: bool = False) -> bytes:
    """Return the whole body, reporting its bytes to `observer` as they arrive.

    One of more than `limit` bytes is truncated, or raises ProtocolFailed.
    """
    pieces = bytearray()
    for piece in response.pieces():
        pieces += piece
        observer.on_bytes(len(piece))
        if len(pieces) > limit:
            if truncate:
                return bytes(pieces[:limit])
            raise ProtocolFailed(f"{shown_url(response.address.url)} answers with more than {limit} bytes")
    return bytes(pieces)
