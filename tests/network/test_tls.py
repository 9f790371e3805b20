"""Whom we trust: the system, the bundle that comes along, and the user's CAs, all together."""

from __future__ import annotations

import os
import shutil
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import certifi
import pytest

from downloader import integrity
from downloader.config import Settings
from downloader.errors import ConfigurationError, UntrustedServer
from downloader.network import HttpClient
from downloader.network.pool import Timeouts
from downloader.network.proxies import Proxies
from downloader.network.tls import Trust
from downloader.sources.registry import usual_trust
from tests.servers.broken import BrokenWeb
from tests.servers.certificates import Authority, OldAuthority
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other"))


@pytest.fixture(scope="module")
def servers(authority: Authority, other: Authority) -> Iterator[list[BrokenWeb]]:
    made = [BrokenWeb(tls=one.server_context()) for one in (authority, other)]
    for server in made:
        server.put("file", b"content")
    yield made
    for server in made:
        server.close()


def answer(tls: Trust, url: str) -> bytes:
    web = HttpClient(tls, Proxies(), user_agent="tests", timeouts=Timeouts(AT_LAST, AT_LAST), content=integrity)
    try:
        return web.fetch(url).body
    finally:
        web.close()


def authorities(tls: Trust) -> int:
    return tls.context.cert_store_stats()["x509_ca"]


def test_every_bundle_counts(servers: list[BrokenWeb], authority: Authority, other: Authority) -> None:
    tls = Trust([authority.bundle, other.bundle])
    assert [answer(tls, server.url("file")) for server in servers] == [b"content"] * 2


def test_a_bundle_of_the_user_replaces_nothing(authority: Authority) -> None:
    usual, more = authorities(Trust()), authorities(Trust([authority.bundle]))
    assert more == usual + 1
    assert usual >= len(Path(certifi.where()).read_text().split("BEGIN CERTIFICATE")) - 10


def test_the_systems_own_setting_counts_besides(
    servers: list[BrokenWeb], authority: Authority, other: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(other.bundle))
    tls = Trust([authority.bundle])
    assert [answer(tls, server.url("file")) for server in servers] == [b"content"] * 2


def test_an_unknown_certificate_is_refused_with_advice(servers: list[BrokenWeb], authority: Authority) -> None:
    with pytest.raises(
        UntrustedServer, match=r"certificate verification failed for https://127\.0\.0\.1.*AIM_CA_BUNDLE"
    ):
        answer(Trust([authority.bundle]), servers[1].url("file"))


def test_what_an_old_ca_has_signed_is_accepted_as_before_python_3_13(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = OldAuthority(tmp_path)
    usual = ssl.create_default_context

    def as_python_3_13_makes_it() -> ssl.SSLContext:
        context = usual()
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", as_python_3_13_makes_it)
    with BrokenWeb(tls=old.server_context()) as server:
        assert answer(Trust([old.bundle]), server.put("file", b"content")) == b"content"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_wants_a_client_certificate_is_not_asked_again(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    context = authority.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.bundle)
    context.minimum_version = context.maximum_version = version
    with BrokenWeb(tls=context) as server, pytest.raises(UntrustedServer, match="client certificate"):
        answer(Trust([authority.bundle]), server.put("file", b"content"))


def test_a_certificate_for_another_host_is_refused(authority: Authority) -> None:
    with BrokenWeb(tls=authority.server_context(authority.issue("other.test"))) as server:
        server.put("file", b"content")
        with pytest.raises(UntrustedServer, match=r"127\.0\.0\.1"):
            answer(Trust([authority.bundle]), server.url("file"))
        assert answer(Trust(verify=False), server.url("file")) == b"content"


def test_old_versions_of_the_protocol_are_not_spoken(authority: Authority) -> None:
    assert Trust([authority.bundle]).context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert Trust(verify=False).context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("kind", ["missing", "empty", "garbage", "folder"])
def test_a_bundle_that_cannot_be_used_is_named(tmp_path: Path, kind: str) -> None:
    bundle = tmp_path / "ca.pem"
    if kind == "folder":
        bundle.mkdir()
    elif kind != "missing":
        bundle.write_text("" if kind == "empty" else "-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")
    with pytest.raises(ConfigurationError, match=r"ca\.pem"):
        Trust([bundle])


def test_a_bundle_may_have_remarks_in_any_encoding(authority: Authority, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    shutil.copy(authority.bundle, bundle)
    bundle.write_bytes("# für alle\n".encode("latin-1") + bundle.read_bytes())
    assert authorities(Trust([bundle])) == authorities(Trust([authority.bundle]))


@pytest.mark.root
def test_a_mounted_bundle_in_an_unreadable_folder_counts_as_missing(tmp_path: Path) -> None:
    environ = {"CA_BUNDLE_CONFIGMAP_NAME": "cabundle", "CA_BUNDLE_VOLUME_MOUNT_POINT": str(tmp_path)}
    settings = Settings.from_environment(environ)
    tmp_path.chmod(0o700)
    os.seteuid(1_234_567)
    try:
        assert usual_trust(settings).bundles == ()
    finally:
        os.seteuid(0)
