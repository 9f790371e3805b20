"""Rate limits that are used up: what a server would refuse is not asked for until its window ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Span
from downloader.errors import Throttled
from downloader.network import HttpClient, RangeRequest
from downloader.network.pool import Timeouts
from downloader.network.proxies import Proxies
from downloader.network.tls import Trust
from tests.servers.broken import BrokenWeb
from tests.servers.faults import FOREVER, Headers
from tests.waiting import AT_LAST, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT = b"content"


@pytest.fixture
def client() -> Iterator[HttpClient]:
    web = HttpClient(Trust(), Proxies(), user_agent="tests", timeouts=Timeouts(AT_LAST, AT_LAST))
    yield web
    web.close()


@pytest.fixture
def server() -> Iterator[BrokenWeb]:
    with BrokenWeb() as server:
        for name in ("file.bin", "api/listing"):
            server.put(name, CONTENT)
        yield server


def used_up(seconds: float) -> Headers:
    return Headers({"RateLimit": f'"resolvers";r=0;t={seconds:.0f}'})


def test_the_last_answer_of_a_window_is_the_last_request_in_it(client: HttpClient, server: BrokenWeb) -> None:
    server.faults.add(used_up(300))
    url = server.url("file.bin")
    assert client.fetch(url).body == CONTENT
    requests = len(server.log.records())
    span = RangeRequest(url, Span(0, len(CONTENT)), len(CONTENT))
    with client.library_client() as library:
        for ask in (lambda: client.fetch(url), lambda: client.open(span), lambda: library.get(url)):
            with pytest.raises(Throttled, match=r"127.0.0.1:\d+ allows no more requests for \d+ s") as caught:
                ask()
            assert caught.value.retry_after is not None
            assert 200 < caught.value.retry_after <= 300
    client.prefetch([span, span])
    assert client.transport.pipelined == 0
    assert len(server.log.records()) == requests


def test_a_window_ends(client: HttpClient, server: BrokenWeb) -> None:
    server.faults.add(used_up(1))
    url = server.url("file.bin")
    assert client.fetch(url).body == CONTENT
    assert eventually(lambda: is_answered(client, url))


def is_answered(client: HttpClient, url: str) -> bool:
    try:
        return client.fetch(url).body == CONTENT
    except Throttled:
        return False


def test_the_limits_of_listings_and_of_files_are_two(client: HttpClient, server: BrokenWeb) -> None:
    server.faults.add(used_up(300))
    assert client.fetch(server.url("api/listing")).body == CONTENT
    assert client.fetch(server.url("file.bin")).body == CONTENT
    with pytest.raises(Throttled):
        client.fetch(server.url("api/listing"))


@pytest.mark.parametrize("field", ['"a";r=1;t=300', f'"a";r=0;t={Timeouts().rate_limit + 1:.0f}', '"a";r=0;t=0'])
def test_what_is_left_or_lasts_too_long_holds_up_no_commit(field: str, client: HttpClient, server: BrokenWeb) -> None:
    server.faults.add(Headers({"RateLimit": field}), times=FOREVER)
    for _ in range(2):
        assert client.fetch(server.url("file.bin")).body == CONTENT
