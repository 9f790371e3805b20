"""The web server does what the suite relies on."""

from __future__ import annotations

import base64
import http.client
import urllib.error
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.servers.certificates import Authority
from tests.servers.process import MissingProgram, find_program
from tests.servers.web import Options, WebServer
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "served"
    (folder / "sub").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 256)
    return folder


def test_a_range_is_served_plain_and_over_tls(folder: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    with WebServer(folder, state=tmp_path / "nginx", authority=authority) as web:
        for url in (web.url, web.secure_url):
            request = urllib.request.Request(f"{url}/weights.bin", headers={"Range": "bytes=10-19"})
            with urllib.request.urlopen(request, context=authority.client_context()) as answer:
                assert answer.status == 206
                assert answer.read() == bytes(range(10, 20))
        both = [("bytes=10-19", 10, ""), ("bytes=10-19", 10, "on")]
        # nginx writes its log after it has answered.
        assert eventually(lambda: [(served.range, served.sent, served.tls) for served in web.requests] == both)


def test_a_folder_is_not_listed(folder: Path, tmp_path: Path) -> None:
    with WebServer(folder, state=tmp_path / "nginx") as web, pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{web.url}/sub/")


def test_basic_authentication_is_demanded(folder: Path, tmp_path: Path) -> None:
    options = Options(users={"ann": "secret"}, headers={"X-Note": 'a "b"'})
    with WebServer(folder, state=tmp_path / "nginx", options=options) as web:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{web.url}/weights.bin")
        basic = base64.b64encode(b"ann:secret").decode()
        request = urllib.request.Request(f"{web.url}/weights.bin", headers={"Authorization": f"Basic {basic}"})
        with urllib.request.urlopen(request) as answer:
            assert answer.headers["X-Note"] == 'a "b"'


def test_a_redirect_leads_to_the_second_origin(folder: Path, tmp_path: Path) -> None:
    with WebServer(folder, state=tmp_path / "second") as second:
        options = Options(redirects={"moved": second.url})
        with WebServer(folder, state=tmp_path / "first", options=options) as first:
            host = urlsplit(first.url).netloc
            connection = http.client.HTTPConnection(host)
            connection.request("GET", "/moved/weights.bin")
            answer = connection.getresponse()
            assert (answer.status, answer.headers["Location"]) == (302, f"{second.url}/weights.bin")
            connection.close()


def test_a_missing_program_is_named_with_its_package() -> None:
    with pytest.raises(MissingProgram, match="apt-get install --no-install-recommends webserver-light"):
        find_program("no-such-web-server", "webserver-light")
