"""Certificates are checked by every client, and a CA of one's own is honoured by every client.

The API server has its own CA in the pod's ServiceAccount, and no other is trusted for it: tests/contract/test_status*.
Redirects, also from https to http, are in tests/network/test_redirects.py.
"""

from __future__ import annotations

import datetime as dt
import json
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.command import Result, model, run
from tests.servers.blobs import Noise
from tests.servers.broken import BrokenWeb
from tests.servers.certificates import Authority, OldAuthority
from tests.servers.faults import FOREVER, Answer
from tests.servers.hub import Hub
from tests.servers.moto import Moto
from tests.servers.s3 import fill_bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    Download = Callable[[str, Path, Mapping[str, str]], Result]

pytestmark = pytest.mark.xdist_group("servers over TLS")
"""One worker for all: each would start its own servers."""
FILES = {"config.json": b"{}", "model.bin": Noise(3 << 20, seed=5).bytes()}
TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJwb2QifQ.c2ln"
ROLE = "arn:aws:iam::123456789012:role/reader"


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA that no client trusts."""
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA whose certificates Python 3.13 refuses unless it is told otherwise."""
    return OldAuthority(tmp_path_factory.mktemp("old"))


@pytest.fixture
def download() -> Download:
    """Runs the command; the tests of the image have one that runs the image."""
    return lambda uri, target, extra: run("download", uri, target, extra=extra)


@pytest.fixture(scope="module")
def hub(authority: Authority) -> Iterator[Hub]:
    with Hub(tls=authority.server_context()) as server:
        server.create("org/model").commit(FILES)
        yield server


@pytest.fixture(scope="module")
def web(authority: Authority) -> Iterator[BrokenWeb]:
    with BrokenWeb(tls=authority.server_context()) as server:
        server.put("model.bin", FILES["model.bin"])
        yield server


@pytest.fixture(scope="module")
def s3(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """An S3 service and a token service; moto cannot check who asks and serve strangers, so it does not check."""
    with Moto(tmp_path_factory.mktemp("moto"), authority=authority, checked=False) as server:
        fill_bucket(server.client(), "tls", {f"m/{path}": data for path, data in FILES.items()})
        yield server


@dataclass(frozen=True)
class Client:
    """A way to talk TLS: what is asked for, and how."""

    uri: str
    extra: Mapping[str, str]


@pytest.fixture
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Client:
    """Each client by its name, without any trust of its own."""
    name: str = request.param
    if name.startswith("hub"):
        return through_the_hub(request.getfixturevalue("hub"), name, tmp_path)
    if name == "web":
        web: BrokenWeb = request.getfixturevalue("web")
        return Client(web.url("model.bin"), {})
    return through_s3(request.getfixturevalue("s3"), name, tmp_path)


def through_the_hub(hub: Hub, name: str, folder: Path) -> Client:
    protocol = "XET" if name == "hub, Xet" else "HF_TRANSFER"
    extra = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder / "h"), "AIM_DOWNLOADER_PROTOCOL": protocol}
    return Client("hf://org/model", extra)


def through_s3(s3: Moto, name: str, folder: Path) -> Client:
    extra = s3.environment()
    del extra["AWS_CA_BUNDLE"]
    if name == "token service":
        (folder / "token").write_text(TOKEN)
        extra = {"AWS_ENDPOINT_URL": s3.endpoint, "AWS_ENDPOINT_URL_STS": s3.endpoint, "AWS_REGION": "us-east-1"}
        extra |= {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": str(folder / "token")}
    return Client("s3://tls/m", extra)


CLIENTS = ["hub", "hub, Xet", "web", "s3", "token service"]
TRUST = [(name, variable) for name in CLIENTS for variable in ("AIM_CA_BUNDLE", "SSL_CERT_FILE")]
TRUST += [("s3", "AWS_CA_BUNDLE"), ("token service", "AWS_CA_BUNDLE")]


@pytest.mark.parametrize(("client", "variable"), TRUST, indirect=["client"])
def test_a_ca_of_ones_own_is_trusted(
    download: Download, client: Client, variable: str, authority: Authority, tmp_path: Path
) -> None:
    extra = {**client.extra, variable: str(authority.bundle)}
    result = download(client.uri, tmp_path / "t", extra)
    assert result.status == 0, result.stderr
    assert "switching" not in result.stderr
    assert model(tmp_path / "t").items() <= FILES.items()


@pytest.mark.parametrize("client", CLIENTS, indirect=True)
def test_no_other_status_is(download: Download, client: Client, stranger: Authority, tmp_path: Path) -> None:
    extra = {**client.extra, "AIM_CA_BUNDLE": str(stranger.bundle)}
    result = download(client.uri, tmp_path / "t", extra)
    assert result.status == 78, result.stderr
    assert "TLS certificate verification failed" in result.last_line
    assert "signed by a CA that is not trusted here" in result.last_line
    assert "AIM_CA_BUNDLE" in result.last_line
    assert model(tmp_path / "t") == {}


@pytest.mark.parametrize("name", CLIENTS)
def test_what_an_old_ca_has_signed_is_accepted(
    download: Download, name: str, old: Authority, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with ExitStack() as stack:
        if name.startswith("hub"):
            hub = stack.enter_context(Hub(tls=old.server_context()))
            hub.create("org/model").commit(FILES)
            client = through_the_hub(hub, name, tmp_path)
        elif name == "web":
            web = stack.enter_context(BrokenWeb(tls=old.server_context()))
            client = Client(web.put("model.bin", FILES["model.bin"]), {})
        else:
            s3 = stack.enter_context(Moto(tmp_path_factory.mktemp("moto"), authority=old, checked=False))
            fill_bucket(s3.client(), "tls", {f"m/{path}": data for path, data in FILES.items()})
            client = through_s3(s3, name, tmp_path)
        result = download(client.uri, tmp_path / "t", {**client.extra, "AIM_CA_BUNDLE": str(old.bundle)})
    assert result.status == 0, result.stderr
    assert "switching" not in result.stderr


def test_two_bundles_are_trusted_at_once(
    download: Download, s3: Moto, authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    extra = {**s3.environment(), "AIM_CA_BUNDLE": str(stranger.bundle), "AWS_CA_BUNDLE": str(authority.bundle)}
    result = download("s3://tls/m", tmp_path, extra)
    assert result.status == 0, result.stderr


@pytest.mark.parametrize("part", ["storage", "transfer host", "content network"])
def test_the_hosts_behind_the_hub_are_checked_too(
    download: Download, part: str, authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    """The Hub is trusted, but where it sends us is not: Xet is given up, and without another way the run ends."""
    with Hub(tls=authority.server_context()) as hub, Hub(tls=stranger.server_context()) as elsewhere:
        hub.create("org/model").commit(FILES)
        server = {"storage": hub.xet.server, "transfer host": hub.xet.transfer_host, "content network": hub.cdn.server}
        wrong = {
            "storage": elsewhere.xet.server,
            "transfer host": elsewhere.xet.transfer_host,
            "content network": elsewhere.cdn.server,
        }
        server[part].port = wrong[part].port
        protocol = "HF_TRANSFER" if part == "content network" else "XET"
        extra = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "h"), "AIM_DOWNLOADER_PROTOCOL": protocol}
        extra["AIM_CA_BUNDLE"] = str(authority.bundle)
        result = download("hf://org/model", tmp_path / "t", extra)
        # Whom hf_xet was sent on to it names or not.
        assert result.status == 78 or (part == "transfer host" and result.status == 69), result.stderr
        if result.status == 78:
            refused = f"https://127.0.0.1:{wrong[part].port}"
            assert f"TLS certificate verification failed for {refused}" in result.last_line
        assert elsewhere.log.records() == []
    assert not (tmp_path / "t" / "model.bin").exists()


def test_a_hub_with_tls_leads_to_no_xet_storage_without(authority: Authority, tmp_path: Path) -> None:
    with Hub(tls=authority.server_context()) as hub, BrokenWeb() as storage:
        hub.create("org/model").commit(FILES)
        token = {"casUrl": storage.server.origin, "accessToken": "word", "exp": 1 << 33}
        hub.faults.add(Answer(200, {}, json.dumps(token).encode()), route="token", times=FOREVER)
        extra = {"HF_ENDPOINT": hub.endpoint, "AIM_CA_BUNDLE": str(authority.bundle), "HF_HOME": str(tmp_path / "h")}
        result = run("download", "hf://org/model", tmp_path / "t", "--protocol", "XET,HTTP", extra=extra)
        assert storage.log.records() == []
    assert result.status == 0, result.stderr
    assert "Xet storage without TLS" in result.stderr
    assert model(tmp_path / "t") == FILES


def test_a_certificate_of_another_host_is_refused(download: Download, authority: Authority, tmp_path: Path) -> None:
    with BrokenWeb(tls=authority.server_context(authority.issue("elsewhere.test"))) as web:
        url = web.put("model.bin", FILES["model.bin"])
        result = download(url, tmp_path, {"AIM_CA_BUNDLE": str(authority.bundle)})
        assert web.log.records() == []
    assert result.status == 78, result.stderr
    assert "TLS certificate verification failed for https://127.0.0.1" in result.last_line
    assert "another host" in result.last_line
    assert "name that CA" not in result.last_line


def test_a_certificate_that_has_run_out_is_refused(download: Download, authority: Authority, tmp_path: Path) -> None:
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    with BrokenWeb(tls=authority.server_context(authority.issue("127.0.0.1", until=past))) as web:
        url = web.put("model.bin", FILES["model.bin"])
        result = download(url, tmp_path, {"AIM_CA_BUNDLE": str(authority.bundle)})
    assert result.status == 78, result.stderr
    assert "TLS certificate verification failed" in result.last_line
    assert "expired" in result.last_line
    assert "name that CA" not in result.last_line


@pytest.mark.parametrize("content", [None, "no certificate", ""])
def test_a_bundle_that_cannot_be_used_is_named(
    download: Download, content: str | None, hub: Hub, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    extra = {"HF_ENDPOINT": hub.endpoint, "AIM_CA_BUNDLE": str(bundle)}
    result = download("hf://org/model", tmp_path / "t", extra)
    assert result.status == 78, result.stderr
    assert str(bundle) in result.last_line
