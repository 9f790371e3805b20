"""Reading a span over HTTP: pin, check, then read. Nothing here trusts what a server says about its response."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx2

from downloader.artifact import Span, Validator, shown_url
from downloader.errors import DownloadError, ProtocolFailed, RangeIgnored, SourceChanged, SourceUnavailable
from downloader.network.content_encoding import DecodedBody, can_decode
from downloader.network.errors import map_exception, place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.network.interfaces import ContentRules
    from downloader.network.messages import StreamingResponse

NUMBER = "[0-9]{1,19}"
"""Not more digits than any file's size has, and no others than those of ASCII."""
CONTENT_LENGTH = re.compile(NUMBER)
CONTENT_RANGE = re.compile(rf"bytes (?:({NUMBER})-({NUMBER})|\*)/({NUMBER}|\*)")
"""First byte, last byte and size of the file; the first two are missing in a 416, the size where it is unknown."""
SKIP_PIECE = 1 << 18


class Unpinned(SourceChanged):
    """An answer does not say of which version its bytes are, and nothing else would tell: it may be another one."""


@dataclass(frozen=True, slots=True)
class RangeRequest:
    """A span of a file of `size` bytes, None for all of a file of any size.

    The `validator` is that of the version that was listed, where known.
    """

    url: str
    span: Span
    size: int | None
    validator: Validator | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Credentials and the like: sent to the URL's own origin and to no other."""
    verified: bool = False
    """A digest will tell whether these are the right bytes: they may also come packed, or without the validator.

    Else the answer must repeat the validator, since nothing else would show that it is of another version.
    """

    as_stored: bool = False
    """What the store keeps packed shall come packed."""

    at: str = ""
    """The address that redirects led to: the one that answered."""

    @property
    def shown(self) -> str:
        """The URL as it may be shown."""
        return shown_url(self.url)

    @property
    def where(self) -> str:
        """How messages name it: with the host that answered, where that is another one."""
        return place(self.url, self.at)

    @property
    def whole(self) -> bool:
        """The span is the file, so no Range is needed, and servers that know no ranges can answer."""
        return self.size is None or (self.span.start == 0 and self.span.stop == self.size)

    def range_headers(self) -> dict[str, str]:
        """Return the headers that ask for the span of this version, uncompressed."""
        headers = {"accept-encoding": "gzip" if self.as_stored else "identity"}
        if not self.whole:
            headers["range"] = f"bytes={self.span.start}-{self.span.stop - 1}"
        if self.validator is not None and self.validator.is_strong:
            headers["if-match"] = self.validator.value
        return headers


class SpanBody:
    """The checked body of one response: the bytes of the span, or the first of them where the server sends fewer."""

    def __init__(
        self,
        response: StreamingResponse | DecodedBody,
        request: RangeRequest,
        *,
        length: int,
        skip: int,
        prefetched: bool,
    ) -> None:
        self._response = response
        self._request = request
        self._left = length
        self._skip = skip
        self._announced = prefetched
        """The server named the body's length and it is the right one; else its end must be seen."""

    def readinto(self, view: memoryview, /) -> int:
        """Put the next bytes into `view`; 0 after the answer's last byte that belongs to the span."""
        if self._skip:
            self._pass_over()
        if self._left == 0:
            self._see_the_end()
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

    def _pass_over(self) -> None:
        view = memoryview(bytearray(min(SKIP_PIECE, self._skip)))
        while self._skip:
            count = self._next(view[: self._skip])
            if count == 0:
                raise SourceUnavailable(f"{self._request.where} ended before the span began")
            self._skip -= count

    def _see_the_end(self) -> None:
        if self._announced:
            return
        self._announced = True
        if self._next(memoryview(bytearray(1))):
            raise ProtocolFailed(f"{self._request.where} sends more bytes than the file has")

    def interrupt(self) -> None:
        """Wake a reader that is blocked in another thread."""
        self._response.interrupt()

    def close(self) -> None:
        """Give the connection up unless the answer was read to its end."""
        self._response.close()


def content_length(headers: Mapping[str, str]) -> int | None:
    """Return the announced length of a body; None where there is none that makes sense."""
    text = headers.get("content-length", "")
    return int(text) if CONTENT_LENGTH.fullmatch(text) else None


def total_length(headers: Mapping[str, str]) -> int | None:
    """Return the size of the whole file by `Content-Range`; None where it does not tell."""
    found = CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    return int(found[3]) if found and found[3] != "*" else None


def checked_body(request: RangeRequest, response: StreamingResponse, content: ContentRules) -> SpanBody:
    """Return the body of a 200 or 206 response if it is what was asked for; raise one of our errors otherwise."""
    headers = response.headers
    if _is_page(request, headers, content):
        hint = "is there a page to log in, or a proxy in between?"
        raise ProtocolFailed(f"{request.where} answers with a web page in the place of the file", hint=hint)
    if _compressed(request, headers):
        return _decoded_body(request, response)
    check_version(request, headers)
    prefetched = content_length(headers)
    content_range = headers.get("content-range")
    if content_range is not None:
        # Judged by Content-Range, not by the status: some servers send a right range with status 200.
        skip, length, expected = _checked_range(content_range, request)
    elif response.status == HTTPStatus.PARTIAL_CONTENT:
        raise RangeIgnored(f"{request.where} sends a part without saying which")
    else:
        skip, length = _whole_body(request, prefetched)
        expected = length + skip
    if prefetched is not None and prefetched != expected:
        raise _wrong_length(request, prefetched, expected)
    return SpanBody(response, request, length=length, skip=skip, prefetched=prefetched is not None)


def was_decompressed(request: RangeRequest, headers: Mapping[str, str]) -> bool:
    """Tell whether GCS has unpacked an object of whose packed bytes the size was listed: who takes gzip gets these."""
    stored = headers.get("x-goog-stored-content-encoding") == "gzip" and "content-encoding" not in headers
    return stored and not request.as_stored and headers.get("x-goog-stored-content-length") == str(request.size)


def _is_page(request: RangeRequest, headers: Mapping[str, str], content: ContentRules) -> bool:
    """Tell whether the answer is a page, of another length than the file, which the server sends for any URL."""
    if "content-range" in headers or content_length(headers) in (None, request.size):
        return False
    return content.is_suspicious(request.shown, headers.get("content-type", ""))


def _decoded_body(request: RangeRequest, response: StreamingResponse) -> SpanBody:
    """Return the body of an answer that is packed, unpacked, where there is a digest that proves it."""
    if not request.verified or not can_decode(response.headers):
        raise ProtocolFailed(f"{request.where} compresses the file although it was asked not to")
    if response.status == HTTPStatus.PARTIAL_CONTENT or request.span.stop != request.size:
        hint = "HTTP reads it in one stream"
        raise RangeIgnored(f"{request.where} compresses the file, so that no range of it can be read", hint=hint)
    body = DecodedBody(response, request.where)
    return SpanBody(body, request, length=len(request.span), skip=request.span.start, prefetched=False)


def _compressed(request: RangeRequest, headers: Mapping[str, str]) -> bool:
    """Tell whether the server compressed the file for us; one that is kept compressed still has the listed size."""
    if headers.get("content-encoding", "identity").lower() in ("", "identity"):
        return False
    total = total_length(headers) if "content-range" in headers else content_length(headers)
    return total != request.size


def _whole_body(request: RangeRequest, prefetched: int | None) -> tuple[int, int]:
    """Return what to pass over and what to read of an answer that holds the whole file."""
    if request.size is not None and prefetched not in (None, request.size):
        raise _wrong_length(request, prefetched or 0, request.size)
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


def _wrong_length(request: RangeRequest, prefetched: int, expected: int) -> DownloadError:
    if request.whole:
        return SourceChanged(f"{request.where} announces {prefetched} bytes, it was listed with {expected}")
    return RangeIgnored(f"{request.where} announces {prefetched} bytes for {request.span}")


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
    if listed != sent if by_date else _opaque(listed) != _opaque(sent):
        raise SourceChanged(f"{request.where} changed: it is no longer the version that was listed")


def _opaque(tag: str) -> str:
    return tag.strip().removeprefix("W/").strip('"')


def unsatisfied(request: RangeRequest, headers: Mapping[str, str]) -> DownloadError:
    """Return what a 416 means: the file has another size now, or the server cannot do this range."""
    total = total_length(headers)
    if total is not None and total != request.size:
        return SourceChanged(f"{request.where} has {total} bytes now, it was listed with {request.size}")
    return RangeIgnored(f"{request.where} refuses {request.span}")
