"""The Hub double satisfies the real clients, and misbehaves when told to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest
from huggingface_hub import HfApi, set_client_factory
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils._http import default_client_factory

from tests.servers.blobs import Noise
from tests.servers.faults import (
    FOREVER,
    Cut,
    EndlessPages,
    Flip,
    Headers,
    IgnoreRange,
    Misdeclare,
    Reset,
    ShiftRange,
    Silence,
    Stall,
    Trickle,
    too_many_requests,
    web_page,
)
from tests.servers.hub import Hub
from tests.servers.repository import Kind, Storage
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WEIGHTS = Noise(3 << 20, seed=1)


@pytest.fixture(autouse=True)
def plain_client() -> None:
    """Let the library use its own client: our source gives it another, for the whole process."""
    set_client_factory(default_client_factory)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        hub.tokens |= {"hf_alice": "alice", "hf_bob": "bob"}
        yield hub


@pytest.fixture
def api(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=False)


def location(hub: Hub, path: str) -> str:
    """Return where the Hub says that a large file is."""
    answer = httpx2.head(f"{hub.endpoint}/org/model/resolve/main/{path}")
    assert answer.status_code == 302
    return str(answer.headers["location"])


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client() as client:
        yield client


@pytest.fixture
def url(hub: Hub) -> str:
    hub.create("org/model").commit({"weights.bin": WEIGHTS}, storage=Storage.LFS)
    return location(hub, "weights.bin")


@pytest.mark.parametrize("kind", Kind)
def test_the_client_downloads_every_kind_of_repository(hub: Hub, api: HfApi, tmp_path: Path, kind: Kind) -> None:
    files: dict[str, bytes | Noise] = {
        "config.json": b"{}",
        "sub/folder/weights.bin": WEIGHTS,
        "empty.txt": b"",
        "naïve name.txt": b"x",
    }
    sha = hub.create("org/model", kind).commit(files)
    cache = tmp_path / "cache"
    api.snapshot_download("org/model", repo_type=kind.value, local_dir=tmp_path / "model", cache_dir=cache)
    assert (tmp_path / "model/sub/folder/weights.bin").read_bytes() == WEIGHTS.bytes()
    assert (tmp_path / "model/naïve name.txt").read_bytes() == b"x"
    found = api.verify_repo_checksums("org/model", repo_type=kind.value, revision=sha, local_dir=tmp_path / "model")
    assert (found.checked_count, found.mismatches, found.missing_paths) == (4, [], [])
    assert hub.leaks == []


def test_branches_tags_and_pull_requests_name_commits(hub: Hub, api: HfApi) -> None:
    model = hub.create("legacy")
    first = model.commit({"a": b"1"})
    model.tag("v1", first)
    second = model.commit({"a": b"2"})
    proposed = model.commit({"a": b"3"}, reference="refs/pr/1")
    named = {name: api.model_info("legacy", revision=name).sha for name in ("main", "v1", "refs/pr/1", first)}
    assert named == {"main": second, "v1": first, "refs/pr/1": proposed, first: first}
    assert api.model_info("legacy").sha == second


def test_a_listing_comes_in_pages(hub: Hub, api: HfApi) -> None:
    hub.create("org/model").commit({f"folder/{number:03}.txt": b"" for number in range(25)})
    hub.page_size = 10
    assert len(list(api.list_repo_tree("org/model", recursive=True))) == 26
    assert len(hub.log.records("tree")) == 3
    assert [entry.path for entry in api.list_repo_tree("org/model")] == ["folder"]


def test_a_listing_without_end_never_ends(hub: Hub, api: HfApi) -> None:
    hub.create("org/model").commit({"a": b""})
    hub.faults.add(EndlessPages(), route="tree", times=FOREVER)
    entries = api.list_repo_tree("org/model")
    assert [next(iter(entries)).path for _ in range(20)] == ["a"] * 20


def test_a_renamed_repository_redirects(hub: Hub, api: HfApi) -> None:
    sha = hub.create("old").commit({"a": b"1"})
    hub.move("old", "org/new")
    assert api.model_info("old").sha == sha


@pytest.mark.parametrize(
    ("token", "name", "error", "status"),
    [
        (None, "org/missing", RepositoryNotFoundError, 401),
        ("hf_bob", "org/missing", RepositoryNotFoundError, 404),
        (None, "org/private", RepositoryNotFoundError, 401),
        ("hf_bob", "org/private", RepositoryNotFoundError, 404),
        ("hf_wrong", "org/public", HfHubHTTPError, 401),
        (None, "org/disabled", DisabledRepoError, 403),
    ],
)
def test_a_user_who_may_not_see_a_repository_gets_the_error_of_the_hub(
    hub: Hub, token: str | None, name: str, error: type[HfHubHTTPError], status: int
) -> None:
    hub.create("org/public").commit({"a": b""})
    hub.create("org/private", private=True, members={"alice"}).commit({"a": b""})
    hub.create("org/disabled").disabled = True
    with pytest.raises(error) as caught:
        HfApi(endpoint=hub.endpoint, token=token or False).model_info(name)
    assert (type(caught.value), caught.value.response.status_code) == (error, status)


def test_members_see_a_private_repository(hub: Hub, api: HfApi) -> None:
    sha = hub.create("org/private", private=True, members={"alice"}).commit({"a": b""})
    assert api.model_info("org/private", token="hf_alice").sha == sha


def test_a_gated_repository_is_listed_for_all_and_read_by_members(hub: Hub, api: HfApi, tmp_path: Path) -> None:
    hub.create("org/gated", gated=True, members={"alice"}).commit({"a": b"1"})
    assert [file.path for file in api.list_repo_tree("org/gated")] == ["a"]
    for token, status in ((False, 401), ("hf_bob", 403)):
        with pytest.raises(GatedRepoError) as caught:
            api.get_hf_file_metadata(url=f"{hub.endpoint}/org/gated/resolve/main/a", token=token)
        assert caught.value.response.status_code == status
    assert api.hf_hub_download("org/gated", "a", local_dir=tmp_path, cache_dir=tmp_path / "cache", token="hf_alice")


def test_missing_revisions_and_files_are_named(hub: Hub, api: HfApi) -> None:
    hub.create("org/model").commit({"a": b"1"})
    with pytest.raises(RevisionNotFoundError):
        api.model_info("org/model", revision="nope")
    with pytest.raises(RemoteEntryNotFoundError):
        api.get_hf_file_metadata(url=f"{hub.endpoint}/org/model/resolve/main/nope")


def test_the_cdn_serves_ranges_of_one_version_until_the_signature_expires(
    hub: Hub, client: httpx2.Client, url: str
) -> None:
    content = WEIGHTS.bytes()
    part = client.get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(content)}"
    assert client.get(url, headers={"Range": "bytes=-5"}).content == content[-5:]
    etag = part.headers["etag"]
    assert client.get(url, headers={"Range": "bytes=0-9", "If-Range": etag}).status_code == 206
    assert client.get(url, headers={"Range": "bytes=0-9", "If-Range": '"other"'}).content == content
    assert client.get(url, headers={"If-Match": '"other"'}).status_code == 412
    assert client.get(url, headers={"Range": f"bytes={len(content)}-"}).status_code == 416
    assert client.get(url, headers={"Authorization": "Bearer hf_alice", "Range": "bytes=0-0"}).status_code == 206
    assert [record.range for record in hub.leaks] == ["bytes=0-0"]
    hub.cdn.signer.revoke()
    assert client.get(url).status_code == 403


def test_a_fault_strikes_at_its_place_as_often_as_told(hub: Hub, client: httpx2.Client, url: str) -> None:
    content = WEIGHTS.bytes()
    hub.faults.add(Flip(), route="cdn", offset=1000, times=1, skip=1)
    parts = [client.get(url, headers={"Range": f"bytes={start}-{start + 99}"}).content for start in (950, 0, 950, 950)]
    wrong = content[950:1000] + bytes([content[1000] ^ 0xFF]) + content[1001:1050]
    assert parts == [content[950:1050], content[0:100], wrong, content[950:1050]]


def test_broken_bodies_are_broken_in_the_way_that_was_asked_for(hub: Hub, url: str) -> None:
    for fault, error, timeout in (
        (Reset(after=500), httpx2.ReadError, AT_LAST),
        (Cut(after=500), httpx2.RemoteProtocolError, AT_LAST),
        (Stall(after=500), httpx2.ReadTimeout, 0.2),
        (Silence(), httpx2.ReadTimeout, 0.2),
        (Misdeclare(by=1000), httpx2.RemoteProtocolError, AT_LAST),
    ):
        hub.faults.add(fault, route="cdn")
        with pytest.raises(error):
            httpx2.get(url, timeout=timeout)
    hub.faults.add(Misdeclare(by=-1000), route="cdn")
    assert len(httpx2.get(url, timeout=AT_LAST).content) == WEIGHTS.size - 1000
    hub.faults.add(Stall(after=500, seconds=0.1), route="cdn")
    assert httpx2.get(url, timeout=AT_LAST).content == WEIGHTS.bytes()


def test_ranges_are_ignored_or_shifted(hub: Hub, url: str) -> None:
    hub.faults.add(IgnoreRange(), route="cdn")
    hub.faults.add(ShiftRange(by=5), route="cdn")
    whole = httpx2.get(url, headers={"Range": "bytes=10-19"}, timeout=AT_LAST)
    assert (whole.status_code, len(whole.content)) == (200, WEIGHTS.size)
    shifted = httpx2.get(url, headers={"Range": "bytes=10-19"}, timeout=AT_LAST)
    assert shifted.headers["content-range"].startswith("bytes 15-24/")


def test_replies_are_replaced_or_lose_headers(hub: Hub, url: str) -> None:
    hub.faults.add(too_many_requests("7"), route="cdn")
    hub.faults.add(web_page(), route="cdn")
    hub.faults.add(Headers({"ETag": None}), route="cdn")
    assert httpx2.get(url, timeout=AT_LAST).headers["retry-after"] == "7"
    assert httpx2.get(url, timeout=AT_LAST).text.startswith("<!doctype html>")
    assert "etag" not in httpx2.get(url, timeout=AT_LAST).headers


def test_a_trickle_is_slow(hub: Hub, url: str) -> None:
    hub.faults.add(Trickle(after=WEIGHTS.size - 1000, rate=5000), route="cdn")
    answer = httpx2.get(url, timeout=AT_LAST)
    assert answer.elapsed.total_seconds() > 0.15
    assert answer.content == WEIGHTS.bytes()


def test_a_port_refuses_or_ignores_clients_until_it_is_opened_again(hub: Hub, client: httpx2.Client, url: str) -> None:
    for close, error in ((hub.cdn.server.refuse, httpx2.ConnectError), (hub.cdn.server.ignore, httpx2.ConnectTimeout)):
        client.get(url)
        close()
        with pytest.raises(httpx2.TransportError):
            client.get(url, timeout=0.2)
        with pytest.raises(error):
            client.get(url, timeout=0.2)
        hub.cdn.server.accept()
        assert client.get(url).content == WEIGHTS.bytes()
