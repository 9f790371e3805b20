"""One exchange: what is asked, and what comes back. httpx2's own objects for it take longer than a small file."""

from __future__ import annotations

import contextlib
import http.client
import zlib
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx2

from downloader.artifact import shown_url
from downloader.errors import ConnectionBroken, ProtocolFailed
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


def malformed(error: http.client.HTTPException) -> str:
    """Tell what is wrong with an answer that the standard library could not read."""
    if isinstance(error, http.client.BadStatusLine):
        return f"it answers with {single_line(str(error), 60)!r}, which is no HTTP"
    if isinstance(error, http.client.IncompleteRead):
        return "the answer ended too early"
    return f"the answer is no proper HTTP: {reason(error)}"


class Request:
    """A request. Each is itself and no other: one that was announced is handed in as the same object."""

    __slots__ = ("address", "body", "fields", "method", "pipelined_at")

    def __init__(self, method: str, address: Address, fields: bytes, body: bytes = b"") -> None:
        """`fields` are the lines of its head, as `lines` writes them, with the host among them."""
        self.method = method
        self.address = address
        self.fields = fields
        self.body = body
        self.pipelined_at: float | None = None
        """When it was sent, by the monotonic clock, if its answer may have arrived before it is read."""


def lines(fields: Iterable[tuple[str, str]]) -> bytes:
    """Return fields as they are sent. Raises httpx2.LocalProtocolError for what no field may hold."""
    try:
        return field_lines(fields)
    except ValueError as error:
        raise httpx2.LocalProtocolError(UNSENDABLE) from error


class StreamingResponse:
    """An answer whose head was read. `interrupt` may be called from any thread."""

    def __init__(
        self,
        address: Address,
        head: Head,
        connection: Connection,
        body: http.client.HTTPResponse | None,
        keep: Callable[[Origin, Connection], None],
    ) -> None:
        """`body` reads what has no length; `keep` takes the connection back."""
        self.address = address
        """Of the request."""
        self.asked_at: float | None = None
        """When the request was sent ahead, as `Request` has it."""
        self.status = head.status
        self.headers: Mapping[str, str] = head.fields
        """Names in lower case."""
        self._closes = head.closes
        self._connection = connection
        self._body = body
        self._keep = keep
        self._left = head.length
        """Bytes still to come; None when the server did not say (chunked, or until it closes)."""
        self._open = True
        if self._left == 0:
            self._finish()  # as after HEAD: nobody will read

    @property
    def is_success(self) -> bool:
        """The status says that this is what was asked for."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def complete(self) -> bool:
        """The end of a body that was read to its end is certain: by its length, its last chunk, or TLS's close_notify.

        Where only the end of the connection ends the body, it may just as well have been cut.
        """
        if self._left is not None or self._body is None:
            return True
        return bool(self._body.chunked) or self._connection.close_notified

    @property
    def redirects(self) -> bool:
        """It says where to ask instead."""
        return self.status in REDIRECTS and "location" in self.headers

    def readinto(self, view: memoryview) -> int:
        """Put what has arrived into `view`, at least one byte; 0 at the end. Raises httpx2's errors."""
        try:
            return self._read(view)
        except TimeoutError as error:
            raise httpx2.ReadTimeout("silent for too long") from error
        except http.client.HTTPException as error:
            raise httpx2.RemoteProtocolError(malformed(error)) from error
        except (OSError, ValueError, AttributeError) as error:
            # The last two are what the standard library's objects raise when another thread closed them.
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
        """Read what has no length."""
        # Not `readinto`, which waits until the whole view is full, and loses what it has when that fails.
        piece = self._body.read1(min(len(view), PIECE)) if self._body is not None else b""
        view[: len(piece)] = piece
        if not piece:
            self._finish()
        return len(piece)

    def _finish(self) -> None:
        """Keep the connection for the next request, if the server lets us."""
        if not self._open:
            return
        self._open = False
        if self._closes:
            self._connection.close()
        else:
            self._keep(self.address.origin, self._connection)

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes. Raises httpx2's errors."""
        view = memoryview(bytearray(PIECE if self._left is None else min(PIECE, self._left)))
        while count := self.readinto(view):
            yield bytes(view[:count])

    def drain(self, worth: int) -> None:
        """Close it; what is left of a short one, up to so many bytes, is read, so that its connection can be kept."""
        if self._open and self._left is not None and self._left <= worth:
            with contextlib.suppress(httpx2.HTTPError):
                for _ in self.pieces():
                    pass
        self.close()

    def interrupt(self) -> None:
        """Wake a reader that is blocked in another thread; it sees the connection end."""
        if self._open:
            interrupt(self._connection.sock)

    def close(self) -> None:
        """Give the connection up unless the body was read to its end. Only for the thread that reads."""
        if self._open:
            self._open = False
            self._connection.close()


def read_whole(response: StreamingResponse, limit: int, observer: NetworkObserver, *, cut: bool = False) -> bytes:
    """Return the body as it comes, reporting its bytes to `observer`.

    A longer one than `limit` bytes is cut there, or else raises ProtocolFailed.
    """
    pieces = bytearray()
    for piece in response.pieces():
        pieces += piece
        observer.on_bytes(len(piece))
        if len(pieces) > limit:
            if cut:
                return bytes(pieces[:limit])
            raise ProtocolFailed(f"{shown_url(response.address.url)} answers with more than {limit} bytes")
    return bytes(pieces)


def decoded(body: bytes, headers: Mapping[str, str], limit: int, where: str) -> bytes:
    """Return an answer without the coding that some servers use unasked; a few bytes may stand for gigabytes."""
    coding = headers.get("content-encoding", "").lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip"):
        raise ProtocolFailed(f"{where} answers in the coding {coding[:20]!r} although it was asked not to")
    try:
        inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        plain = inflate.decompress(body, limit + 1)
    except zlib.error as error:
        raise ProtocolFailed(f"{where} answers with what is no gzip: {reason(error)}") from error
    if len(plain) > limit:
        raise ProtocolFailed(f"{where} answers with more than {limit} bytes")
    if not inflate.eof:
        raise ConnectionBroken(f"{where} packs its answer, and ends before it is whole")
    return plain
