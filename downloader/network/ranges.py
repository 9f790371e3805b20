"""Reads a byte range over HTTP. Nothing here trusts what a server says about its response.

Servers and proxies ignore `Range`, answer with another range, send a login page with status 200, compress what was
asked for uncompressed, and replace files between two requests. Each of these gives bytes of the right length at the
wrong place. So before the first byte is read, the response must show that it has the version and the range that were
asked for, and while it is read, that it has not more and not fewer bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003 -- a NamedTuple's fields are evaluated by some tools
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import httpx2

from downloader.artifact import Span, Validator, shown_url
from downloader.errors import DownloadError, ProtocolFailed, RangeIgnored, SourceChanged, SourceUnavailable
from downloader.network.content_encoding import DecodedBody, can_decode, is_encoded
from downloader.network.errors import map_exception, place
from downloader.network.h1 import MAX_DIGITS, is_number

if TYPE_CHECKING:
    from downloader.network.interfaces import ContentRules, NetworkObserver
    from downloader.network.messages import StreamingResponse

NUMBER = f"[0-9]{{1,{MAX_DIGITS}}}"
"""ASCII digits only, and not those of other scripts, and no more of them than a file size may have."""
CONTENT_RANGE = re.compile(rf"bytes (?:({NUMBER})-({NUMBER})|\*)/({NUMBER}|\*)")
"""First byte, last byte and size of the file; the first two are missing in a 416, the size where it is unknown."""
SKIP_PIECE = 1 << 18
_PARTIAL_CONTENT = int(HTTPStatus.PARTIAL_CONTENT)


class Unpinned(SourceChanged):
    """A response does not say of which version its bytes are, and no digest could show that it is another one."""


_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_PLAIN, _GZIP = {"accept-encoding": "identity"}, {"accept-encoding": "gzip"}


class RangeRequest(NamedTuple):
    """A byte range of a file of `size` bytes; with `size=None` the whole file, whatever its size.

    `validator` is that of the version that was listed, None where it is unknown.
    """

    url: str
    span: Span
    size: int | None
    validator: Validator | None = None
    headers: Mapping[str, str] = _NO_HEADERS
    """Private headers, such as credentials: sent to the URL's own origin only."""
    verified: bool = False
    """The file has a digest that will be verified, so it may also arrive compressed or without its validator.

    Without one, the response must repeat the validator: nothing else shows that it is of the same version.
    """

    as_stored: bool = False
    """Ask for the stored bytes where the store keeps the file compressed."""

    at: str = ""
    """The URL that redirects led to; empty where there was none."""

    def __repr__(self) -> str:
        """Return it without its headers and what a URL may hide."""
        return f"RangeRequest({self.shown}, {self.span})"

    @property
    def shown(self) -> str:
        """The URL without secrets."""
        return shown_url(self.url)

    @property
    def where(self) -> str:
        """How messages name it: the URL, and the host that answered where that is another one."""
        return place(self.url, self.at)

    @property
    def whole(self) -> bool:
        """Whether it is the whole file: then no `Range` is sent, and servers without ranges work, too."""
        return self.size is None or (self.span.start == 0 and self.span.stop == self.size)

    def range_headers(self) -> Mapping[str, str]:
        """Return the headers that ask for this range of this version, uncompressed."""
        headers = _GZIP if self.as_stored else _PLAIN
        if not self.whole:
            headers = {**headers, "range": f"bytes={self.span.start}-{self.span.stop - 1}"}
        if self.validator is not None and self.validator.is_strong:
            headers = {**headers, "if-match": self.validator.value}
        return headers


class SpanBody:
    """The body of a checked response: the bytes of the range, or the first of them if the server sends fewer."""

    def __init__(
        self,
        response: StreamingResponse | DecodedBody,
        request: RangeRequest,
        *,
        length: int,
        skip: int,
        length_known: bool,
        observer: NetworkObserver,
    ) -> None:
        self._response = response
        self._observer = observer
        self._request = request
        self._left = length
        self._skip = skip
        self._end_is_certain = length_known
        """Without a `Content-Length`, the end of the body must be read: more bytes mean that it is another file."""

    def readinto(self, view: memoryview, /) -> int:
        """Read the next bytes into `view` and return their number; 0 after the last one.

        Raises SourceUnavailable where the body ends too early, and ProtocolFailed where it does not end.
        """
        if self._skip:
            self._skip_start()
        if self._left == 0:
            self._check_end()
            return 0
        count = self._next(view if len(view) <= self._left else view[: self._left])
        if count == 0:
            raise SourceUnavailable(f"{self._request.where} ended {self._left} bytes too early")
        self._left -= count
        return count

    def _next(self, view: memoryview) -> int:
        try:
            return self._response.readinto(view)
        except httpx2.HTTPError as error:
            raise map_exception(error, self._request.url, self._request.at) from error

    def _skip_start(self) -> None:
        view = memoryview(bytearray(min(SKIP_PIECE, self._skip)))
        while self._skip:
            count = self._next(view[: self._skip])
            if count == 0:
                raise SourceUnavailable(f"{self._request.where} ended before the span began")
            self._skip -= count
            self._observer.on_skipped(count)  # or a resumed file would seem to stall while its beginning comes again

    def _check_end(self) -> None:
        if self._end_is_certain:
            return
        self._end_is_certain = True
        if self._next(memoryview(bytearray(1))):
            raise ProtocolFailed(f"{self._request.where} sends more bytes than the file has")

    def interrupt(self) -> None:
        """Wake a reader that is blocked in another thread."""
        self._response.interrupt()

    def close(self) -> None:
        """Close the connection unless the response was read to its end."""
        self._response.close()


def content_length(headers: Mapping[str, str]) -> int | None:
    """Return the `Content-Length`; None where it is missing or malformed."""
    text = headers.get("content-length", "")
    return int(text) if is_number(text) else None


def total_length(headers: Mapping[str, str]) -> int | None:
    """Return the size of the whole file from `Content-Range`; None where it is missing or unknown."""
    found = CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    return int(found[3]) if found and found[3] != "*" else None


def checked_body(
    request: RangeRequest, response: StreamingResponse, content: ContentRules, observer: NetworkObserver
) -> SpanBody:
    """Return the body of a 200 or 206 response if it is what was asked for; raise one of our errors otherwise."""
    headers = response.headers
    if _is_page(request, headers, content):
        hint = "is there a page to log in, or a proxy in between?"
        raise ProtocolFailed(f"{request.where} answers with a web page in the place of the file", hint=hint)
    if _compressed(request, headers):
        return _decoded_body(request, response, observer)
    check_version(request, headers)
    announced = content_length(headers)
    content_range = headers.get("content-range")
    if content_range is not None:
        # By Content-Range, not by the status: some servers send the right range with status 200.
        skip, length, expected = _checked_range(content_range, request)
    elif response.status == _PARTIAL_CONTENT:
        raise RangeIgnored(f"{request.where} sends a part without saying which")
    else:
        skip, length = _whole_body(request, announced)
        expected = length + skip
    if announced is not None and announced != expected:
        raise _wrong_length(request, announced, expected)
    known = announced is not None
    return SpanBody(response, request, length=length, skip=skip, length_known=known, observer=observer)


def was_decompressed(request: RangeRequest, headers: Mapping[str, str]) -> bool:
    """Tell whether GCS decompressed an object that was listed with its compressed size.

    A request that accepts gzip gets the stored bytes.
    """
    stored = headers.get("x-goog-stored-content-encoding") == "gzip" and "content-encoding" not in headers
    return stored and not request.as_stored and headers.get("x-goog-stored-content-length") == str(request.size)


def _is_page(request: RangeRequest, headers: Mapping[str, str], content: ContentRules) -> bool:
    """Tell whether the answer is a page, of another length than the file, which the server sends for any URL."""
    if "content-range" in headers or content_length(headers) in (None, request.size):
        return False
    return content.is_suspicious(request.shown, headers.get("content-type", ""))


def _decoded_body(request: RangeRequest, response: StreamingResponse, observer: NetworkObserver) -> SpanBody:
    """Return the body of an answer that is packed, unpacked, where there is a digest that proves it."""
    if not request.verified or not can_decode(response.headers):
        raise ProtocolFailed(f"{request.where} compresses the file although it was asked not to")
    if response.status == HTTPStatus.PARTIAL_CONTENT or request.span.stop != request.size:
        hint = "HTTP reads it in one stream"
        raise RangeIgnored(f"{request.where} compresses the file, so that no range of it can be read", hint=hint)
    body = DecodedBody(response, request.where)
    skip, length = request.span.start, len(request.span)
    return SpanBody(body, request, length=length, skip=skip, length_known=False, observer=observer)


def _compressed(request: RangeRequest, headers: Mapping[str, str]) -> bool:
    """Tell whether the server compressed the file for us; one that is kept compressed still has the listed size."""
    if not is_encoded(headers):
        return False
    total = total_length(headers) if "content-range" in headers else content_length(headers)
    return total != request.size


def _whole_body(request: RangeRequest, announced: int | None) -> tuple[int, int]:
    """Return how many bytes to skip and to read of a response that has the whole file."""
    if request.size is not None and announced not in (None, request.size):
        raise _wrong_length(request, announced or 0, request.size)
    if request.span.stop != request.size:
        raise RangeIgnored(
            f"{request.where} ignores ranges and sends the whole file", hint="HTTP reads it in one stream"
        )
    return request.span.start, len(request.span)


def _checked_range(value: str, request: RangeRequest) -> tuple[int, int, int]:
    """Return what to pass over and what to read of an answer with some range, and the answer's length.

    It may begin earlier, and end earlier or later than what was asked for: what is right of it is taken.
    """
    match = CONTENT_RANGE.fullmatch(value.strip())
    if match is None or match[1] is None:
        raise RangeIgnored(f"{request.where} names its range in a way that cannot be read: {value[:60]!r}")
    first, last, total = match.groups()
    if total != "*" and int(total) != request.size:
        raise SourceChanged(f"{request.where} has {total} bytes now, it was listed with {request.size}")
    answered = Span(int(first), int(last) + 1)
    skip = request.span.start - answered.start
    if not 0 <= skip < len(answered) or skip > len(request.span):
        raise RangeIgnored(f"{request.where} was asked for {request.span} and answers bytes {first}-{last}")
    return skip, min(answered.stop, request.span.stop) - request.span.start, len(answered)


def _wrong_length(request: RangeRequest, announced: int, expected: int) -> DownloadError:
    if request.whole:
        return SourceChanged(f"{request.where} announces {announced} bytes, it was listed with {expected}")
    return RangeIgnored(f"{request.where} announces {announced} bytes for {request.span}")


def check_version(request: RangeRequest, headers: Mapping[str, str]) -> None:
    """Judge by what the answer says: a server may ignore If-Match, and not every response repeats the validator."""
    if request.validator is None:
        return
    by_date = request.validator.is_date
    name = "last-modified" if by_date else "etag"
    if name not in headers:
        if not request.verified:
            raise Unpinned(f"{request.where} does not say with its bytes of which version they are")
        return
    listed, sent = request.validator.value, headers[name]
    if listed != sent and (by_date or _opaque(listed) != _opaque(sent)):
        raise SourceChanged(f"{request.where} changed: it is no longer the version that was listed")


def _opaque(tag: str) -> str:
    return tag.strip().removeprefix("W/").strip('"')


def unsatisfied(request: RangeRequest, headers: Mapping[str, str]) -> DownloadError:
    """Return the error for a 416: the file has another size now, or the server does not support this range."""
    total = total_length(headers)
    if total is not None and total != request.size:
        return SourceChanged(f"{request.where} has {total} bytes now, it was listed with {request.size}")
    return RangeIgnored(f"{request.where} refuses {request.span}")
