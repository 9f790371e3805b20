"""What a client reports to its observer: every request, and responses that are read whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Span
from downloader.errors import ProtocolFailed
from downloader.network import HttpClient, Proxies, RangeRequest, Timeouts, Trust
from tests.network.clients import CONTENT, SIZE, WHOLE
from tests.reading import rest_of
from tests.servers.raw import Raw
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from collections.abc import Iterator


class Calls(list[str | int]):
    """An observer that remembers what it was told."""

    def on_request(self, authority: str, /) -> None:
        self.append(authority)

    def on_bytes(self, count: int, /) -> None:
        self.append(count)

    def on_skipped(self, count: int, /) -> None:
        self.append(-count)

    def on_response(self) -> None:
        self.append("complete")


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def observed(calls: Calls) -> Iterator[HttpClient]:
    web = HttpClient(
        Trust(verify=False), Proxies(), user_agent="tests", timeouts=Timeouts(AT_LAST, AT_LAST), observer=calls
    )
    yield web
    web.close()


def test_a_response_that_is_read_whole_is_reported(observed: HttpClient, calls: Calls) -> None:
    with Raw([WHOLE]) as server:
        observed.fetch(server.url)
        with observed.library_client() as library:
            library.get(server.url)
        assert calls == [f"127.0.0.1:{server.port}", SIZE, "complete"] * 2


def test_of_a_range_only_its_request_is_reported(observed: HttpClient, calls: Calls) -> None:
    """Who reads it counts the bytes: a call for each read would cost more than it tells."""
    with Raw([WHOLE]) as server:
        assert rest_of(observed.open(RangeRequest(server.url, Span(0, SIZE), SIZE))) == CONTENT
        assert calls == [f"127.0.0.1:{server.port}"]


def test_a_response_that_is_too_long_is_not_complete(observed: HttpClient, calls: Calls) -> None:
    with Raw([WHOLE]) as server, pytest.raises(ProtocolFailed):
        observed.fetch(server.url, limit=SIZE - 1)
    assert calls == [f"127.0.0.1:{server.port}", SIZE]


def test_what_a_server_sends_before_a_range_is_reported(observed: HttpClient, calls: Calls) -> None:
    """A server that ignores ranges: its reader sees only the rest."""
    with Raw([WHOLE]) as server:
        assert rest_of(observed.open(RangeRequest(server.url, Span(5, SIZE), SIZE))) == CONTENT[5:]
        assert calls == [f"127.0.0.1:{server.port}", -5]
