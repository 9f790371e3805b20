"""Answers byte by byte, and a client that reads them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from downloader import integrity
from downloader.artifact import Span
from downloader.network import HttpClient, RangeRequest
from downloader.network.pool import Timeouts
from downloader.network.proxies import Proxies
from tests.reading import rest_of
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.network.tls import Trust

SIZE = 10
CONTENT = b"0123456789"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + CONTENT


def answer(*headers: bytes, body: bytes = CONTENT, status: bytes = b"200 OK") -> bytes:
    """Write an answer, right or wrong."""
    return b"\r\n".join([b"HTTP/1.1 " + status, *headers, b"", body])


@contextmanager
def client_of(
    tls: Trust, *, connect: float = AT_LAST, read: float = AT_LAST, look_ahead: float = AT_LAST
) -> Iterator[HttpClient]:
    """Make an HTTP client with these timeouts, in seconds."""
    timeouts = Timeouts(connect, read, look_ahead=look_ahead)
    web = HttpClient(tls, Proxies(), user_agent="tests", timeouts=timeouts, content=integrity)
    yield web
    web.close()


def fetched(web: HttpClient, url: str, span: Span | None = None, view_size: int = 1 << 20) -> bytes:
    """Read a span of a file of ten bytes."""
    return rest_of(web.open(RangeRequest(url, span or Span(0, SIZE), SIZE)), view_size)
