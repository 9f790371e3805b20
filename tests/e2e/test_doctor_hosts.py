"""`doctor` goes the way to each host that a URI touches, and says at which step it ends."""

from __future__ import annotations

import datetime as dt
import email.utils
import threading
import time
from typing import TYPE_CHECKING

import pytest

from downloader import Finding, Level, diagnose
from tests.command import PEOPLE, run
from tests.e2e.doctor import examine, levels, of_host
from tests.servers.faults import FOREVER, Answer, Headers, IgnoreRange, Silence, Trickle
from tests.servers.hub import Hub
from tests.servers.moto import Moto
from tests.servers.process import free_port
from tests.servers.proxy import Proxy
from tests.servers.published import in_a_bucket, in_a_web_folder, on_the_hub
from tests.servers.s3 import Account

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.broken import BrokenWeb
    from tests.servers.certificates import Authority
    from tests.servers.s3 import S3Server
    from tests.servers.web import WebServer

FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 800}
SOON = {"STALL_TIMEOUT": "10"}
"""A limit for checks that hang; no check that works comes near it."""


@pytest.fixture
def environment(hub: Hub) -> dict[str, str]:
    return {**PEOPLE, **on_the_hub(hub, FILES).extra}


@pytest.fixture
def secure(authority: Authority) -> Iterator[Hub]:
    with Hub(tls=authority.server_context()) as server:
        yield server


def test_certificates_are_told_with_issuer_expiry_and_the_store_that_has_their_ca(
    secure: Hub, authority: Authority, tmp_path: Path
) -> None:
    extra = {**PEOPLE, **on_the_hub(secure, FILES).extra, "AIM_CA_BUNDLE": str(authority.bundle)}
    result, found = examine("hf://org/model", tmp_path, extra=extra)
    assert result.status == 0, result.stdout
    ports = [secure.server.port, secure.cdn.server.port, secure.xet.server.port, secure.xet.transfer_host.port]
    for port in ports:
        tls = of_host(found, "tls", port)
        assert tls["level"] == "ok"
        assert f"known from the CA bundle {authority.bundle}" in tls["text"]
        assert "issued by trustme" in tls["text"]
        assert tls["text"].endswith("expires 3000-01-01")
    assert {one["host"].rpartition(":")[2] for one in found["tls"]} == set(map(str, ports))


def test_a_ca_that_is_not_trusted_is_named_and_ends_it_as_it_ends_a_download(secure: Hub, tmp_path: Path) -> None:
    extra = {**PEOPLE, **on_the_hub(secure, FILES).extra}
    result, found = examine("hf://org/model", tmp_path, extra=extra)
    download = run("download", "hf://org/model", tmp_path, extra=extra)
    assert (result.status, result.last_line) == (download.status, download.last_line)
    assert result.status == 78
    tls = of_host(found, "tls", secure.server.port)
    assert tls["level"] == "problem"
    assert "signed by a CA that is not trusted here" in tls["text"]
    assert "it says that trustme" in tls["text"]
    assert "AIM_CA_BUNDLE" in tls["remedy"]
    assert levels(found, "tcp", "write") == ["ok", "ok"]


@pytest.mark.parametrize(("days", "level", "words"), [(3, "note", "expires"), (-1, "problem", "it has expired")])
def test_a_certificate_that_expires_is_told(
    days: int, level: str, words: str, authority: Authority, tmp_path: Path
) -> None:
    until = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    with Hub(tls=authority.server_context(authority.issue("127.0.0.1", until=until))) as server:
        on_the_hub(server, FILES)
        extra = {**PEOPLE, "HF_ENDPOINT": server.endpoint, "AIM_CA_BUNDLE": str(authority.bundle)}
        result, found = examine("hf://org/model", tmp_path, extra=extra)
    tls = of_host(found, "tls", server.server.port)
    assert (tls["level"], words in tls["text"]) == (level, True)
    assert result.status == tls["exitStatus"]


def test_keys_a_bucket_and_their_endpoint(s3: S3Server, tmp_path: Path) -> None:
    place = in_a_bucket(s3, "doctor-good", FILES)
    result, found = examine(place.uri, tmp_path, extra={**PEOPLE, **place.extra})
    assert result.status == 0, result.stdout
    assert "with the keys of the environment" in found["credentials"][0]["text"]
    assert "2 files" in found["source"][0]["text"]
    assert [one["host"] for one in found["tcp"]] == [s3.endpoint.removeprefix("http://")]


def test_wrong_keys_end_it_as_they_end_a_download_and_are_not_shown(s3: S3Server, tmp_path: Path) -> None:
    place = in_a_bucket(s3, "doctor-wrong", FILES)
    wrong = Account(s3.account.access_key_id, "wrongwrongwrongwrongwrongwrongwrongwrong")
    extra = {**PEOPLE, **s3.environment(wrong)}
    result, found = examine(place.uri, tmp_path, extra=extra)
    assert result.status == run("download", place.uri, tmp_path, extra=extra).status == 77
    assert levels(found, "source") == ["problem"]
    assert levels(found, "dns", "tcp") == ["ok", "ok"]
    assert "wrongwrong" not in result.stdout + result.stderr


def test_missing_keys_end_it_as_they_end_a_download(s3: S3Server, tmp_path: Path) -> None:
    place = in_a_bucket(s3, "doctor-missing", FILES)
    extra = {**PEOPLE, "AWS_ENDPOINT_URL": s3.endpoint, "AWS_EC2_METADATA_DISABLED": "true"}
    result, found = examine(place.uri, tmp_path, extra=extra)
    assert result.status == 77
    assert "Unable to locate credentials" in result.last_line
    assert found["source"][0]["level"] == "problem"


def test_s3_over_tls_whose_certificates_are_not_verified_is_a_note(
    authority: Authority, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Moto(tmp_path_factory.mktemp("moto"), authority=authority) as secure:
        place = in_a_bucket(secure, "doctor-skip", FILES)
        extra = {**PEOPLE, **place.extra, "AWS_CA_BUNDLE": "", "AIM_S3_INSECURE_SKIP_VERIFY": "true"}
        result, found = examine(place.uri, tmp_path, extra=extra)
    assert result.status == 0, result.stdout
    assert levels(found, "tls") == ["note"]


def test_a_web_folder_over_tls(web: WebServer, web_root: Path, authority: Authority, tmp_path: Path) -> None:
    place = in_a_web_folder(web, web_root / "doctor", FILES, str(authority.bundle))
    result, found = examine(place.uri, tmp_path, extra={**PEOPLE, **place.extra})
    assert result.status == 0, result.stdout
    assert levels(found, "source", "bytes", "tls", "clock") == ["ok"] * 4


def test_a_host_that_does_not_exist_is_told_by_the_check_of_its_name(tmp_path: Path) -> None:
    extra = {**PEOPLE, "HF_ENDPOINT": "http://no-such-host.invalid"}
    result, found = examine("hf://org/model", tmp_path, extra=extra)
    assert result.status == 69
    assert levels(found, "dns") == ["problem"]
    assert "no-such-host.invalid" in found["dns"][0]["text"]
    assert "tcp" not in found


def test_a_port_that_refuses_is_told_by_the_check_of_the_connection(tmp_path: Path) -> None:
    port = free_port()
    result, found = examine("hf://org/model", tmp_path, extra={**PEOPLE, "HF_ENDPOINT": f"http://127.0.0.1:{port}"})
    assert result.status == 69
    assert levels(found, "dns", "tcp") == ["ok", "problem"]
    assert "refused" in of_host(found, "tcp", port)["text"]


def test_what_only_one_protocol_needs_is_a_note_while_another_one_works(
    hub: Hub, environment: dict[str, str], tmp_path: Path
) -> None:
    hub.xet.server.refuse()
    result, found = examine("hf://org/model", tmp_path, extra=environment)
    assert result.status == 0, result.stdout
    assert levels(found, "bytes", "xet") == ["ok", "note"]
    assert of_host(found, "tcp", hub.xet.server.port)["level"] == "note"
    alone, found = examine("hf://org/model", tmp_path, "--protocol", "XET", extra=environment)
    assert alone.status == 69
    assert levels(found, "xet") == ["problem"]
    assert of_host(found, "tcp", hub.xet.server.port)["level"] == "problem"


def test_a_wrong_token_ends_it_as_it_ends_a_download_and_is_not_shown(
    environment: dict[str, str], tmp_path: Path
) -> None:
    extra = {**environment, "HF_TOKEN": "hf_wrongwrongwrongwrong"}
    result, found = examine("hf://org/model", tmp_path, extra=extra)
    download = run("download", "hf://org/model", tmp_path, extra=extra)
    assert (result.status, result.last_line) == (download.status, download.last_line)
    assert result.status == 77
    assert "with the token in HF_TOKEN" in found["credentials"][0]["text"]
    assert "wrongwrong" not in result.stdout + result.stderr


def test_a_gate_is_found_although_the_repository_can_be_listed(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/gated", gated=True).commit(FILES)
    result, found = examine("hf://org/gated", tmp_path, extra={**PEOPLE, "HF_ENDPOINT": hub.endpoint})
    assert result.status == 77, result.stdout
    assert levels(found, "source", "bytes") == ["ok", "problem"]


def test_a_repository_that_is_missing_ends_it_as_it_ends_a_download(hub: Hub, tmp_path: Path) -> None:
    result, found = examine("hf://org/none", tmp_path, extra={**PEOPLE, "HF_ENDPOINT": hub.endpoint})
    assert result.status == 66
    assert levels(found, "source", "tcp") == ["problem", "ok"]


def test_a_proxy_that_refuses_is_told_and_its_password_is_not(secure: Hub, tmp_path: Path) -> None:
    on_the_hub(secure, FILES)
    with Proxy({"hub.test": secure.server.port}, password="me:rightword") as proxy:
        extra = {
            **PEOPLE,
            "HF_ENDPOINT": "https://hub.test",
            "HTTPS_PROXY": proxy.url.replace("rightword", "wrongword"),
        }
        result, found = examine("hf://org/model", tmp_path, extra=extra)
        download = run("download", "hf://org/model", tmp_path, extra=extra)
    assert result.status == download.status == 78
    assert levels(found, "proxy") == ["ok", "problem"]
    assert "HTTPS_PROXY names it" in found["proxy"][0]["text"]
    assert "does not accept its user and password" in found["proxy"][1]["text"]
    assert "wrongword" not in result.stdout + result.stderr


def test_the_way_through_a_proxy_and_past_it(authority: Authority, tmp_path: Path) -> None:
    context = authority.server_context(authority.issue("hub.test", "127.0.0.1"))
    with Hub(tls=context) as secure, Proxy({"hub.test": secure.server.port}) as proxy:
        on_the_hub(secure, FILES)
        extra = {**PEOPLE, "HTTPS_PROXY": proxy.url, "AIM_CA_BUNDLE": str(authority.bundle)}
        extra["HF_ENDPOINT"] = "https://hub.test"
        result, found = examine("hf://org/model", tmp_path, extra=extra)
        assert result.status == 0, result.stdout
        proxied = next(one for one in found["proxy"] if one["host"] == "hub.test:443")
        assert f"through the proxy 127.0.0.1:{proxy.port}" in proxied["text"]
        assert "it is on this machine" in of_host(found, "proxy", secure.cdn.server.port)["text"]
        _, found = examine("hf://org/model", tmp_path, extra=extra | {"NO_PROXY": "test"})
    assert "NO_PROXY has test" in found["proxy"][0]["text"]


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_server_with_another_time_is_a_note(
    hours: int, hub: Hub, environment: dict[str, str], tmp_path: Path
) -> None:
    date = email.utils.formatdate(time.time() + hours * 3600, usegmt=True)
    hub.faults.add(Headers({"Date": date}), route="*", times=FOREVER)
    result, found = examine("hf://org/model", tmp_path, extra=environment)
    assert result.status == 0, result.stdout
    assert set(levels(found, "clock")) == {"note"}
    which = "behind" if hours > 0 else "ahead of"
    text = of_host(found, "clock", hub.server.port)["text"]
    assert f"{which} that of" in text
    assert "1 h 59 min" in text or "2 h 0 min" in text
    assert "NTP" in of_host(found, "clock", hub.server.port)["remedy"]


def test_a_server_that_never_answers_does_not_hold_up_the_rest(
    hub: Hub, environment: dict[str, str], tmp_path: Path
) -> None:
    hub.faults.add(Silence(), route="*", times=FOREVER)
    result, found = examine("hf://org/model", tmp_path, extra={**environment, **SOON})
    assert result.status in (69, 75), result.stdout
    assert levels(found, "source", "tcp", "write") == ["problem", "ok", "ok"]


def test_a_source_without_an_end_does_not_hold_up_the_rest(
    hub: Hub, environment: dict[str, str], tmp_path: Path
) -> None:
    hub.faults.add(Trickle(rate=8), route="tree", times=FOREVER)  # each read is in time, all of them are not
    result, found = examine("hf://org/model", tmp_path, extra={**environment, **SOON})
    assert result.status == 75, result.stdout
    assert "did not answer within 10 s" in found["source"][0]["text"]
    assert levels(found, "tcp", "clock", "write") == ["ok", "ok", "ok"]


def test_a_secret_that_a_server_repeats_is_not_shown(hub: Hub, environment: dict[str, str], tmp_path: Path) -> None:
    told = {"X-Error-Code": "Forbidden", "X-Error-Message": "no rights for quitesecretword"}
    hub.faults.add(Answer(403, told), route="api", times=FOREVER)
    result, found = examine("hf://org/model", tmp_path, extra={**environment, "HF_TOKEN": "quitesecretword"})
    assert result.status == 77
    assert "no rights for ***" in found["source"][0]["text"]
    assert "quitesecretword" not in result.stdout + result.stderr


def test_the_api_returns_the_same_findings(environment: dict[str, str], hub: Hub, tmp_path: Path) -> None:
    seen: list[Finding] = []
    found = diagnose("hf://org/model", tmp_path, environ=environment, on_finding=seen.append)
    assert (found.exit_status, found.error) == (0, None)
    assert tuple(seen) == found.findings
    assert {finding.level for finding in found.findings} == {Level.OK}
    hub.repositories.clear()
    assert diagnose("hf://org/model", tmp_path, environ=environment).exit_status == 66
    # Nothing of it goes on.
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("doctor")]


def test_the_json_form_is_written_alone_on_stdout(environment: dict[str, str], tmp_path: Path) -> None:
    result, _ = examine("hf://org/model", tmp_path, extra=environment)
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr == ""


def test_a_server_that_hands_out_no_parts_is_a_problem_only_for_who_wants_parts(
    own_web: BrokenWeb, tmp_path: Path
) -> None:
    url = own_web.put("model.bin", b"x" * 100_000)
    own_web.faults.add(IgnoreRange(), times=FOREVER)
    result, found = examine(url, tmp_path, extra=PEOPLE)
    assert result.status == 0, result.stdout
    assert levels(found, "bytes") == ["ok"]
    assert "it is not handed out in parts" in found["bytes"][0]["text"]
    assert run("download", url, tmp_path, extra=PEOPLE).status == 0
    result, _ = examine(url, tmp_path / "other", "--protocol=RANGES", extra=PEOPLE)
    assert result.status == 69
