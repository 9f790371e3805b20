"""Which proxy a host is reached through, and that it really is."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Span
from downloader.config.addresses import proxy_endpoint
from downloader.config.env import Malformed, read
from downloader.config.proxies import ProxySettings
from downloader.errors import ConfigurationError, SourceUnavailable
from downloader.network import HttpClient, RangeRequest
from downloader.network.pool import Timeouts
from downloader.network.proxies import Proxies, Proxy
from downloader.network.tls import Trust
from tests.command import model, run
from tests.reading import rest_of
from tests.servers.broken import BrokenWeb, moved
from tests.servers.process import free_port
from tests.servers.proxy import Proxy as ProxyServer
from tests.servers.raw import END, Raw
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.servers.certificates import Authority

HOST = "models.test"
CONTENT = bytes(range(256)) * 1000
EXCEPTIONS = [
    ("*", "anything.test", 443, True),
    ("example.com", "example.com", 443, True),
    ("example.com", "EXAMPLE.com", 443, True),
    ("EXAMPLE.COM", "example.com", 443, True),
    ("example.com", "example.com.", 443, True),
    ("example.com", "hub.example.com", 443, True),
    ("example.com", "badexample.com", 443, False),
    ("example.com", "example.com.evil.test", 443, False),
    (".example.com", "hub.example.com", 443, True),
    (".example.com", "example.com", 443, True),
    ("*.example.com", "a.b.example.com", 443, True),
    ("*.example.com", "badexample.com", 443, False),
    ("example.com:8443", "example.com", 8443, True),
    ("example.com:8443", "example.com", 443, False),
    (" a.test , b.test,, ", "b.test", 443, True),
    ("10.0.0.0/8 .svc minio.local", "minio.local", 9000, True),
    ("10.0.0.0/8 .svc minio.local", "store.svc", 9000, True),
    ("a.test\tb.test\nc.test", "c.test", 443, True),
    ("a.test b.test", "test", 443, False),
    ("", "a.test", 443, False),
    (",", "a.test", 443, False),
    (".", "a.test.", 443, False),
    ("10.1.2.3", "10.1.2.3", 443, True),
    ("10.1.2.3", "10.1.2.30", 443, False),
    ("10.1.2.3:9000", "10.1.2.3", 9000, True),
    ("10.1.2.3:9000", "10.1.2.3", 443, False),
    ("10.0.0.0/8", "10.200.3.4", 443, True),
    ("10.0.0.0/8", "11.0.0.1", 443, False),
    ("10.1.2.3/8", "10.200.3.4", 443, True),
    ("10.0.0.0/99", "10.0.0.1", 443, False),
    ("10.0.0.0/8", "ten.test", 443, False),
    ("fd00::/8", "fd12::1", 443, True),
    ("fd00::/8", "[fd12::1]", 443, True),
    ("fd00::/8", "10.0.0.1", 443, False),
    ("fd12::1", "[fd12::1]", 443, True),
    ("[fd12::1]", "[fd12::1]", 443, True),
    ("[fd12::1]:8443", "fd12::1", 8443, True),
    ("[fd12::1]:8443", "fd12::1", 443, False),
    (".svc,.cluster.local", "minio.models.svc", 9000, True),
    (".svc,.cluster.local", "minio.models.svc.cluster.local", 9000, True),
]


def proxies_of(environ: Mapping[str, str]) -> Proxies:
    """Return the proxies of an environment that is in order."""
    problems: list[str] = []
    settings = read(ProxySettings, environ, problems)
    assert problems == []
    return Proxies(settings)


@pytest.mark.parametrize(("exceptions", "host", "port", "direct"), EXCEPTIONS)
def test_no_proxy_names_hosts_domains_ports_and_networks(
    exceptions: str, host: str, port: int, *, direct: bool
) -> None:
    proxies = proxies_of({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": exceptions})
    assert (proxies.choose("https", host, port) is None) is direct


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.10", "::1", "[::1]"])
def test_loopback_is_always_direct(host: str) -> None:
    assert proxies_of({"ALL_PROXY": "proxy:3128"}).choose("http", host, 80) is None


@pytest.mark.parametrize(
    ("environ", "http", "https"),
    [
        ({}, None, None),
        ({"HTTP_PROXY": "http://a:1"}, "a", None),
        ({"https_proxy": "http://a:1"}, None, "a"),
        ({"https_proxy": "http://a:1", "HTTPS_PROXY": "http://b:1"}, None, "a"),
        ({"ALL_PROXY": "http://a:1"}, "a", "a"),
        ({"all_proxy": "http://a:1", "HTTPS_PROXY": "http://b:1"}, "a", "b"),
        ({"HTTPS_PROXY": ""}, None, None),
    ],
)
def test_each_scheme_has_its_variable_and_a_common_one(
    environ: Mapping[str, str], http: str | None, https: str | None
) -> None:
    chosen = [proxies_of(environ).choose(scheme, "host.test", 1) for scheme in ("http", "https")]
    assert [proxy and proxy.host for proxy in chosen] == [http, https]


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("proxy", Proxy("proxy", 80)),
        ("proxy:3128", Proxy("proxy", 3128)),
        ("http://proxy:3128/", Proxy("proxy", 3128)),
        ("http://[fd00::1]:3128", Proxy("fd00::1", 3128)),
        ("http://me:s%40me@proxy:1", Proxy("proxy", 1, "Basic bWU6c0BtZQ==")),
        ("http://me@proxy:1", Proxy("proxy", 1, "Basic bWU6")),
    ],
)
def test_a_proxy_is_an_address_with_or_without_a_password(text: str, proxy: Proxy) -> None:
    assert proxies_of({"HTTPS_PROXY": text}).choose("https", "host.test", 1) == proxy


@pytest.mark.parametrize("text", ["http://", "http://proxy:port", "http://proxy:99999", "http://[fd00", "http://a b"])
def test_what_is_no_address_is_no_proxy_and_shows_no_password(text: str) -> None:
    problems: list[str] = []
    read(ProxySettings, {"HTTPS_PROXY": text.replace("://", "://me:sesame@", 1)}, problems)
    assert "HTTPS_PROXY" in problems[0]
    assert "sesame" not in problems[0]
    with pytest.raises(Malformed):
        proxy_endpoint(text)


@pytest.mark.parametrize(
    ("name", "kind"), [("HTTPS_PROXY", "https"), ("all_proxy", "socks5h"), ("ALL_PROXY", "socks5")]
)
def test_a_proxy_of_another_kind_is_refused_where_one_is_needed_and_nowhere_else(name: str, kind: str) -> None:
    proxies = proxies_of({name: f"{kind}://me:sesame@proxy:1", "NO_PROXY": "near.test"})
    assert proxies.choose("https", "near.test", 443) is None
    assert proxies.choose("http", "127.0.0.1", 80) is None
    with pytest.raises(ConfigurationError, match=rf"{name.upper()} .*{kind}://") as caught:
        proxies.choose("https", "far.test", 443)
    assert "sesame" not in str(caught.value)


def test_a_password_does_not_show_when_a_proxy_is_printed() -> None:
    endpoint = proxy_endpoint("http://me:word@proxy:1")
    assert endpoint.secrets == ("word", "Basic bWU6d29yZA==")
    for printed in (repr(endpoint), str(endpoint), repr(Proxy.of("HTTP_PROXY", endpoint))):
        assert "word" not in printed
        assert "bWU6" not in printed


@pytest.fixture(scope="module")
def tls(authority: Authority) -> Trust:
    return Trust([authority.bundle])


@pytest.fixture
def through(tls: Trust) -> Iterator[Callable[..., HttpClient]]:
    """Make a client that goes through a proxy."""
    webs: list[HttpClient] = []

    def make(url: str, **more: str) -> HttpClient:
        proxies = proxies_of({"HTTP_PROXY": url, "HTTPS_PROXY": url, **more})
        webs.append(HttpClient(tls, proxies, user_agent="tests", timeouts=Timeouts(AT_LAST, AT_LAST)))
        return webs[-1]

    yield make
    for web in webs:
        web.close()


@pytest.fixture
def plain() -> Iterator[BrokenWeb]:
    with BrokenWeb() as server:
        server.put("file.bin", CONTENT, authorization="Bearer word")
        yield server


@pytest.fixture
def secure(authority: Authority) -> Iterator[BrokenWeb]:
    with BrokenWeb(tls=authority.server_context(authority.issue(HOST))) as server:
        server.put("file.bin", CONTENT, authorization="Bearer word")
        yield server


def fetched(web: HttpClient, url: str) -> bytes:
    return rest_of(
        web.open(RangeRequest(url, Span(0, len(CONTENT)), len(CONTENT), headers={"authorization": "Bearer word"}))
    )


@pytest.mark.parametrize("password", ["", "me:s@me"])
def test_a_plain_url_is_fetched_through_the_proxy(
    through: Callable[..., HttpClient], plain: BrokenWeb, password: str
) -> None:
    with ProxyServer({HOST: plain.server.port}, password=password) as proxy:
        web = through(proxy.url.replace("s@me", "s%40me"))
        assert fetched(web, f"http://{HOST}/file.bin?a=b") == CONTENT
        assert proxy.log == [f"GET http://{HOST}/file.bin?a=b"]
        seen = plain.log.records()[0].request.headers
        assert seen["host"] == HOST
        assert "proxy-authorization" not in seen


@pytest.mark.parametrize("password", ["", "me:word"])
def test_a_secure_url_is_fetched_through_a_tunnel_that_is_used_again(
    through: Callable[..., HttpClient], secure: BrokenWeb, password: str
) -> None:
    with ProxyServer({HOST: secure.server.port}, password=password) as proxy:
        web = through(proxy.url)
        for _ in range(3):
            assert fetched(web, f"https://{HOST}:8443/file.bin") == CONTENT
        assert proxy.log == [f"CONNECT {HOST}:8443"]
        assert all("proxy-authorization" not in record.request.headers for record in secure.log.records())
        web.close()


@pytest.mark.parametrize(
    ("location", "goes_along"),
    [
        (f"https://{HOST}/file.bin", True),
        (f"https://{HOST}:443/file.bin", True),
        (f"https://{HOST}:8443/file.bin", False),
        (f"https://cdn.{HOST}/file.bin", False),
    ],
)
def test_a_credential_stays_with_its_host_when_http_becomes_https(
    through: Callable[..., HttpClient], authority: Authority, location: str, *, goes_along: bool
) -> None:
    credential = {"authorization": "Bearer word"}
    names = authority.server_context(authority.issue(HOST, f"cdn.{HOST}"))
    with BrokenWeb() as plain, BrokenWeb(tls=names) as secure:
        hosts = {HOST: secure.server.port, f"cdn.{HOST}": secure.server.port}
        for server in (plain, secure):
            server.put("file.bin", CONTENT)
        with ProxyServer({HOST: plain.server.port}) as first, ProxyServer(hosts) as second:
            web = through(first.url, HTTPS_PROXY=second.url)
            plain.faults.add(moved(location), times=3)
            assert fetched(web, f"http://{HOST}/file.bin") == CONTENT
            assert web.fetch(f"http://{HOST}/file.bin", headers=credential).body == CONTENT
            library = web.library_client().get(f"http://{HOST}/file.bin", headers=credential)
            assert library.content == CONTENT
        seen = [*plain.log.records(), *secure.log.records()]
        led = [record.request.headers.get("authorization") for record in seen if record.status == 200]
        assert led == [credential["authorization"] if goes_along else None] * 3


def test_what_no_proxy_names_is_reached_directly(through: Callable[..., HttpClient], plain: BrokenWeb) -> None:
    with ProxyServer({}) as proxy:
        web = through(proxy.url, NO_PROXY="10.0.0.0/8")
        assert fetched(web, plain.url("file.bin")) == CONTENT
        assert proxy.log == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_does_not_listen_is_named_as_the_cause(through: Callable[..., HttpClient], scheme: str) -> None:
    with pytest.raises(SourceUnavailable, match=r"models\.test.*proxy"):
        fetched(through(f"http://127.0.0.1:{free_port()}"), f"{scheme}://{HOST}/file.bin")


def test_a_tunnel_that_is_refused_is_told_with_the_status(through: Callable[..., HttpClient]) -> None:
    with ProxyServer({}, password="me:word") as proxy, pytest.raises(SourceUnavailable, match=r"proxy.*502"):
        fetched(through(proxy.url), f"https://{HOST}/file.bin")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_a_password_is_the_one_that_is_told_of(
    through: Callable[..., HttpClient], scheme: str
) -> None:
    with ProxyServer({}, password="me:word") as proxy:
        with pytest.raises(ConfigurationError, match=f"proxy 127.0.0.1:{proxy.port} wants a user.*407") as caught:
            fetched(through(f"http://127.0.0.1:{proxy.port}"), f"{scheme}://{HOST}/file.bin")
        assert f"{scheme.upper()}_PROXY" in caught.value.hint
        with pytest.raises(ConfigurationError, match=r"does not accept its user and password.*407") as caught:
            fetched(through(proxy.url.replace("word", "wrong")), f"{scheme}://{HOST}/file.bin")
        assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n\r\n", END, b"HTTP/1.1 200 OK\r\n" + b"x" * 70_000])
def test_a_proxy_that_speaks_nonsense_is_a_passing_error(through: Callable[..., HttpClient], answer: bytes) -> None:
    with Raw([answer]) as server, pytest.raises(SourceUnavailable):
        fetched(through(f"http://127.0.0.1:{server.port}"), f"https://{HOST}/file.bin")


def test_a_tunnel_to_another_host_is_noticed(through: Callable[..., HttpClient], authority: Authority) -> None:
    with BrokenWeb(tls=authority.server_context()) as other, ProxyServer({HOST: other.server.port}) as proxy:
        with pytest.raises(Exception, match=r"certificate verification failed for https://models\.test"):
            fetched(through(proxy.url), f"https://{HOST}/file.bin")
        other.server.refuse()


def test_many_threads_share_tunnels(through: Callable[..., HttpClient], secure: BrokenWeb) -> None:
    with ProxyServer({HOST: secure.server.port}) as proxy:
        web, found = through(proxy.url), list[bytes]()
        threads = [
            threading.Thread(target=lambda: found.append(fetched(web, f"https://{HOST}/file.bin"))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [CONTENT] * 4
        assert len(proxy.log) <= 4
        web.close()


def test_a_download_goes_through_the_proxy(secure: BrokenWeb, authority: Authority, tmp_path: Path) -> None:
    with ProxyServer({HOST: secure.server.port}, password="me:sesame") as proxy:
        extra = {"https_proxy": proxy.url, "AIM_CA_BUNDLE": str(authority.bundle), "AIM_HTTP_TOKEN": "word"}
        result = run("download", f"https://{HOST}/file.bin", tmp_path, extra=extra)
        assert result.status == 0, result.stderr
        assert model(tmp_path) == {"file.bin": CONTENT}
        assert proxy.log
        assert "sesame" not in result.stderr
