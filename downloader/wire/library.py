"""The same plane for other people's code: answers come whole and bounded, and passing trouble as our errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2

from downloader.artifact import shown_url
from downloader.errors import ProtocolFailed, SourceUnavailable
from downloader.wire.answers import read_whole, unpacked
from downloader.wire.connection import Origin
from downloader.wire.refusal import refuse, translate

if TYPE_CHECKING:
    from downloader.meter import Meter
    from downloader.wire.transport import SocketTransport

PRIVATE = ("authorization", "cookie")
ABOUT_CODING = frozenset({"content-encoding", "content-length", "transfer-encoding"})


class LibraryTransport(httpx2.BaseTransport):
    """Carries a library's requests: at most `answers` answers of at most `limit` bytes each and `total` together."""

    def __init__(self, inner: SocketTransport, meter: Meter, *, limit: int, total: int, answers: int) -> None:
        self._inner = inner
        self._meter = meter
        self._limit = limit
        self._bytes_left = total
        self._answers_left = answers
        self._home: Origin | None = None

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; passing trouble is raised as our error."""
        url = str(request.url)
        self._answers_left -= 1
        if self._answers_left < 0 or self._bytes_left < 0:
            raise ProtocolFailed(f"{shown_url(url)}: there is no end to this listing")
        self._guard(request)
        try:
            request.headers["accept-encoding"] = "identity"
            response = self._inner.handle_request(request)
            try:
                body = read_whole(response, self._limit, self._meter)
            finally:
                response.close()
            self._meter.answered()
        except httpx2.HTTPError as error:
            raise translate(error, url) from error
        trouble = refuse(response.status_code, url, response.headers, body)
        if response.status_code >= httpx2.codes.BAD_REQUEST and isinstance(trouble, SourceUnavailable):
            raise trouble
        body = unpacked(body, response.headers, self._limit, shown_url(url))
        self._bytes_left -= len(body)
        headers = [(name, value) for name, value in response.headers.multi_items() if name not in ABOUT_CODING]
        return httpx2.Response(response.status_code, headers=headers, content=body, request=request)

    def _guard(self, request: httpx2.Request) -> None:
        """Keep what is meant for the first origin from all others: the next page of a listing may be anywhere."""
        origin = Origin.of(request.url)
        self._home = self._home or origin
        if origin != self._home:
            for name in PRIVATE:
                request.headers.pop(name, None)
            if self._home.scheme == "https" and origin.scheme != "https":
                where = shown_url(str(request.url))
                raise ProtocolFailed(f"{where} is where a listing goes on, from https to http, which is not followed")
