"""What is read by a pattern means what the library makes of it: heads of answers, and addresses."""

from __future__ import annotations

import http.client
import io
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import httpx2
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from downloader.network.h1 import MAX_FIELDS, Head, field_lines, parse_common_head, request_head
from downloader.network.url import PLAIN, Address, address
from tests.adversarial.test_fuzz import HEADERS, QUICK, mostly

if TYPE_CHECKING:
    import socket

COMMON = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"


class Connection:
    """What `http.client` reads an answer from."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)

    def makefile(self, _mode: str) -> io.BytesIO:
        return self.file


def by_the_library(data: bytes, method: str) -> tuple[Head, int]:
    connection = Connection(data)
    response = http.client.HTTPResponse(cast("socket.socket", connection), method=method)
    with suppress(OSError):
        response.begin()
    # The blanks behind a value do not belong to it, though the library leaves them there.
    fields = dict(httpx2.Headers([(name, value.strip(" \t")) for name, value in response.getheaders()]))
    # Of several such fields the library looks at the first one only.
    closes = response.will_close or "close" in fields.get("connection", "").lower()
    return Head(response.status, fields, response.length, closes), connection.file.tell()


GRAPHIC = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
ANY = st.text(st.characters(max_codepoint=255), max_size=20)
ODD_NAMES = st.sampled_from(["connection", "CONNECTION", "From ", "x y", "", "X-\t", "content-length", "\u00e9"])
ODD_VALUES = st.sampled_from(["5", "close", "keep-alive", "chunked", "05", "+5", "5 ", "\r\n x"])
FIELD_LINES = st.builds(
    lambda name, blank, value, end: f"{name}:{blank}{value}{end}".encode("latin-1"),
    mostly("X-Some", HEADERS, ODD_NAMES),
    st.sampled_from(["", " ", "\t "]),
    st.one_of(GRAPHIC, GRAPHIC, GRAPHIC, ANY, ODD_VALUES),
    st.sampled_from(["\r\n"] * 15 + ["\n", "\r"]),
)
ODD_STATUS_LINES = st.sampled_from([b"HTTP/1.1 206\r\n", b"HTTP/1.1 204 x\r\n", b"HTTP/1.0 200 OK\r\n"])
HEADS = st.builds(
    lambda status, length, fields: b"".join([status, length, *fields, b"\r\nhello"]),
    mostly(b"HTTP/1.1 200 OK\r\n", ODD_STATUS_LINES),
    mostly(b"Content-Length: 5\r\n", st.sampled_from([b"", b"Content-Length: 5x\r\n"])),
    st.lists(FIELD_LINES, max_size=4),
)


@pytest.mark.slow
@QUICK
@given(data=HEADS)
@example(COMMON + b"\r\nhello")
@example(COMMON + b"Connection: close\r\nX: a\r\nX: b\r\n\r\nhello")
@example(COMMON + b"Connection: keep-alive, Close\r\n\r\n")
@example(COMMON + b'ETag:\t "v1" \t\r\nX: a \r\nX: b \r\n\r\n')
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_common_head_means_what_the_library_reads(method: str, data: bytes) -> None:
    found = parse_common_head(data, method)
    assume(found is not None)
    assert found == by_the_library(data, method)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 204 None\r\nContent-Length: 5\r\n\r\n",
        COMMON,
        COMMON + b"\n",
        COMMON + b"Content-Length: 5\r\n\r\n",
        COMMON + b"Content-Length: 6\r\n\r\n",
        COMMON + b"Transfer-Encoding: chunked\r\n\r\n",
        COMMON + b"X: a\r\n b\r\n\r\n",
        COMMON + b"X : a\r\n\r\n",
        COMMON + b"X: \xff\r\n\r\n",
        COMMON + b"X: \0\r\n\r\n",
        COMMON + b"X: a\rY: b\r\n\r\n",
        COMMON + b"X: y\r\n" * MAX_FIELDS + b"\r\n",
    ],
)
def test_what_is_not_common_is_left_to_the_library(head: bytes) -> None:
    assert parse_common_head(head, "GET") is None


PATHS = st.text(st.sampled_from("abcXYZ019._~!$&'()*+,;=:@/%-?#\\ \"[]{}\u00e9|2Fg"), max_size=20)
ODD_HOSTS = ["h:80", "h:443", "[::1]:8080", "u:p@h", "H.test", "a..b", "1.2.3.999", "h:x"]
HOSTS = mostly("127.0.0.1:8080", st.sampled_from(ODD_HOSTS))
URLS = st.builds("{}://{}/{}".format, st.sampled_from(["http", "https"]), HOSTS, PATHS)


def same(found: Address, expected: httpx2.URL) -> bool:
    """Tell whether this is what the library makes of it; it keeps users in the host, and ports that say nothing."""
    port = expected.port or (443 if expected.scheme == "https" else 80)
    place = (expected.scheme, expected.raw_host.decode(), port)
    where = (expected.netloc.decode(), expected.raw_path.decode())
    return (*found.origin, found.authority, found.target) == (*place, *where)


@QUICK
@given(url=URLS)
@example("http://h/a/../b")
@example("http://h/%2e%2E/x")
@example("https://h//x")
@example("http://h/a?b=/..&%22=c?d")
def test_a_plain_address_is_what_the_library_makes_of_it(url: str) -> None:
    try:
        expected = httpx2.URL(url)
    except httpx2.InvalidURL:
        with pytest.raises(httpx2.InvalidURL):
            address(url)
        return
    found = address(url)
    assert same(found, expected)
    assert httpx2.URL(found.url) == expected
    assert PLAIN.fullmatch(url) is None or found.url == url


@QUICK
@given(url=URLS, location=st.one_of(PATHS, PATHS.map("/".__add__), URLS))
@example("http://h/a", "//other/b")
@example("http://u:p@h:80/a", "/b")
@example("https://h/a?b", "?c")
@example("https://h/a", "https:b")
def test_a_redirect_leads_where_the_library_says(url: str, location: str) -> None:
    try:
        expected = httpx2.URL(url).join(location)
    except httpx2.InvalidURL:
        with pytest.raises(httpx2.InvalidURL):
            address(url).join(location)
        return
    assert same(address(url).join(location), httpx2.URL(str(expected)))


@given(st.text(), st.text())
@example("x", "a\r\nHost: b")
@example("x\n", "a")
@example(" ", "a")
def test_no_field_ends_its_line(name: str, value: str) -> None:
    try:
        line = field_lines([(name, value)])
    except ValueError:
        return
    assert line.isascii()
    assert line.count(b"\n") == line.count(b"\r") == 1
    assert line.endswith(b"\r\n")


@pytest.mark.parametrize("target", ["/a\r\n", "/\0", "/a\nb", "/\u00e9"])
def test_no_target_ends_its_line(target: str) -> None:
    with pytest.raises(ValueError, match=r"line|ascii"):
        request_head("GET", target, b"")
