"""Who refused a web file: the server that was asked, or the one to which it leads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.command import PEOPLE, model, run, run_until
from tests.servers.blobs import Noise
from tests.servers.broken import BrokenWeb, RefuseParts, moved
from tests.servers.faults import FOREVER, Answer, web_page
from tests.servers.process import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = Noise(200_000, seed=73).bytes()
EXPIRED = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"


@pytest.fixture
def store() -> Iterator[BrokenWeb]:
    """Where the file lies."""
    with BrokenWeb() as server:
        server.put("data.bin", CONTENT)
        yield server


@pytest.fixture
def url(store: BrokenWeb) -> Iterator[str]:
    """What leads there."""
    with BrokenWeb() as server:
        server.faults.add(moved(store.url("data.bin")), times=FOREVER)
        yield server.url("data.bin")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_one_refusal_where_a_redirect_leads_costs_another_try(
    status: int, store: BrokenWeb, url: str, tmp_path: Path
) -> None:
    store.faults.add(Answer(status, {"Content-Type": "application/xml"}, EXPIRED), method="GET")
    result = run("download", url, tmp_path / "t")
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == {"data.bin": CONTENT}


def test_a_refusal_that_stays_names_who_refused_and_why(store: BrokenWeb, url: str, tmp_path: Path) -> None:
    store.faults.add(Answer(403, {"Content-Type": "application/xml"}, EXPIRED), method="GET", times=FOREVER)
    result = run_until(69, "download", url, tmp_path / "t")
    assert result.status == 69, result.stderr
    assert f"was refused (127.0.0.1:{store.server.port} answered HTTP 403: Request has expired)" in result.last_line


def test_a_file_that_is_missing_where_a_redirect_leads_is_missing(store: BrokenWeb, url: str, tmp_path: Path) -> None:
    store.faults.add(Answer(404), times=FOREVER)
    result = run_until(66, "download", url, tmp_path / "t")
    assert result.status == 66, result.stderr
    assert f"does not exist (127.0.0.1:{store.server.port} answered HTTP 404)" in result.last_line


def test_a_server_that_refuses_what_is_its_own_is_believed(store: BrokenWeb, tmp_path: Path) -> None:
    store.faults.add(Answer(403, {"Content-Type": "text/plain"}, b"members only"), method="GET", times=FOREVER)
    result = run("download", store.url("data.bin"), tmp_path / "t")
    assert result.status == 77, result.stderr
    assert f"may not be read (127.0.0.1:{store.server.port} answered HTTP 403: members only)" in result.last_line


def test_a_server_that_refuses_parts_is_read_in_one_stream(own_web: BrokenWeb, tmp_path: Path) -> None:
    """Firewalls answer so to Range, and some servers to more than one connection."""
    content = Noise(9 << 20, seed=74).bytes()
    url = own_web.put("model.bin", content)
    own_web.faults.add(RefuseParts(), method="GET", times=FOREVER)
    result = run("download", url, tmp_path / "t")
    assert result.status == 0, result.stderr
    assert "is not handed out in parts (127.0.0.1" in result.stderr
    assert model(tmp_path / "t") == {"model.bin": content}


def test_a_server_that_also_refuses_the_whole_file_is_believed(own_web: BrokenWeb, tmp_path: Path) -> None:
    url = own_web.put("model.bin", Noise(9 << 20, seed=74).bytes())
    own_web.faults.add(Answer(403), method="GET", times=FOREVER)
    result = run("download", url, tmp_path / "t")
    assert result.status == 77, result.stderr


@pytest.mark.parametrize("answer", [Answer(403), web_page()], ids=["denied", "an index page"])
def test_a_folder_without_its_slash_is_told_how_to_write_it(answer: Answer, own_web: BrokenWeb, tmp_path: Path) -> None:
    url = own_web.url("model")
    own_web.faults.add(moved(f"{url}/", 301), path="/model", times=FOREVER)
    own_web.faults.add(answer, path="/model/", times=FOREVER)
    result = run("download", url, tmp_path / "t")
    assert result.status in (65, 77), result.stderr
    assert f"it is a folder: write {url}/" in result.last_line


@pytest.mark.parametrize("path", ["org/model.gguf", "folder/"])
def test_a_redirect_to_a_page_to_log_in_is_told(path: str, own_web: BrokenWeb, tmp_path: Path) -> None:
    page = own_web.url("login")
    own_web.faults.add(web_page(), path="/login", times=FOREVER)
    own_web.faults.add(moved(f"{page}?next=secret"), path="/[of]*", times=FOREVER)
    result = run("download", own_web.url(path), tmp_path / "t", extra=PEOPLE)
    assert result.status == 65, result.stderr
    assert f"it redirects to {page}; if that is a login, give credentials with AIM_HTTP_TOKEN" in result.last_line
    assert "secret" not in result.stderr


def test_a_circle_of_redirects_is_no_matter_of_the_protocol(own_web: BrokenWeb, tmp_path: Path) -> None:
    own_web.faults.add(moved(own_web.url("model.gguf")), times=FOREVER)
    result = run("download", own_web.url("model.gguf"), tmp_path / "t")
    assert result.status == 69, result.stderr
    assert "redirects more than 10 times (check the address" in result.last_line


def test_a_server_without_tls_that_is_asked_with_it_is_told(own_web: BrokenWeb, tmp_path: Path) -> None:
    result = run("download", own_web.url("m").replace("http:", "https:"), tmp_path / "t", extra={"STALL_TIMEOUT": "3"})
    assert result.status == 69, result.stderr
    assert "the server does not speak TLS there" in result.last_line
    assert "a server without TLS is addressed with http://" in result.last_line


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_fails_is_named_without_its_password(scheme: str, tmp_path: Path) -> None:
    port = free_port()
    proxy = {f"{scheme}_proxy": f"http://user:sesame@127.0.0.1:{port}", "STALL_TIMEOUT": "3"}
    result = run("download", f"{scheme}://models.example.com/m", tmp_path / "t", extra=proxy)
    assert result.status == 69, result.stderr
    assert f"cannot be reached through the proxy 127.0.0.1:{port}: Connection refused" in result.last_line
    assert "sesame" not in result.stderr
