"""Where requests are led: followed only where it is safe, without the credentials of others, and remembered."""

from __future__ import annotations

import ipaddress
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from downloader import integrity
from downloader.artifact import Span
from downloader.errors import ConfigurationError, DownloadError, ProtocolFailed, SourceUnavailable, Throttled
from downloader.network import HttpClient, HttpStatusError, RangeRequest, link_local
from downloader.network.pool import Timeouts
from downloader.network.proxies import Proxies
from downloader.network.redirects import headers_for, redirect_target
from downloader.network.tls import Trust
from downloader.network.url import address
from tests.reading import rest_of
from tests.servers.broken import BrokenWeb, moved
from tests.servers.faults import FOREVER, Answer, Cut, Fault, HangUp, Silence, too_many_requests
from tests.servers.gate import Gate
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.certificates import Authority

CONTENT = bytes(range(256)) * 100
SIZE = len(CONTENT)
SECRETS = {"authorization": "Bearer word", "x-api-key": "key"}


@pytest.fixture(scope="module")
def tls(authority: Authority) -> Trust:
    return Trust([authority.bundle])


@pytest.fixture
def client(tls: Trust) -> Iterator[HttpClient]:
    web = HttpClient(tls, Proxies(), user_agent="tests", timeouts=Timeouts(AT_LAST, AT_LAST), content=integrity)
    yield web
    web.close()


@pytest.fixture
def home() -> Iterator[BrokenWeb]:
    with BrokenWeb() as server:
        server.put("file.bin", CONTENT, authorization="Bearer word")
        yield server


@pytest.fixture
def away() -> Iterator[BrokenWeb]:
    with BrokenWeb() as server:
        server.put("stored.bin", CONTENT)
        yield server


@pytest.fixture
def secure(authority: Authority) -> Iterator[BrokenWeb]:
    with BrokenWeb(tls=authority.server_context()) as server:
        server.put("file.bin", CONTENT)
        yield server


def fetched(web: HttpClient, url: str, start: int = 0) -> bytes:
    return rest_of(web.open(RangeRequest(url, Span(start, SIZE), SIZE, headers=SECRETS)))


def asked(server: BrokenWeb) -> list[str]:
    return [record.request.path for record in server.log.records()]


def test_credentials_stay_at_home_and_the_range_travels(client: HttpClient, home: BrokenWeb, away: BrokenWeb) -> None:
    home.faults.add(moved(f"{away.url('stored.bin')}?signature=s"), times=FOREVER)
    assert fetched(client, home.url("file.bin"), 100) == CONTENT[100:]
    seen = away.log.records()[0].request
    assert not SECRETS.keys() & seen.headers.keys()
    assert seen.headers["range"] == f"bytes=100-{SIZE - 1}"
    assert seen.query == {"signature": "s"}
    assert home.log.records()[0].request.headers["x-api-key"] == "key"


def test_credentials_follow_a_redirect_on_the_same_origin_and_come_back_home(
    client: HttpClient, home: BrokenWeb, away: BrokenWeb
) -> None:
    home.faults.add(moved(home.url("other.bin")), path="/file.bin")
    home.faults.add(moved(away.url("stored.bin")), path="/other.bin")
    away.faults.add(moved(home.url("file.bin")))
    assert fetched(client, home.url("file.bin")) == CONTENT
    assert asked(home) == ["/file.bin", "/other.bin", "/file.bin"]
    assert all("authorization" in record.request.headers for record in home.log.records())
    assert all("authorization" not in record.request.headers for record in away.log.records())


def test_another_port_or_scheme_is_another_origin(client: HttpClient, home: BrokenWeb, secure: BrokenWeb) -> None:
    home.faults.add(moved(secure.url("file.bin")))
    assert fetched(client, home.url("file.bin")) == CONTENT
    assert "authorization" not in secure.log.records()[0].request.headers


AT_HOME = {
    "itself": ("https://host.example/a", "https://host.example/b", True),
    "the port that the scheme has anyway": ("https://host.example/a", "https://host.example:443/b", True),
    "an empty port": ("https://host.example/a", "https://host.example:/b", True),
    "the host in upper case": ("https://host.example/a", "HTTPS://HOST.EXAMPLE/b", True),
    "the host in upper case, named so by the user": ("https://HOST.example/a", "https://host.example/b", True),
    "a path": ("https://host.example:8443/a", "/b", True),
    "a path, with a backslash": ("https://host.example/a", "/\\other.example/b", True),
    "no more than a query": ("https://host.example/a", "?b", True),
    "the same host with a login": ("https://host.example/a", "https://user:word@host.example/b", True),
    "its name in IDNA": ("https://b\u00fccher.example/a", "https://xn--bcher-kva.example/b", True),
    "its name in Unicode": ("https://xn--bcher-kva.example/a", "https://B\u00dcCHER.example/b", True),
    "from http to https": ("http://host.example/a", "https://host.example/b", True),
    "from http to https, with the ports written out": ("http://host.example:80/a", "https://host.example:443/b", True),
    "from http to https at another port": ("http://host.example/a", "https://host.example:8443/b", False),
    "from http at another port to https": ("http://host.example:8080/a", "https://host.example/b", False),
    "from http to https at the port of http": ("http://host.example/a", "https://host.example:80/b", False),
    "another host": ("https://host.example/a", "https://other.example/b", False),
    "another host, without a scheme": ("https://host.example/a", "//other.example/b", False),
    "another port": ("https://host.example/a", "https://host.example:8443/b", False),
    "a subdomain": ("https://host.example/a", "https://cdn.host.example/b", False),
    "the domain above": ("https://cdn.host.example/a", "https://host.example/b", False),
    "a host that begins like it": ("https://host.example/a", "https://host.example.other/b", False),
    "a host that ends like it": ("https://host.example/a", "https://ahost.example/b", False),
    "another host behind a login that looks like it": ("https://host.example/a", "https://host.example@other/b", False),
    "another host behind a backslash": ("https://host.example/a", "https://host.example\\@other.example/b", False),
    "its name with a dot behind": ("https://host.example/a", "https://host.example./b", False),
    "another name that looks like it": ("https://host.example/a", "https://h\u043est.example/b", False),
    "its address in another notation": ("http://127.0.0.1/a", "http://2130706433/b", False),
    "its IPv6 address in another notation": ("http://[::1]/a", "http://[0:0:0:0:0:0:0:1]/b", False),
}
"""What a redirect leads to: from where, to where, and whether credentials go along."""


@pytest.mark.parametrize(("start", "location", "go_along"), AT_HOME.values(), ids=list(AT_HOME))
def test_credentials_are_for_their_own_origin(start: str, location: str, *, go_along: bool) -> None:
    home = address(start)
    public = {"range": "bytes=1-"}
    sent = headers_for(redirect_target(home, location).origin, home.origin, SECRETS, public)
    assert sent == ({**SECRETS, **public} if go_along else public)


@pytest.mark.parametrize("location", ["http://host.example/b", "http://other.example/b", "http://host.example:443/b"])
def test_https_is_not_left(location: str) -> None:
    with pytest.raises(ProtocolFailed, match="from https to http"):
        redirect_target(address("https://host.example/a"), location)


@pytest.mark.parametrize("how", ["open", "prefetch", "fetch", "a library"])
@pytest.mark.parametrize(
    ("host", "go_along"), [("LOCALHOST", True), ("user:word@localhost", True), ("127.0.0.1", False)]
)
def test_the_rule_is_one_for_all_ways_to_a_server(
    client: HttpClient, away: BrokenWeb, how: str, host: str, *, go_along: bool
) -> None:
    """`away` is the server of every name; a login in a redirect is never sent."""
    url = away.url("stored.bin").replace("127.0.0.1", "localhost")
    away.faults.add(moved(away.url("stored.bin").replace("127.0.0.1", host)))
    requests = [RangeRequest(url, Span(0, SIZE), SIZE, headers=SECRETS)] * 2
    if how == "a library":
        with client.library_client() as library:
            assert library.get(url, headers=SECRETS).content == CONTENT
    elif how == "fetch":
        assert client.fetch(url, headers=SECRETS).body == CONTENT
    else:
        if how == "prefetch":
            # Where the first has led is remembered, and what is asked for ahead goes there.
            assert rest_of(client.open(requests[0])) == CONTENT
            client.prefetch(requests)
        assert [rest_of(client.open(request)) for request in requests] == [CONTENT] * 2
    first, *led = [record.request.headers for record in away.log.records()]
    assert SECRETS.items() <= first.items()
    assert led
    assert all(SECRETS.items() <= headers.items() if go_along else not SECRETS.keys() & headers for headers in led)


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("file:///etc/passwd", "file://"),
        ("ftp://127.0.0.1/x", "ftp://"),
        ("javascript:alert(1)", "javascript://"),
        ("http://[::1", "not an address"),
        ("http://1.2.3.999/", "not an address"),
        ("http://host:port/", "not an address"),
        ("http://127.0.0.1:0/", "not an address"),
        ("http://user@/file.bin", "not an address"),
        ("https:///file.bin", "not an address"),
        ("", "more than 10 times"),
    ],
)
@pytest.mark.parametrize("how", ["open", "fetch"])
def test_redirects_that_lead_nowhere_good_are_not_followed(
    client: HttpClient, home: BrokenWeb, target: str, why: str, how: str
) -> None:
    home.faults.add(moved(target), times=FOREVER)
    with pytest.raises(ProtocolFailed, match="redirects") as caught:
        fetched(client, home.url("file.bin")) if how == "open" else client.fetch(home.url("file.bin"))
    assert why in caught.value.message


def test_nothing_leads_from_https_to_http(client: HttpClient, home: BrokenWeb, secure: BrokenWeb) -> None:
    secure.faults.add(moved(home.url("file.bin")), times=FOREVER)
    for action in (fetched, HttpClient.fetch):
        with pytest.raises(ProtocolFailed, match="from https to http"):
            action(client, secure.url("file.bin"))
    with client.library_client() as library, pytest.raises(ProtocolFailed, match="from https to http"):
        library.get(secure.url("file.bin"))
    assert not home.log.records()


def test_a_library_is_led_on_without_credentials(client: HttpClient, home: BrokenWeb, away: BrokenWeb) -> None:
    home.faults.add(moved(away.url("stored.bin")))
    with client.library_client() as library:
        assert library.get(home.url("file.bin"), headers={"authorization": "Bearer word"}).content == CONTENT
    assert "authorization" not in away.log.records()[0].request.headers


def test_a_library_that_goes_on_elsewhere_takes_no_credentials_along(
    client: HttpClient, home: BrokenWeb, away: BrokenWeb, secure: BrokenWeb
) -> None:
    word = {"authorization": "Bearer word", "cookie": "word", "x-api-key": "word"}
    for one in (home, away, secure):
        one.put("page", CONTENT)
    with client.library_client() as library:
        for one in (home, away, home):
            assert library.get(one.url("page"), headers=word).content == CONTENT
    assert [record.request.bearer for record in home.log.records()] == ["word", "word"]
    assert not word.keys() & away.log.records()[0].request.headers.keys()
    with client.library_client() as library:
        assert library.get(secure.url("page"), headers=word).content == CONTENT
        with pytest.raises(ProtocolFailed, match="from https to http"):
            library.get(away.url("page"), headers=word)
    assert len(away.log.records()) == 1


def test_a_library_hears_our_errors_for_each_refusal_and_reads_no_more_than_its_limit(
    client: HttpClient, home: BrokenWeb
) -> None:
    url = home.put("open.json", CONTENT)
    home.faults.add(too_many_requests("3"))
    home.faults.add(Answer(404))
    with client.library_client(limit=1000) as library:
        with pytest.raises(Throttled) as caught:
            library.get(url)
        assert caught.value.retry_after == 3
        with pytest.raises(HttpStatusError, match="answered HTTP 404"):
            library.get(url)
        with pytest.raises(ProtocolFailed, match="more than 1000 bytes"):
            library.get(url)
        home.server.refuse()
        with pytest.raises(SourceUnavailable):
            library.get(url)
        with pytest.raises(ConfigurationError):
            library.get("ftp://127.0.0.1/x")


def test_a_redirect_without_a_target_is_a_refusal(client: HttpClient, home: BrokenWeb) -> None:
    home.faults.add(Answer(302))
    with pytest.raises(HttpStatusError) as caught:
        fetched(client, home.url("file.bin"))
    assert caught.value.status == 302


def test_where_another_origin_has_it_is_remembered(client: HttpClient, home: BrokenWeb, away: BrokenWeb) -> None:
    home.faults.add(moved(away.url("stored.bin")), times=FOREVER)
    for start in range(5):
        assert fetched(client, home.url("file.bin"), start) == CONTENT[start:]
    assert asked(home) == ["/file.bin"]
    assert asked(away) == ["/stored.bin"] * 5


def test_where_the_same_origin_has_it_is_asked_each_time(client: HttpClient, home: BrokenWeb) -> None:
    home.put("there.bin", CONTENT)
    home.faults.add(moved("/there.bin"), path="/file.bin", times=FOREVER)
    for _ in range(2):
        assert fetched(client, home.url("file.bin")) == CONTENT
    assert asked(home) == ["/file.bin", "/there.bin"] * 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_an_address_that_has_expired_is_asked_for_again(
    client: HttpClient, home: BrokenWeb, away: BrokenWeb, status: int
) -> None:
    home.faults.add(moved(away.url("stored.bin")), times=FOREVER)
    assert fetched(client, home.url("file.bin")) == CONTENT
    away.faults.add(Answer(status))
    assert fetched(client, home.url("file.bin")) == CONTENT
    assert asked(home) == ["/file.bin"] * 2
    assert asked(away) == ["/stored.bin"] * 3


def test_a_denial_by_the_first_origin_is_a_denial(client: HttpClient, home: BrokenWeb, away: BrokenWeb) -> None:
    home.faults.add(moved(away.url("stored.bin")))
    home.faults.add(Answer(403, {"x-reason": "gone for good"}), times=FOREVER)
    assert fetched(client, home.url("file.bin")) == CONTENT
    away.faults.add(Answer(403))
    with pytest.raises(HttpStatusError) as caught:
        fetched(client, home.url("file.bin"))
    assert (caught.value.status, caught.value.headers["x-reason"]) == (403, "gone for good")
    assert asked(away) == ["/stored.bin"] * 2


def test_a_denial_at_a_fresh_address_is_a_denial_and_is_asked_once(
    client: HttpClient, home: BrokenWeb, away: BrokenWeb
) -> None:
    home.faults.add(moved(away.url("stored.bin")), times=FOREVER)
    away.faults.add(Answer(403), times=FOREVER)
    for number in (1, 2):
        with pytest.raises(HttpStatusError) as caught:
            fetched(client, home.url("file.bin"))
        assert caught.value.url == away.url("stored.bin")
        assert len(asked(away)) == number


def test_an_address_that_cannot_be_reached_any_more_is_asked_for_again(
    client: HttpClient, home: BrokenWeb, away: BrokenWeb
) -> None:
    home.faults.add(moved(away.url("stored.bin")))
    assert fetched(client, home.url("file.bin")) == CONTENT
    away.server.refuse()
    with pytest.raises(SourceUnavailable, match="cannot connect"):
        fetched(client, home.url("file.bin"))
    assert fetched(client, home.url("file.bin")) == CONTENT
    assert asked(home) == ["/file.bin"] * 2


def test_a_pause_at_the_other_origin_does_not_delay_the_first(
    client: HttpClient, home: BrokenWeb, away: BrokenWeb
) -> None:
    home.faults.add(moved(away.url("stored.bin")), times=FOREVER)
    assert fetched(client, home.url("file.bin")) == CONTENT
    away.faults.add(too_many_requests("1"))
    with pytest.raises(Throttled):
        fetched(client, home.url("file.bin"))
    assert fetched(client, home.url("file.bin")) == CONTENT
    assert asked(home) == ["/file.bin"]


@pytest.mark.parametrize("words", [b"", b"Found. Redirecting to another place."])
def test_connections_survive_redirects_refusals_and_probes(
    client: HttpClient, home: BrokenWeb, away: BrokenWeb, words: bytes
) -> None:
    with Gate(home.server.port) as gate:
        url = f"http://127.0.0.1:{gate.port}/file.bin"
        home.faults.add(Answer(302, {"Location": away.url("stored.bin")}, words), path="/file.bin", times=3)
        home.faults.add(Answer(404, {}, words), path="/file.bin", times=3)
        for _ in range(3):
            assert client.fetch(url).body == CONTENT
        for _ in range(3):
            with pytest.raises(HttpStatusError):
                fetched(client, url)
        assert client.fetch(url, headers=SECRETS, public_headers={"range": "bytes=0-0"}, limit=0).status == 206
        assert client.fetch(url, headers=SECRETS, method="HEAD", limit=0).status == 200
        assert gate.connections == 1


def test_a_long_answer_that_is_not_wanted_is_not_read(client: HttpClient, home: BrokenWeb) -> None:
    url = home.put("long.bin", bytes(4 << 20))
    assert client.fetch(url, limit=0).status == 200
    assert home.log.sent() < 4 << 20 or len(home.log.records()) == 1
    assert client.fetch(url, limit=0).headers["content-length"] == str(4 << 20)


def test_small_answers_are_bounded(client: HttpClient, home: BrokenWeb) -> None:
    url = home.put("list.txt", CONTENT)
    assert client.fetch(url, limit=SIZE).body == CONTENT
    with pytest.raises(ProtocolFailed, match=f"more than {SIZE - 1} bytes"):
        client.fetch(url, limit=SIZE - 1)


@pytest.mark.parametrize(("status", "kind"), [(404, None), (403, None), (429, Throttled), (502, SourceUnavailable)])
def test_only_passing_errors_of_small_answers_are_raised(
    client: HttpClient, home: BrokenWeb, status: int, kind: type[DownloadError] | None
) -> None:
    home.faults.add(Answer(status, {}, b"why"))
    if kind is None:
        assert client.fetch(home.url("file.bin")).status == status
        return
    with pytest.raises(kind):
        client.fetch(home.url("file.bin"))


def test_an_answer_that_does_not_come_is_silence(tls: Trust, home: BrokenWeb) -> None:
    home.faults.add(Silence())
    web = HttpClient(tls, Proxies(), user_agent="tests", timeouts=Timeouts(AT_LAST, read=0.1), content=integrity)
    with pytest.raises(SourceUnavailable, match="silent"):
        web.fetch(home.url("file.bin"))
    web.close()


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.0.1:8080",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::1]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "168.63.129.16",
    ],
)
def test_no_redirect_leads_to_a_link_local_or_metadata_address(client: HttpClient, home: BrokenWeb, host: str) -> None:
    home.put("away", b"")
    home.faults.add(moved(f"http://{host}/latest/meta-data/"), path="/away", times=FOREVER)
    with pytest.raises(ProtocolFailed, match="link-local or metadata address"):
        client.fetch(home.url("away"))


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback counts as link-local, which no test can listen on."""
    monkeypatch.setattr(link_local, "NETWORKS", (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")))


@pytest.mark.usefixtures("inside")
def test_nor_does_a_name_that_stands_for_one(client: HttpClient, home: BrokenWeb, away: BrokenWeb) -> None:
    inner = away.url("stored.bin").replace("127.0.0.1", "localhost")
    home.faults.add(moved(inner), path="/file.bin", times=FOREVER)
    with pytest.raises(ProtocolFailed, match=r"localhost \(.*\), a link-local or metadata address"):
        client.fetch(home.url("file.bin"), headers=SECRETS)
    with pytest.raises(ProtocolFailed, match="link-local"):
        client.open(RangeRequest(home.url("file.bin"), Span(0, SIZE), SIZE, headers=SECRETS))
    with client.library_client() as library, pytest.raises(ProtocolFailed, match="link-local"):
        library.get(home.url("file.bin"), headers=SECRETS)
    assert away.log.records() == []


@pytest.mark.usefixtures("inside")
def test_one_that_the_run_itself_names_is_asked(client: HttpClient, home: BrokenWeb, away: BrokenWeb) -> None:
    inner = away.url("stored.bin").replace("127.0.0.1", "localhost")
    home.faults.add(moved(inner), path="/file.bin", times=FOREVER)
    assert client.fetch(inner).body == CONTENT
    assert client.fetch(home.url("file.bin"), headers=SECRETS).body == CONTENT


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "::1", "fd00::1", "2001:db8::a9fe:a9fe", "host", "", "1"])
def test_other_addresses_may_be_anywhere(address: str) -> None:
    assert not link_local.is_link_local(address)


def test_a_redirect_that_wants_its_cookie_back_is_told_as_such(client: HttpClient, home: BrokenWeb) -> None:
    away = Answer(302, {"Location": home.url("file.bin"), "Set-Cookie": "seen=yes; path=/"})
    home.faults.add(away, path="/file.bin", times=FOREVER)
    with pytest.raises(ProtocolFailed, match=r"redirects more than 10 times \(.*cookies are not kept\)"):
        client.fetch(home.url("file.bin"))


@pytest.mark.parametrize(
    "fault", [Cut(after=100), HangUp(), Answer(503), Answer(206, {"Content-Range": "bytes 9-9/9"})]
)
def test_an_error_is_told_with_the_host_that_answered(
    client: HttpClient, home: BrokenWeb, away: BrokenWeb, fault: Fault
) -> None:
    home.faults.add(moved(away.url("stored.bin")), path="/file.bin", times=FOREVER)
    away.faults.add(fault, times=FOREVER)
    with pytest.raises(DownloadError, match=f"127.0.0.1:{away.server.port}"):
        read_all(client, RangeRequest(home.url("file.bin"), Span(0, SIZE), SIZE, verified=True))


def read_all(client: HttpClient, request: RangeRequest) -> None:
    with closing(client.open(request)) as body:
        while body.readinto(memoryview(bytearray(SIZE))):
            pass
