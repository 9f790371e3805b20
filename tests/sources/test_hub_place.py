"""`hf+https://`: the Hub's API at an address of its own, which may have a path, and who gets which credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from downloader.errors import UsageError
from downloader.sources.hub_place import endpoint_and_uri
from tests.command import PEOPLE, model, run
from tests.servers.manager import PREFIX, Manager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.hub import Hub

FILES = {"config.json": b"{}", "sub/a.txt": b"text"}
TOKEN = "hf_of_the_hub_alone"
MANAGER = "https://h/artifactory/api/huggingfaceml/hf"
READ = {
    "hf+https://h/org/name": ("https://h", "hf://org/name"),
    "hf+http://h:80/org/name@v1": ("http://h:80", "hf://org/name@v1"),
    "hf+https://h/org/name@v1/sub/file": ("https://h", "hf://org/name@v1/sub/file"),
    "hf+https://h/org/name:v1/sub": ("https://h", "hf://org/name:v1/sub"),
    "hf+https://h/datasets/org/name": ("https://h", "hf://datasets/org/name"),
    "hf+https://h//org/name/sub": ("https://h", "hf://org/name/sub"),
    "hf+https://h//datasets/org/name/sub": ("https://h", "hf://datasets/org/name/sub"),
    f"hf+{MANAGER}//org/name": (MANAGER, "hf://org/name"),
    f"hf+{MANAGER}//org/name@v1/sub": (MANAGER, "hf://org/name@v1/sub"),
    f"hf+{MANAGER}//datasets/org/name/sub": (MANAGER, "hf://datasets/org/name/sub"),
}
REFUSED = {
    "hf+https://h/path/org/name": "write hf+https://h//path/org/name for the folder",
    "hf+https://h/datasets/org/name/sub": "hf+https://h/path//org/name for the other",
    f"hf+{MANAGER}/org/name@v1": "a repository behind a path of the server",
    "hf+https://h": "names no repository",
    "hf+https://h/path//": "names no repository",
    "hf+https:///org/name": "names no Hub",
    "hf+https://h/path?a=b//org/name": "names no Hub",
    "hf+https://h/a@b//org/name": "names no Hub",
}


@pytest.mark.parametrize(("uri", "expected"), READ.items(), ids=READ)
def test_an_address_is_an_endpoint_and_a_repository(uri: str, expected: tuple[str, str]) -> None:
    endpoint, there = endpoint_and_uri(uri)
    assert (endpoint.url, there) == expected


@pytest.mark.parametrize(("uri", "words"), REFUSED.items(), ids=REFUSED)
def test_an_address_that_may_mean_two_things_is_refused(uri: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        endpoint_and_uri(uri)
    assert words in str(caught.value)


def test_a_login_is_kept_apart_and_shown_nowhere() -> None:
    endpoint, _ = endpoint_and_uri("hf+https://key:sesame@h/path//org/name")
    assert endpoint.url == "https://h/path"
    assert endpoint.authorization.startswith("Basic ")
    with pytest.raises(UsageError) as caught:
        endpoint_and_uri("hf+https://key:sesame@h/path/org/name")
    assert "sesame" not in str(caught.value)


@pytest.fixture
def manager(hub: Hub) -> Iterator[Manager]:
    hub.tokens[TOKEN] = "carol"
    hub.page_size = 1
    hub.create("org/model").commit(FILES)
    with Manager(hub) as manager:
        yield manager


def test_all_requests_go_behind_the_path_and_none_has_the_token_of_another_endpoint(
    hub: Hub, manager: Manager, tmp_path: Path
) -> None:
    extra = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, **PEOPLE}
    result = run("download", f"hf+{manager.endpoint}//org/model", tmp_path, extra=extra)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == FILES
    records = manager.log.records()
    assert {record.route for record in records} >= {"api", "tree", "resolve"}
    assert all(record.request.target.startswith(PREFIX) for record in records)
    assert {record.request.bearer for record in records} == {None}
    assert hub.log.records("tree") == []


def test_the_token_goes_to_the_endpoint_that_it_is_for(manager: Manager, tmp_path: Path) -> None:
    extra = {"HF_ENDPOINT": manager.endpoint, "HF_TOKEN": TOKEN}
    assert run("download", f"hf+{manager.endpoint}//org/model", tmp_path, extra=extra).status == 0
    assert {record.request.bearer for record in manager.log.records()} == {TOKEN}


def test_a_login_in_the_uri_is_for_its_host_alone(hub: Hub, manager: Manager, tmp_path: Path) -> None:
    assert manager
    with Manager(hub, login="Basic a2V5OnNlc2FtZS1nYXRl") as guarded:
        uri = f"hf+{guarded.endpoint}//org/model".replace("://", "://key:sesame-gate@")
        extra = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "AIM_LOG_LEVEL": "debug", **PEOPLE}
        result = run("download", uri, tmp_path, extra=extra)
        assert result.status == 0, result.stderr
        assert model(tmp_path) == FILES
        assert guarded.log.records("login") == []
    for secret in ("sesame", "a2V5", TOKEN):
        assert secret not in result.stderr
        assert all(secret.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
