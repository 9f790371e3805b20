"""Where an answer ends that has no length: what proves it, and what only looks like an end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from downloader.errors import ConnectionBroken, ProtocolFailed
from downloader.network.tls import Trust
from downloader.sources.http import HttpSource
from tests.network.clients import CONTENT, answer, client_of, fetched
from tests.servers.raw import CLOSE_NOTIFY, CUT, Raw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.network import HttpClient
    from tests.servers.certificates import Authority

UNTOLD = answer(b"Connection: close")
CHUNKED = answer(b"Transfer-Encoding: chunked", body=b"a\r\n0123456789\r\n0\r\n\r\n")
LIST = b"".join(b"%064x  %d.bin\n" % (number, number) for number in range(2))


@pytest.fixture(scope="module")
def client(authority: Authority) -> Iterator[HttpClient]:
    with client_of(Trust([authority.bundle])) as web:
        yield web


def test_close_notify_ends_an_answer_though_the_connection_stays_open(authority: Authority, client: HttpClient) -> None:
    """The server waits for the client to close: a client that waits for the server to close waits forever."""
    with Raw([UNTOLD], tls=authority.server_context(), then=CLOSE_NOTIFY) as server:
        assert fetched(client, server.url) == CONTENT
        assert client.fetch(server.url).complete


@pytest.mark.parametrize(
    ("written", "tls", "then", "complete"),
    [
        (answer(b"Content-Length: 10"), False, "", True),
        (CHUNKED, False, "", True),
        (CHUNKED, True, CUT, True),
        (UNTOLD, False, CUT, False),
        (UNTOLD, True, CUT, False),
        (UNTOLD, True, CLOSE_NOTIFY, True),
    ],
)
def test_an_end_is_certain_only_where_it_was_told(
    authority: Authority, client: HttpClient, written: bytes, then: str, *, tls: bool, complete: bool
) -> None:
    with Raw([written], tls=authority.server_context() if tls else None, then=then) as server:
        reply = client.fetch(server.url)
    assert reply.body == CONTENT
    assert reply.complete is complete


def test_a_checksum_list_that_ends_with_close_notify_is_complete(authority: Authority, client: HttpClient) -> None:
    written = [answer(b"Connection: close", body=LIST), answer(b"Content-Length: 3", body=b"")]
    with Raw(written, tls=authority.server_context(), then=CLOSE_NOTIFY) as server:
        folder = server.url.rpartition("/")[0] + "/"
        assert [file.path for file in HttpSource(folder, client, {}).manifest().files] == ["0.bin", "1.bin"]


def test_a_checksum_list_whose_connection_just_ends_is_not_believed(authority: Authority, client: HttpClient) -> None:
    """It has whole lines, and it may have had more of them."""
    written = answer(b"Connection: close", body=LIST)
    with Raw([written], tls=authority.server_context(), then=CUT) as server:
        folder = server.url.rpartition("/")[0] + "/"
        with pytest.raises(ConnectionBroken, match="ended in the middle"):
            HttpSource(folder, client, {}).manifest()
        with pytest.raises(ConnectionBroken, match="ended in the middle"):
            HttpSource(folder, client, {}).version()
    with Raw([written], then=CUT) as server, pytest.raises(ProtocolFailed, match="without its length") as caught:
        HttpSource(server.url.rpartition("/")[0] + "/", client, {}).manifest()
    assert type(caught.value) is ProtocolFailed
