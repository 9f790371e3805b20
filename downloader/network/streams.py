"""Reads a file of unknown size: one response to its end, which must be certain."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx2

from downloader.errors import ProtocolFailed, RangeIgnored
from downloader.network.content_encoding import DecodedBody, can_decode, is_compressed
from downloader.network.errors import map_exception
from downloader.network.ranges import check_version

if TYPE_CHECKING:
    from downloader.network.interfaces import ContentRules
    from downloader.network.messages import StreamingResponse
    from downloader.network.ranges import RangeRequest


class StreamBody:
    """The body of one response, read to its end, for a file of unknown size."""

    def __init__(self, response: StreamingResponse | DecodedBody, request: RangeRequest, content: ContentRules) -> None:
        self._response = response
        self._request = request
        self._empty = True
        self._end = None if request.verified else content.end_of(request.shown)

    def readinto(self, view: memoryview, /) -> int:
        """Read the next bytes into `view` and return their number; 0 at the end of the file.

        Raises ProtocolFailed where the end is not certain and no digest can show that bytes are missing.
        """
        try:
            count = self._response.readinto(view)
        except httpx2.HTTPError as error:
            raise map_exception(error, self._request.url, self._request.at) from error
        self._empty &= not count
        if self._end is not None:
            self._end.update(view[:count])
        if count or self._request.verified:
            return count
        if self._empty:
            # A program that fails before its first byte sends this, too. For an empty file there is Content-Length: 0.
            raise ProtocolFailed(
                f"{self._request.where} answers with no bytes, and does not say that the file is empty"
            )
        if not self._response.complete and not (self._end is not None and self._end.reached()):
            raise ProtocolFailed(
                f"{self._request.where} is sent without its length, so it may be incomplete",
                hint="give its digest with #sha256=",
            )
        return count

    def interrupt(self) -> None:
        """Wake a reader that is blocked in another thread."""
        self._response.interrupt()

    def close(self) -> None:
        """Close the connection unless the response was read to its end."""
        self._response.close()


def stream_body(request: RangeRequest, response: StreamingResponse, content: ContentRules) -> StreamBody:
    """Return the body of a checked response of unknown length."""
    check_version(request, response.headers)
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        raise RangeIgnored(f"{request.where} was asked for the whole file and sends a part of it")
    encoded = can_decode(response.headers) and not is_compressed(request.shown)
    return StreamBody(DecodedBody(response, request.where) if encoded else response, request, content)
