"""Connections: kept, replaced once, woken, and never left open."""

from __future__ import annotations

import contextlib
import gc
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast

import pytest

from downloader.artifact import Span
from downloader.errors import ConfigurationError, DownloadError, SourceSilent, SourceUnavailable
from downloader.network import RangeRequest, connection, h1, pool
from downloader.network.sockets import BlockingSocket
from tests.network.clients import CONTENT, SIZE, WHOLE, answer, client_of, fetched
from tests.servers.raw import END, Raw
from tests.waiting import AT_LAST, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.network import HttpClient
    from downloader.network.h1 import Head
    from downloader.network.tls import SecureSocket, Trust


@pytest.fixture
def client(tls: Trust) -> Iterator[HttpClient]:
    with client_of(tls) as web:
        yield web


def test_a_server_that_answers_before_it_is_asked_confuses_no_request(client: HttpClient) -> None:
    with Raw([WHOLE + b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcdefghij", WHOLE]) as server:
        assert fetched(client, server.url) == CONTENT
        assert fetched(client, server.url) in (CONTENT, b"abcdefghij")  # one body per answer, whatever is in it


def test_a_connection_that_was_closed_while_it_was_idle_is_replaced_once(client: HttpClient) -> None:
    with Raw([WHOLE, END, WHOLE]) as server:
        assert [fetched(client, server.url) for _ in range(2)] == [CONTENT] * 2
        assert server.connections == 2
    with Raw([WHOLE, END]) as server:
        assert fetched(client, server.url) == CONTENT
        with pytest.raises(SourceUnavailable, match="without an answer"):
            fetched(client, server.url)
        assert server.connections == 2
        assert len(server.requests) == 3


def test_a_new_connection_without_an_answer_is_a_passing_error(client: HttpClient) -> None:
    with Raw([END]) as server:
        with pytest.raises(SourceUnavailable, match="without an answer"):
            fetched(client, server.url)
        assert server.connections == 1


@pytest.mark.slow
@pytest.mark.parametrize("coding", [b"Transfer-Encoding: chunked", b"Connection: close"])
def test_bytes_are_handed_on_as_they_come_also_where_no_length_was_told(tls: Trust, coding: bytes) -> None:
    body = b"5\r\n01234\r\n" if b"chunked" in coding else b"01234"
    with client_of(tls, read=2) as web, Raw([answer(coding, body=body)]) as server:
        opened = web.open(RangeRequest(server.url, Span(0, SIZE), SIZE))
        view = memoryview(bytearray(1 << 20))
        assert opened.readinto(view) == 5
        assert bytes(view[:5]) == b"01234"
        with pytest.raises(SourceSilent):
            opened.readinto(view)
        opened.close()


def test_an_answer_in_chunks_leaves_the_connection_usable(client: HttpClient) -> None:
    chunks = b"3\r\n012\r\n7\r\n3456789\r\n0\r\n\r\n"
    with Raw([answer(b"Transfer-Encoding: chunked", body=chunks)]) as server:
        assert [fetched(client, server.url, view_size=3) for _ in range(3)] == [CONTENT] * 3
        assert server.connections == 1


@pytest.mark.parametrize("begun", [b" ", b"HTTP/1.1 200 OK\r\nX: "])
def test_silence_before_the_answer_is_over_after_the_time(tls: Trust, begun: bytes) -> None:
    with client_of(tls, read=0.2) as hasty, Raw([begun]) as server, pytest.raises(SourceSilent):
        fetched(hasty, server.url)


@pytest.mark.parametrize("url", ["http://a..b/x", f"http://{'a' * 64}.test/x", "http://127.0.0.1:1/x"])
def test_hosts_that_cannot_be_reached_are_a_passing_error(client: HttpClient, url: str) -> None:
    with pytest.raises(SourceUnavailable, match="cannot connect"):
        fetched(client, url)


@pytest.mark.parametrize("url", ["http://1.2.3.999/x", "http://host:port/x", "http://ho\x00st/x"])
def test_addresses_that_cannot_be_used_are_the_users_mistake(client: HttpClient, url: str) -> None:
    with pytest.raises(ConfigurationError, match="not a usable address"):
        fetched(client, url)
    with pytest.raises(ConfigurationError, match="not a usable address"):
        client.fetch(url)


@pytest.mark.parametrize("value", ["smart “quotes”", "two\nlines", "a\r\nHost: b"])
def test_headers_that_cannot_be_sent_are_the_users_mistake(client: HttpClient, value: str) -> None:
    with Raw([WHOLE]) as server, pytest.raises(ConfigurationError, match="cannot be sent") as caught:
        client.open(RangeRequest(server.url, Span(0, SIZE), SIZE, headers={"authorization": value}))
    assert "smart" not in str(caught.value)
    assert not server.requests


def test_a_request_does_not_show_its_headers() -> None:
    assert "word" not in repr(RangeRequest("http://h/", Span(0, 1), 1, headers={"authorization": "Bearer word"}))


def test_nothing_is_left_open(tls: Trust) -> None:
    """A socket that is left to the garbage collector warns, and warnings are errors."""
    broken = answer(b"Transfer-Encoding: chunked", body=b"xyz\r\n")
    with (
        client_of(tls, connect=0.2, read=0.2) as web,
        Raw([WHOLE, answer(b"Connection: close"), broken, END]) as server,
    ):
        for url in (server.url, server.url, server.url, server.url, server.url.replace("http:", "https:")):
            with contextlib.suppress(DownloadError):
                fetched(web, url)
    del web
    gc.collect()


@pytest.mark.parametrize("kept", [b"Connection: close", b"Connection: keep-alive"])
def test_an_interruption_wakes_a_reader_whatever_becomes_of_its_connection(tls: Trust, kept: bytes) -> None:
    with client_of(tls, read=2 * AT_LAST) as web, Raw([answer(b"Content-Length: 10", kept, body=b"01234")]) as server:
        body = web.open(RangeRequest(server.url, Span(0, SIZE), SIZE))
        assert body.readinto(memoryview(bytearray(5))) == 5
        threading.Timer(0.05, body.interrupt).start()
        with pytest.raises(SourceUnavailable):
            body.readinto(memoryview(bytearray(5)))
        body.close()


@pytest.mark.parametrize("kept", [b"Connection: close", b"Connection: keep-alive"])
def test_ending_the_run_wakes_readers_and_lets_nothing_begin(tls: Trust, kept: bytes) -> None:
    half = answer(b"Content-Length: 10", kept, body=b"01234")
    with client_of(tls, read=2 * AT_LAST) as web, Raw([half]) as server:
        body = web.open(RangeRequest(server.url, Span(0, SIZE), SIZE))
        errors: list[DownloadError] = []

        def go_on() -> None:
            try:
                while body.readinto(memoryview(bytearray(100))):
                    pass
            except DownloadError as error:
                errors.append(error)
            finally:
                body.close()

        reader = threading.Thread(target=go_on)
        reader.start()
        reader.join(0.05)
        web.abort()
        reader.join(AT_LAST)
        assert not reader.is_alive()
        assert isinstance(errors[0], SourceUnavailable)
        with pytest.raises(SourceUnavailable, match="the run has ended"):
            web.fetch(server.url)
        assert (len(server.requests), server.connections) == (1, 1)


class _Slow:
    """A network stream on which the first read brings the beginning of a response, and each further one a byte."""

    def __init__(self, beginning: bytes, rest: bytes) -> None:
        self._pieces = iter([beginning, *(bytes([byte]) for byte in rest)])

    def recv_into(self, view: memoryview, /) -> int:
        piece = next(self._pieces, b"")
        view[: len(piece)] = piece
        return len(piece)

    def sendall(self, data: bytes, /) -> None:
        del data


def test_a_head_that_comes_byte_by_byte_is_parsed_twice_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsed after each byte, a head of 50 KiB would keep a processor busy for seconds."""
    beginning, rest = b"HTTP/1.1 200 OK\r\n", b"Content-Length: 3\r\nX-Long: " + b"a" * 2000 + b"\r\n\r\n"
    parsed: list[int] = []

    def parse(data: bytes, method: str, start: int, stop: int) -> tuple[Head, int] | None:
        parsed.append(stop - start)
        return h1.parse_common_head(data, method, start, stop)

    monkeypatch.setattr(connection, "parse_common_head", parse)
    with socket.socket() as sock:
        plain = BlockingSocket(sock, timeout=AT_LAST, gather=AT_LAST)
        slow = connection.Connection(plain, cast("SecureSocket", _Slow(beginning, rest + b"abc")))
        head, body = slow.receive("GET")
        assert (head.status, head.length, body, slow.reader.read(3)) == (200, 3, None, b"abc")
    assert parsed == [len(beginning), len(beginning) + len(rest)]


class _Everywhere(ThreadingHTTPServer):
    """Answers on every loopback address, and counts its connections."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("0.0.0.0", 0), _Small)
        self.connections: set[int] = set()

    def finish_request(self, *arguments: Any) -> None:
        self.connections.add(threading.get_ident())
        super().finish_request(*arguments)
        self.connections.discard(threading.get_ident())


class _Small(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response_only(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_connections_to_many_origins_are_not_all_kept(client: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MAX_IDLE", 4)
    with _Everywhere() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            for number in range(1, 20):
                assert client.fetch(f"http://127.0.1.{number}:{server.server_port}/").status == 200
            assert eventually(lambda: len(server.connections) <= 4)
            assert server.connections
        finally:
            server.shutdown()
