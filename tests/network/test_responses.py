"""Answers that are not as they should be: each ends in the right bytes or in one of our errors."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Span, Validator
from downloader.errors import (
    DownloadError,
    ProtocolFailed,
    RangeIgnored,
    SourceChanged,
    SourceSilent,
    SourceUnavailable,
)
from downloader.network import RangeRequest
from downloader.network.tls import Trust
from tests.network.clients import CONTENT, SIZE, WHOLE, answer, client_of, fetched
from tests.reading import rest_of
from tests.servers.raw import Raw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.network import HttpClient


@pytest.fixture(scope="module")
def client() -> Iterator[HttpClient]:
    with client_of(Trust(verify=False)) as web:
        yield web


@pytest.fixture(scope="module")
def hasty() -> Iterator[HttpClient]:
    """One that is soon tired of silence."""
    with client_of(Trust(verify=False), read=0.2) as web:
        yield web


RIGHT = {
    "with a length": WHOLE,
    "with the same length twice": answer(b"Content-Length: 10", b"Content-Length: 10"),
    "with an empty line in its reason": answer(b"Content-Length: 10", status=b"200 "),
    "with a header in Latin-1": answer("X-Owner: Zoë".encode("latin-1"), b"Content-Length: 10"),
    "with a folded header": answer(b"X-Long: a\r\n b", b"Content-Length: 10"),
    "in chunks": answer(
        b"Transfer-Encoding: chunked", body=b"3\r\n012\r\n7;x=y\r\n3456789\r\n0\r\nX-Trailer: a\r\n\r\n"
    ),
    "in chunks and with a length": answer(
        b"Transfer-Encoding: chunked", b"Content-Length: 10", body=b"a\r\n0123456789\r\n0\r\n\r\n"
    ),
    "after a 100": b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE,
    "after interim answers of other kinds": b"HTTP/1.1 102 Processing\r\n\r\n" * 3
    + b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"
    + WHOLE,
    "with bare line feeds": answer(b"Content-Length: 10").replace(b"\r\n", b"\n"),
    "with a bare line feed at the end of its head": WHOLE.replace(b"\r\n\r\n", b"\r\n\n"),
    "as a part that was not asked for": answer(
        b"Content-Length: 10", b"Content-Range: bytes 0-9/10", status=b"206 Partial Content"
    ),
    "with blanks around its values": answer(b"Content-Length:\t10 \t", b"Connection: keep-alive "),
    "with an unknown kind of validator": answer(b"ETag: oh", b"Content-Length: 10"),
}


@pytest.mark.parametrize("written", RIGHT.values(), ids=RIGHT)
def test_an_answer_is_right(client: HttpClient, written: bytes) -> None:
    with Raw([written]) as server:
        assert fetched(client, server.url) == CONTENT


@pytest.mark.parametrize("last", [b"Connection: close", b"Content-Length: ten"])
def test_a_body_may_last_until_the_connection_ends(client: HttpClient, last: bytes) -> None:
    with Raw([answer(last)]) as server:
        threading.Timer(0.05, server.close).start()
        assert fetched(client, server.url) == CONTENT


WRONG: dict[str, tuple[bytes, type[DownloadError]]] = {
    "a length in other digits": (answer("Content-Length: ²".encode("latin-1")), SourceSilent),
    "a length of five thousand digits": (answer(b"Content-Length: " + b"1" * 5000), SourceSilent),
    "a negative length": (answer(b"Content-Length: -5"), SourceSilent),
    "two lengths": (answer(b"Content-Length: 5", b"Content-Length: 10", body=CONTENT[:5]), SourceUnavailable),
    "a greater length": (answer(b"Content-Length: 11", body=b"x" * 11), SourceChanged),
    "a length beyond all bounds": (answer(b"Content-Length: " + b"9" * 30), SourceSilent),
    "a length that no file has": (answer(b"Content-Length: " + b"9" * 18), SourceChanged),
    "a chunk of no size": (answer(b"Transfer-Encoding: chunked", body=b"xyz\r\n"), SourceUnavailable),
    "a chunk that never ends": (answer(b"Transfer-Encoding: chunked", body=b"3\r\n01"), SourceSilent),
    "fewer bytes in chunks": (
        answer(b"Transfer-Encoding: chunked", body=b"5\r\n01234\r\n0\r\n\r\n"),
        SourceUnavailable,
    ),
    "a transfer coding that was not asked for": (
        answer(b"Transfer-Encoding: gzip, chunked", body=b"a\r\n0123456789\r\n0\r\n\r\n"),
        SourceUnavailable,
    ),
    "no answer but noise": (b"\x16\x03\x01\r\n\r\n", SourceUnavailable),
    "a status that is no number": (b"HTTP/1.1 ok\r\n\r\n", SourceUnavailable),
    "a hundred headers": (answer(*(b"X-%d: y" % n for n in range(200))), SourceUnavailable),
    "a header without end": (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000, SourceUnavailable),
    "a switch of protocols": (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", SourceUnavailable),
    "nothing, with success": (b"HTTP/1.1 204 No Content\r\n\r\n", SourceUnavailable),
    "a part without saying which": (answer(b"Content-Length: 10", status=b"206 P"), RangeIgnored),
    "a part from another place": (
        answer(b"Content-Length: 9", b"Content-Range: bytes 1-9/10", body=CONTENT[1:], status=b"206 P"),
        RangeIgnored,
    ),
    "a part of a strange kind": (answer(b"Content-Length: 10", b"Content-Range: lines 0-9/10"), RangeIgnored),
    "a part in other digits": (
        answer(b"Content-Length: 10", "Content-Range: bytes 0-²/10".encode("latin-1")),
        RangeIgnored,
    ),
    "a part beyond all bounds": (
        answer(b"Content-Length: 10", b"Content-Range: bytes 0-9/" + b"1" * 5000),
        RangeIgnored,
    ),
    "a part that ends beyond what 64 bits hold": (
        answer(b"Content-Length: 10", b"Content-Range: bytes 0-9999999999999999998/*"),
        RangeIgnored,
    ),
    "an end that came too early": (answer(b"Content-Length: 10", body=b"01234"), SourceSilent),
    "a coding that was not asked for": (answer(b"Content-Encoding: br", b"Transfer-Encoding: chunked"), ProtocolFailed),
}


@pytest.mark.parametrize("sentence", WRONG)
def test_an_answer_with(client: HttpClient, hasty: HttpClient, sentence: str) -> None:
    written, kind = WRONG[sentence]
    with Raw([written]) as server, pytest.raises(DownloadError) as caught:
        fetched(hasty if kind is SourceSilent else client, server.url)
    assert type(caught.value) is kind, caught.value


@pytest.mark.slow
def test_after_a_wrong_answer_the_connection_is_not_used_again() -> None:
    complete = {"nothing, with success", "fewer bytes in chunks", "two lengths"}
    sentences = WRONG.keys() - complete

    def connections(sentence: str) -> int:
        with client_of(tls, read=3) as web, Raw([WRONG[sentence][0], WHOLE]) as server:
            with pytest.raises(DownloadError):
                fetched(web, server.url)
            assert fetched(web, server.url) == CONTENT
            return server.connections

    tls = Trust(verify=False)
    with ThreadPoolExecutor(len(sentences)) as at_once:
        found = dict(zip(sentences, at_once.map(connections, sentences), strict=True))
    assert found == dict.fromkeys(sentences, 2)


def test_the_first_request_asks_for_plain_bytes_and_no_more_than_the_span(client: HttpClient) -> None:
    part = answer(b"Content-Length: 3", b"Content-Range: bytes 2-4/10", body=b"234", status=b"206 Partial Content")
    with Raw([part]) as server:
        assert fetched(client, server.url, Span(2, 5)) == b"234"
        head = server.requests[0].lower()
        assert b"range: bytes=2-4" in head
        assert b"accept-encoding: identity" in head
        assert head.count(b"accept-encoding") == 1
        assert b"user-agent: tests" in head
        assert b"if-match" not in head


TAG = Validator('"v1"')
DATE = Validator("Wed, 21 Oct 2015 07:28:00 GMT", is_date=True)


@pytest.mark.parametrize(
    ("validator", "sent"),
    [
        (TAG, b'if-match: "v1"'),
        (Validator('W/"v1"'), None),
        (Validator('"v\u00e9"'), None),
        (DATE, None),
        (None, None),
    ],
)
def test_only_strong_validators_are_demanded(
    client: HttpClient, validator: Validator | None, sent: bytes | None
) -> None:
    with Raw([WHOLE]) as server:
        body = client.open(RangeRequest(server.url, Span(0, SIZE), SIZE, validator, verified=True))
        body.close()
        head = server.requests[0].lower()
    assert (b"if-match" in head) is (sent is not None)
    assert sent is None or sent in head


@pytest.mark.parametrize(
    ("validator", "text"),
    [(TAG, '"v1"'), (Validator('W/"v1"'), 'W/"v1"'), (DATE, "modified:Wed, 21 Oct 2015 07:28:00 GMT")],
)
def test_validators_enter_identities_as_in_earlier_releases(validator: Validator, text: str) -> None:
    """Partials on volumes are found by the identity of their file."""
    assert str(validator) == text


@pytest.mark.parametrize(
    ("validator", "headers", "same"),
    [
        (TAG, b'ETag: "v1"', True),
        (TAG, b'ETag: W/"v1"', True),
        (TAG, b"ETag: v1", True),
        (TAG, b"X: y", False),
        (TAG, b'ETag: "v2"', False),
        (DATE, b"Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT", True),
        (DATE, b"Last-Modified: Wed, 21 Oct 2015 07:29:00 GMT", False),
        (DATE, b"X: y", False),
    ],
)
def test_another_version_is_known_by_its_validator(
    client: HttpClient, validator: Validator, headers: bytes, *, same: bool
) -> None:
    with Raw([answer(headers, b"Content-Length: 10")]) as server:
        request = RangeRequest(server.url, Span(0, SIZE), SIZE, validator)
        if same:
            client.open(request).close()
            return
        with pytest.raises(SourceChanged):
            client.open(request)


def test_where_a_digest_proves_the_file_an_answer_need_not_repeat_the_validator(client: HttpClient) -> None:
    with Raw([WHOLE]) as server:
        assert rest_of(client.open(RangeRequest(server.url, Span(0, SIZE), SIZE, TAG, verified=True))) == CONTENT


@pytest.mark.parametrize(
    ("span", "told", "taken"),
    [
        (Span(2, 8), b"2-4", b"234"),
        (Span(2, 8), b"2-9", b"234567"),
        (Span(2, 8), b"0-9", b"234567"),
        (Span(2, 8), b"1-2", b"2"),
        (Span(0, 10), b"0-0", b"0"),
        (Span(2, 8), b"3-7", None),
        (Span(2, 8), b"0-1", None),
        (Span(8, 9), b"0-9", None),
        (Span(2, 8), b"5-4", None),
    ],
)
def test_of_another_range_what_is_right_is_taken_and_no_more(
    client: HttpClient, span: Span, told: bytes, taken: bytes | None
) -> None:
    first, last = map(int, told.split(b"-"))
    body = CONTENT[first : last + 1]
    written = answer(
        b"Content-Range: bytes %b/10" % told, b"Content-Length: %d" % len(body), body=body, status=b"206 Partial"
    )
    with Raw([written]) as server:
        if taken is not None:
            assert fetched(client, server.url, span) == taken
            return
        with pytest.raises(RangeIgnored):
            fetched(client, server.url, span)


def test_what_is_kept_compressed_is_read_as_it_is_kept(client: HttpClient) -> None:
    whole = answer(b"Content-Encoding: gzip", b"Content-Length: 10")
    part = answer(
        b"Content-Encoding: gzip", b"Content-Range: bytes 2-4/10", b"Content-Length: 3", body=b"234", status=b"206 P"
    )
    with Raw([whole, part]) as server:
        assert fetched(client, server.url) == CONTENT
        assert fetched(client, server.url, Span(2, 5)) == b"234"


def test_what_gcs_unpacks_is_asked_for_as_it_is_stored(client: HttpClient) -> None:
    stored = (b"x-goog-stored-content-encoding: gzip", b"x-goog-stored-content-length: 10")
    unpacked = answer(*stored, b"Transfer-Encoding: chunked", body=b"14\r\n" + 2 * CONTENT + b"\r\n0\r\n\r\n")
    kept = answer(*stored, b"Content-Encoding: gzip", b"Content-Length: 10")
    with Raw([unpacked, kept]) as server:
        assert fetched(client, server.url) == CONTENT
        assert [b"accept-encoding: gzip" in head.lower() for head in server.requests] == [False, True]
    with Raw([unpacked]) as server, pytest.raises(ProtocolFailed):
        fetched(client, server.url)


def test_a_suffix_can_be_had_from_a_server_without_ranges_and_a_middle_cannot(client: HttpClient) -> None:
    with Raw([WHOLE]) as server:
        assert fetched(client, server.url, Span(7, SIZE)) == b"789"
        with pytest.raises(RangeIgnored):
            fetched(client, server.url, Span(2, 5))
