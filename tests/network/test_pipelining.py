"""Requests that are sent before earlier ones are answered: quicker where a server can, and the same where not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Span
from downloader.errors import ProtocolFailed, SourceChanged, UnknownHost
from downloader.network import HttpStatusError, RangeRequest, Response
from downloader.network.client import HEADS_AHEAD
from tests.network.clients import CONTENT, SIZE, WHOLE, answer, client_of
from tests.reading import rest_of
from tests.servers.broken import BrokenWeb, moved
from tests.servers.raw import END, Raw
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.network import HttpClient
    from downloader.network.tls import Trust

OTHER = answer(b"Content-Length: 10", body=b"abcdefghij")
CLOSING = answer(b"Content-Length: 10", b"Connection: close")
GONE = answer(b"Content-Length: 4", body=b"gone", status=b"404 Not Found")


@pytest.fixture
def client(tls: Trust) -> Iterator[HttpClient]:
    with client_of(tls) as web:
        yield web
        web.prefetch([])


def asked(url: str, count: int) -> list[RangeRequest]:
    return [RangeRequest(f"{url}?{number}", Span(0, SIZE), SIZE) for number in range(count)]


def read(web: HttpClient, request: RangeRequest) -> bytes:
    return rest_of(web.open(request), 64)


def test_answers_come_in_order_over_one_connection(client: HttpClient) -> None:
    with Raw([WHOLE, OTHER, WHOLE]) as server:
        requests = asked(server.url, 3)
        client.prefetch(requests)
        assert [read(client, request) for request in requests] == [CONTENT, b"abcdefghij", CONTENT]
        assert read(client, requests[0]) == CONTENT
        assert (server.connections, len(server.requests)) == (1, 4)


def test_spans_of_one_file_are_told_apart(client: HttpClient) -> None:
    first, second = (
        answer(b"Content-Length: 5", b"Content-Range: bytes " + span + b"/10", body=body, status=b"206 Part")
        for span, body in ((b"0-4", b"01234"), (b"5-9", b"56789"))
    )
    with Raw([first, second]) as server:
        requests = [RangeRequest(server.url, span, SIZE) for span in (Span(0, 5), Span(5, 10))]
        client.prefetch(requests)
        assert [read(client, request) for request in requests] == [b"01234", b"56789"]
        assert server.connections == 1


@pytest.mark.parametrize("answers", [[CLOSING, WHOLE], [WHOLE, END, WHOLE]], ids=["says that it closes", "just closes"])
def test_a_server_that_answers_one_and_closes_is_asked_again(client: HttpClient, answers: list[bytes]) -> None:
    with Raw(answers) as server:
        requests = asked(server.url, 3)
        client.prefetch(requests)
        assert [read(client, request) for request in requests] == [CONTENT] * 3


@pytest.mark.slow
def test_a_server_that_overhears_what_comes_together_is_not_asked_so_again(tls: Trust) -> None:
    with client_of(tls, read=2) as client, Raw([WHOLE], forgetful=True) as server:
        requests = asked(server.url, 3)
        client.prefetch(requests)
        assert [read(client, request) for request in requests] == [CONTENT] * 3
        before = len(server.requests)
        client.prefetch(requests)
        assert len(server.requests) == before
        assert [read(client, request) for request in requests] == [CONTENT] * 3
        assert len(server.requests) == before + 3


def test_an_error_is_that_of_its_own_request(client: HttpClient) -> None:
    with Raw([WHOLE, GONE, OTHER]) as server:
        requests = asked(server.url, 3)
        client.prefetch(requests)
        assert read(client, requests[0]) == CONTENT
        with pytest.raises(HttpStatusError):
            client.open(requests[1])
        assert read(client, requests[2]) == b"abcdefghij"


def test_an_answer_that_makes_no_sense_spoils_no_other(client: HttpClient) -> None:
    with Raw([WHOLE, answer(b"Content-Length: 11", body=CONTENT + b"x"), OTHER]) as server:
        requests = asked(server.url, 3)
        client.prefetch(requests)
        assert read(client, requests[0]) == CONTENT
        with pytest.raises(SourceChanged):
            client.open(requests[1])
        assert read(client, requests[2]) == b"abcdefghij"


def test_what_was_announced_may_be_left_or_taken_in_another_order(client: HttpClient) -> None:
    with Raw([WHOLE]) as server:
        requests = asked(server.url, 3)
        client.prefetch(requests)
        assert [read(client, request) for request in reversed(requests)] == [CONTENT] * 3
        client.prefetch(requests)
        client.prefetch([])
        assert read(client, requests[1]) == CONTENT


def test_more_may_be_announced_while_answers_wait(client: HttpClient) -> None:
    with Raw([WHOLE, OTHER, WHOLE, OTHER]) as server:
        requests = asked(server.url, 4)
        client.prefetch(requests[:2])
        assert read(client, requests[0]) == CONTENT
        for number in (1, 2):
            client.prefetch(requests[number : number + 2])
            assert read(client, requests[number]) == (b"abcdefghij" if number == 1 else CONTENT)
        assert read(client, requests[3]) == b"abcdefghij"
        assert (server.connections, len(server.requests)) == (1, 4)


def test_heads_are_asked_for_long_before_their_turn_and_so_again_when_a_connection_ended(client: HttpClient) -> None:
    count = 4 * HEADS_AHEAD
    answers = [answer(b"Content-Length: 10", body=b"")] * count
    answers[HEADS_AHEAD + 50] = answer(b"Content-Length: 10", b"Connection: close", body=b"")
    with Raw(answers) as server:
        replies = client.heads([f"{server.url}?{number}" for number in range(count)], {})
        first = next(replies)
        assert isinstance(first, Response)
        assert first.status == 200
        assert eventually(lambda: len(server.requests) == HEADS_AHEAD)
        for _ in range(HEADS_AHEAD // 2 + 1):
            next(replies)
        assert eventually(lambda: len(server.requests) > HEADS_AHEAD)
        right = [reply for reply in replies if isinstance(reply, Response) and reply.status == 200]
        assert len(right) == count - HEADS_AHEAD // 2 - 2
        assert server.connections == 2


def test_nothing_goes_to_another_origin_than_its_own(client: HttpClient) -> None:
    with Raw([WHOLE]) as one, Raw([OTHER]) as other:
        secret = {"authorization": "Bearer secret"}
        requests = [RangeRequest(server.url, Span(0, SIZE), SIZE, None, secret) for server in (one, one, other, one)]
        client.prefetch(requests)
        assert [read(client, request) for request in requests] == [CONTENT, CONTENT, b"abcdefghij", CONTENT]
        assert len(one.requests) == 3
        assert len(other.requests) == 1


def test_where_a_file_was_found_elsewhere_no_credentials_go_there(client: HttpClient) -> None:
    with BrokenWeb() as home, BrokenWeb() as away:
        url = home.put("0.bin", CONTENT)
        home.faults.add(moved(away.put("0.bin", CONTENT)), path="/0.bin", times=1)
        request = RangeRequest(url, Span(0, SIZE), SIZE, None, {"authorization": "Bearer secret"})
        assert read(client, request) == CONTENT
        client.prefetch([request, request])
        assert [read(client, request) for _ in range(2)] == [CONTENT] * 2
        assert len(away.log.records()) == 3
        assert all("authorization" not in record.request.headers for record in away.log.records())


def test_redirects_are_followed_while_others_wait(client: HttpClient) -> None:
    with BrokenWeb() as home:
        urls = [home.put(f"{number}.bin", CONTENT) for number in range(3)]
        home.faults.add(moved(urls[2]), path="/0.bin", times=1)
        requests = [RangeRequest(url, Span(0, SIZE), SIZE) for url in urls[:2]]
        client.prefetch(requests)
        assert [read(client, request) for request in requests] == [CONTENT] * 2


def hop(url: str, *headers: bytes) -> bytes:
    return answer(f"Location: {url}".encode(), b"Content-Length: 0", *headers, body=b"", status=b"302 Found")


@pytest.mark.parametrize("elsewhere", [True, False], ids=["to another origin", "to the same origin"])
def test_where_all_are_redirected_what_follows_is_pipelined_as_well(client: HttpClient, *, elsewhere: bool) -> None:
    answers = [WHOLE, OTHER, WHOLE]
    with Raw(answers) as away, Raw([hop("/at-home"), *[hop("/other")] * 2, *answers]) as home:
        if elsewhere:
            home.answer_with([hop(f"{away.url}?{number}") for number in range(3)])
        secret = {"authorization": "Bearer secret"}
        requests = [RangeRequest(f"{home.url}?{number}", Span(0, SIZE), SIZE, None, secret) for number in range(3)]
        client.prefetch(requests)
        first = client.open(requests[0])
        server, asked_before = (away, 0) if elsewhere else (home, 3)
        # All of them are on their way although no byte of the first file has been read.
        assert eventually(lambda: len(server.requests) == asked_before + 3)
        assert rest_of(first, 64) == CONTENT
        assert [read(client, request) for request in requests[1:]] == [b"abcdefghij", CONTENT]
        assert (home.connections, away.connections) == (1, int(elsewhere))
        assert all((b"secret" in head) is not elsewhere for head in server.requests[asked_before:])


@pytest.mark.parametrize("look_ahead", [1.0, -1.0], ids=["all", "only the first"])
@pytest.mark.parametrize("place", range(4))
def test_a_file_that_is_not_redirected_is_read_in_its_turn(tls: Trust, place: int, look_ahead: float) -> None:
    with Raw([WHOLE]) as away, client_of(tls, look_ahead=look_ahead) as client:
        hops = [hop(f"{away.url}?{number}") for number in range(4)]
        hops[place] = OTHER
        with Raw(hops) as home:
            requests = asked(home.url, 4)
            client.prefetch(requests)
            found = [read(client, request) for request in requests]
            assert found == [b"abcdefghij" if number == place else CONTENT for number in range(4)]
            # Nothing was asked for twice.
            assert (len(home.requests), len(away.requests)) == (4, 3)


@pytest.mark.parametrize(
    ("second", "error"),
    [(hop("ftp://host/file"), ProtocolFailed), (hop("http://[/"), UnknownHost), (GONE, HttpStatusError)],
    ids=["leads elsewhere", "leads nowhere", "is gone"],
)
def test_an_error_ahead_is_that_of_its_own_file(client: HttpClient, second: bytes, error: type[Exception]) -> None:
    with Raw([WHOLE]) as away, Raw([hop(away.url), second, hop(away.url)]) as home:
        requests = asked(home.url, 3)
        client.prefetch(requests)
        assert read(client, requests[0]) == CONTENT
        with pytest.raises(error):
            client.open(requests[1])
        assert read(client, requests[2]) == CONTENT


@pytest.mark.parametrize(
    ("answers", "followed"),
    [
        ([b"", b"Connection: close", b""], [WHOLE]),
        ([b"", b"", b""], [CLOSING, WHOLE]),
        ([b"", b"", b""], [WHOLE, END, WHOLE]),
    ],
    ids=["while redirects are read", "while files are read", "without a word"],
)
def test_a_connection_that_ends_on_the_way_costs_no_file(
    client: HttpClient, answers: list[bytes], followed: list[bytes]
) -> None:
    with Raw(followed) as away, Raw([hop(away.url, *[line] if line else []) for line in answers]) as home:
        requests = asked(home.url, 3)
        client.prefetch(requests)
        assert [read(client, request) for request in requests] == [CONTENT] * 3


def test_what_was_read_ahead_is_dropped_with_what_was_announced(client: HttpClient) -> None:
    with Raw([WHOLE]) as away, Raw([hop(away.url), OTHER, WHOLE]) as home:
        requests = asked(home.url, 2)
        client.prefetch(requests)
        assert read(client, requests[0]) == CONTENT
        client.prefetch([])
        assert read(client, requests[1]) == CONTENT


def test_where_no_host_answers_the_request_itself_says_so(client: HttpClient) -> None:
    with Raw([WHOLE]) as server:
        requests = asked(server.url, 2)
    client.prefetch(requests)
    with pytest.raises(Exception, match="refused"):
        client.open(requests[0])
