"""Repository managers and mirrors in the place of the Hub: fewer routes, other words, and the same files in the end."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from downloader.artifact import Algorithm
from downloader.errors import (
    AccessDenied,
    ConfigurationError,
    DownloadError,
    ProtocolFailed,
    SourceNotFound,
    SourceUnavailable,
)
from downloader.sources.huggingface import HubSource
from tests.command import model, run
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Answer
from tests.servers.manager import Manager
from tests.servers.messages import Reply
from tests.servers.repository import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from downloader.artifact import Manifest
    from downloader.network import HttpClient
    from tests.servers.hub import Hub
    from tests.servers.messages import Request

WEIGHTS = Noise(200_000, seed=3).bytes()
FILES = {"config.json": b"{}", "empty.txt": b"", "sub/deep/a b.txt": b"text", "sub/model.safetensors": WEIGHTS}
UNKNOWN = [400, 404, 405, 422, 501]


@pytest.fixture
def sha(hub: Hub) -> str:
    return hub.create("org/model").commit(FILES)


@pytest.fixture
def manager(hub: Hub, sha: str) -> Iterator[Manager]:
    assert sha
    with Manager(hub) as server:
        yield server


@pytest.fixture
def listed(plain_web: HttpClient, manager: Manager) -> Callable[..., Manifest]:
    """List what a URI names at the manager."""

    def listing(uri: str = "hf://org/model", token: str = "") -> Manifest:
        return HubSource(uri, plain_web, endpoint=manager.endpoint, token=token).manifest()

    return listing


def sizes(manifest: Manifest) -> dict[str, int]:
    return {file.path: file.size for file in manifest.files}


def proofs(manifest: Manifest) -> dict[str, list[str]]:
    return {file.path: [str(digest) for digest in file.digests] for file in manifest.files}


def routes(manager: Manager) -> list[str]:
    return [f"{record.request.method} {record.route}" for record in manager.log.records()]


RIGHT = {path: len(content) for path, content in FILES.items()}


def downloaded(manager: Manager, target: Path, **extra: str) -> None:
    result = run("download", "hf://org/model", target, extra={"HF_ENDPOINT": manager.endpoint, **extra})
    assert result.status == 0, result.stderr
    assert model(target) == FILES


@pytest.mark.parametrize("status", UNKNOWN)
def test_where_expand_is_not_known_the_commit_is_asked_without(
    listed: Callable[..., Manifest], manager: Manager, sha: str, status: int
) -> None:
    manager.refuse("api", status, parameter="expand")
    manifest = listed()
    assert manifest.revision == sha
    assert sizes(manifest) == RIGHT
    assert routes(manager) == ["GET api", "GET api", "GET tree"]


def test_of_a_commit_in_full_only_the_tree_is_asked(
    listed: Callable[..., Manifest], manager: Manager, sha: str
) -> None:
    assert sizes(listed(f"hf://org/model@{sha}")) == RIGHT
    assert routes(manager) == ["GET tree"]


@pytest.mark.parametrize("status", UNKNOWN)
def test_where_there_is_no_tree_the_siblings_are_as_good(
    listed: Callable[..., Manifest], manager: Manager, status: int
) -> None:
    right = proofs(listed())
    manager.log.clear()
    manager.refuse("tree", status)
    manifest = listed()
    assert proofs(manifest) == right
    assert sizes(manifest) == RIGHT
    assert routes(manager) == ["GET api", "GET tree", "GET api"]


@pytest.mark.parametrize("knows_blobs", [True, False])
def test_where_siblings_are_names_the_heads_of_the_files_tell_the_rest(
    listed: Callable[..., Manifest], manager: Manager, *, knows_blobs: bool
) -> None:
    right = proofs(listed())
    manager.refuse("tree", 404)
    if knows_blobs:
        manager.edit("api", names_only)
    else:
        manager.refuse("api", 400, parameter="blobs")
    manifest = listed()
    assert proofs(manifest) == right
    assert sizes(manifest) == RIGHT
    # The empty one must be seen to be empty: the manager does not say that this length is the Hub's.
    # A range of nothing is refused, so that it is asked for whole.
    asked = routes(manager)[-len(FILES) - 2 :]
    assert sorted(asked) == ["GET resolve"] * 2 + ["HEAD resolve"] * len(FILES)


def names_only(info: dict[str, Any]) -> None:
    info["siblings"] = [{"rfilename": item["rfilename"]} for item in info.get("siblings", [])]


def unlinked(_: Request, reply: Reply) -> Reply:
    """Take away what only the Hub says of a file."""
    for name in [name for name in reply.headers if name.startswith("X-Linked")]:
        del reply.headers[name]
    return reply


def test_a_sibling_that_leads_elsewhere_is_refused_and_asked_for_nowhere(
    listed: Callable[..., Manifest], manager: Manager
) -> None:
    manager.refuse("tree", 404)
    manager.edit("api", lambda info: info.update(siblings=[{"rfilename": "a/../../../secret"}]))
    with pytest.raises(ConfigurationError, match=r"'a/\.\./\.\./\.\./secret'"):
        listed()
    assert manager.log.records(method="HEAD") == []


@pytest.mark.parametrize("head", ["as it is", "405", "of nothing", "503"])
def test_a_manager_that_serves_nothing_but_files_is_enough(manager: Manager, tmp_path: Path, head: str) -> None:
    manager.refuse("tree", 404)
    manager.edit("api", names_only)
    manager.change(unlinked)
    if head in ("405", "503"):
        manager.refuse("resolve", int(head), method="HEAD")
    if head == "of nothing":
        manager.change(lambda request, reply: Reply("resolve") if request.method == "HEAD" else reply)
    downloaded(manager, tmp_path)


def test_digests_that_managers_name_in_a_head_are_checked(manager: Manager, tmp_path: Path) -> None:
    def named(_: Request, reply: Reply) -> Reply:
        if reply.route == "resolve" and reply.status == 302:
            reply = Reply("resolve", 200, {"X-Checksum-Sha256": "ab" * 32}, WEIGHTS)
        return reply

    manager.refuse("tree", 404)
    manager.edit("api", names_only)
    manager.change(unlinked)
    manager.change(named)
    result = run("download", "hf://org/model", tmp_path, extra={"HF_ENDPOINT": manager.endpoint})
    assert result.status == 65, result.stderr
    assert "sub/model.safetensors" not in model(tmp_path)


def test_an_entity_tag_that_is_another_digest_of_a_file_proves_nothing_and_does_no_harm(
    manager: Manager, tmp_path: Path
) -> None:
    def tagged(_: Request, reply: Reply) -> Reply:
        if reply.route == "resolve" and reply.status == 200:
            reply.headers["ETag"] = f'"{"a" * 40}"'
        return reply

    manager.refuse("tree", 404)
    manager.edit("api", names_only)
    manager.change(unlinked)
    manager.change(tagged)
    downloaded(manager, tmp_path)


WORDS: dict[str, Callable[[dict[str, Any]], object]] = {
    "sha256: before the digest": lambda entry: entry["lfs"].update(oid=f"sha256:{entry['lfs']['oid']}"),
    "capitals": lambda entry: entry["lfs"].update(oid=entry["lfs"]["oid"].upper()),
    "no pointerSize": lambda entry: entry["lfs"].pop("pointerSize"),
    "sha256 in the place of oid": lambda entry: entry["lfs"].update(sha256=entry["lfs"].pop("oid")),
    "no size but that of LFS": lambda entry: entry.pop("size"),
    "the size of the pointer beside that of LFS": lambda entry: entry.update(size=entry["lfs"]["pointerSize"]),
}


@pytest.mark.parametrize("words", WORDS)
def test_a_tree_may_be_worded_with(listed: Callable[..., Manifest], manager: Manager, words: str) -> None:
    right = listed()

    def edit(entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            if "lfs" in entry:
                WORDS[words](entry)

    manager.edit("tree", edit)
    assert listed() == right


@pytest.mark.parametrize("link", ["of the origin", "/api/models/org/model/tree/main?{}", "?{}"])
def test_the_pages_of_a_tree_are_asked_of_the_manager(
    hub: Hub, listed: Callable[..., Manifest], manager: Manager, link: str
) -> None:
    def relative(_: Request, reply: Reply) -> Reply:
        if "Link" in reply.headers and link != "of the origin":
            query = reply.headers["Link"].partition("?")[2].partition(">")[0]
            reply.headers["Link"] = f'<{link.format(query)}>; rel="next"'
        return reply

    hub.page_size = 2
    manager.change(relative)
    assert sizes(listed()) == RIGHT
    assert routes(manager).count("GET tree") == 3
    assert hub.log.records() == []


@pytest.mark.parametrize("page", [50, 100])
def test_a_tree_whose_links_got_lost_is_completed_from_the_siblings(hub: Hub, plain_web: HttpClient, page: int) -> None:
    files = {f"part-{number:03}.bin": b"%d" % number for number in range(103)}
    hub.create("org/model").commit(files)
    hub.page_size = page

    def unlinked_pages(_: Request, reply: Reply) -> Reply:
        reply.headers.pop("Link", None)
        return reply

    with Manager(hub) as manager:
        manager.change(unlinked_pages)
        manifest = HubSource("hf://org/model", plain_web, endpoint=manager.endpoint, token="").manifest()
    assert sizes(manifest) == {path: len(content) for path, content in files.items()}
    assert all(file.digests for file in manifest.files)


def test_pages_of_a_tree_that_overlap_name_each_file_once(listed: Callable[..., Manifest], manager: Manager) -> None:
    manager.edit("tree", lambda entries: entries.extend(entries[-2:]))
    assert sizes(listed()) == RIGHT
    manager.refuse("tree", 404)
    manager.edit("api", lambda info: info["siblings"].extend(info["siblings"][:2]) if "siblings" in info else None)
    assert sizes(listed()) == RIGHT


def test_a_missing_file_is_reported_with_its_host_and_its_path_once(
    listed: Callable[..., Manifest], manager: Manager
) -> None:
    with pytest.raises(SourceNotFound) as caught:
        listed("hf://org/model/nothing.json")
    host = manager.endpoint.partition("//")[2].partition("/")[0]
    assert caught.value.message == f"{host} has no files at 'nothing.json' in hf://org/model"


def test_pages_of_a_tree_that_contradict_each_other_are_refused(
    listed: Callable[..., Manifest], manager: Manager
) -> None:
    def contradict(entries: list[dict[str, Any]]) -> None:
        plain = next(entry for entry in entries if entry["type"] == "file" and "lfs" not in entry)
        entries.append({**plain, "size": 7})

    manager.edit("tree", contradict)
    with pytest.raises(ProtocolFailed, match="twice, and not the same of it"):
        listed()


def test_a_tree_that_goes_on_with_itself_has_no_end(listed: Callable[..., Manifest], manager: Manager) -> None:
    def next_is_this(request: Request, reply: Reply) -> Reply:
        if reply.route == "tree":
            reply.headers["Link"] = f'<{request.target}>; rel="next"'
        return reply

    manager.change(next_is_this)
    with pytest.raises(ProtocolFailed, match="no end to it"):
        listed()
    assert routes(manager).count("GET tree") <= 3


@pytest.mark.parametrize("described", [True, False])
def test_a_tree_that_names_folders_and_not_what_is_in_them_is_not_taken_for_whole(
    listed: Callable[..., Manifest], manager: Manager, *, described: bool
) -> None:
    def only_the_top(entries: list[dict[str, Any]]) -> None:
        entries[:] = [entry for entry in entries if "/" not in entry["path"]]

    manager.edit("tree", only_the_top)
    if described:
        assert sizes(listed()) == RIGHT
        return
    manager.edit("api", lambda info: info.pop("siblings", None))
    with pytest.raises(ProtocolFailed, match="lists the folder 'sub' but nothing in it"):
        listed()


@pytest.mark.parametrize("size", [-1, 10**18, 1 << 64, True, "5", None])
def test_a_size_that_no_file_has_is_refused(listed: Callable[..., Manifest], manager: Manager, size: object) -> None:
    def edit(entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            entry["size"] = size
            entry.get("lfs", {}).update(size=size)

    manager.edit("tree", edit)
    with pytest.raises(ProtocolFailed, match="does not tell the size of"):
        listed()


CUT: dict[str, Callable[[bytes], bytes]] = {
    "in the middle": lambda body: body[: len(body) // 2],
    "before its last byte": lambda body: body[:-1],
    "behind an entry": lambda body: body[: body.index(b"}") + 1] + b",",
    "before its first byte": lambda _: b"",
}


@pytest.mark.parametrize("route", ["api", "tree"])
@pytest.mark.parametrize("cut", CUT)
def test_an_answer_that_was_cut_is_a_passing_error(
    listed: Callable[..., Manifest], manager: Manager, route: str, cut: str
) -> None:
    def spoil(reply: Reply) -> Reply:
        assert isinstance(reply.content, bytes)
        reply.content = CUT[cut](reply.content)
        return reply

    manager.change(lambda _, reply: spoil(reply) if reply.route == route else reply)
    with pytest.raises(SourceUnavailable, match="ends in the middle"):
        listed()


def test_a_tree_that_names_nothing_is_completed_from_the_siblings(
    listed: Callable[..., Manifest], manager: Manager
) -> None:
    manager.edit("tree", lambda entries: entries.clear())
    assert sizes(listed()) == RIGHT


@pytest.mark.parametrize("said", [{}, {"error": "later"}, None, "none", 7])
def test_a_page_that_is_no_list_is_not_an_empty_one(
    listed: Callable[..., Manifest], manager: Manager, said: object
) -> None:
    body = json.dumps(said).encode()
    manager.change(lambda _, reply: replace(reply, content=body) if reply.route == "tree" else reply)
    with pytest.raises(ProtocolFailed, match="does not list files"):
        listed()


NOTHING: dict[str, Callable[[dict[str, Any]], object]] = {
    "the names of its files": lambda info: info.pop("siblings", None),
    "another commit": lambda info: info.update(sha="c" * 40),
}


@pytest.mark.parametrize("lacking", NOTHING)
def test_a_manager_that_tells_too_little_is_named(
    listed: Callable[..., Manifest], manager: Manager, sha: str, lacking: str
) -> None:
    manager.refuse("tree", 404)
    manager.edit("api", NOTHING[lacking])
    with pytest.raises(ProtocolFailed) as caught:
        listed(f"hf://org/model@{sha}")
    assert f"{manager.endpoint}/api/models/org/model/tree/{sha} answered HTTP 404" in str(caught.value)


def test_what_the_hub_itself_says_is_not_asked_in_another_way(hub: Hub, plain_web: HttpClient, sha: str) -> None:
    for uri, kind in (
        ("hf://org/none", SourceNotFound),
        ("hf://org/model@none", SourceNotFound),
        (f"hf://org/model@{'d' * 40}", SourceNotFound),
        ("hf://org/model/none", SourceNotFound),
        ("hf://org/gated/config.json", AccessDenied),
    ):
        hub.create("org/gated", gated=True).commit({"config.json": b"{}"})
        with pytest.raises(DownloadError) as caught:
            HubSource(uri, plain_web, endpoint=hub.endpoint, token="").manifest()
        assert type(caught.value) is kind, (uri, caught.value)
    assert len(hub.log.records("api", path="*/org/none*")) == 1
    assert sha


SINGLE = {
    "sub/model.safetensors": ["GET api", "HEAD resolve"],
    "sub/deep/a b.txt": ["GET api", "HEAD resolve"],
    "LICENSE": ["GET api", "GET tree", "HEAD resolve"],
}


@pytest.mark.parametrize("path", SINGLE)
def test_one_file_of_a_large_repository_costs_a_request_and_not_its_tree(
    hub: Hub, plain_web: HttpClient, path: str
) -> None:
    contents: dict[str, bytes | Noise | None] = {f"other/{number}.txt": b"x" for number in range(50)}
    hub.create("org/huge").commit({**contents, **FILES, "LICENSE": b"free"})
    hub.page_size = 10
    manifest = HubSource(f"hf://org/huge/{path}", plain_web, endpoint=hub.endpoint, token="").manifest()
    assert [file.path for file in manifest.files] == [path]
    assert [f"{record.request.method} {record.route}" for record in hub.log.records()] == SINGLE[path]
    whole = HubSource("hf://org/huge", plain_web, endpoint=hub.endpoint, token="").manifest()
    assert manifest.files[0] in whole.files
    pinned = HubSource(f"hf://org/huge@{whole.revision}/{path}", plain_web, endpoint=hub.endpoint, token="")
    hub.log.clear()
    assert pinned.manifest().files == manifest.files
    assert [f"{record.request.method} {record.route}" for record in hub.log.records()] == SINGLE[path][1:]


@pytest.mark.parametrize("folder", ["sub", "sub/deep", "v1.0"])
def test_a_folder_costs_its_own_tree(hub: Hub, plain_web: HttpClient, folder: str) -> None:
    contents: dict[str, bytes | Noise | None] = {f"other/{number}.txt": b"x" for number in range(50)}
    files = {**FILES, "v1.0/a.txt": b"a", "sub2/no.txt": b"b"}
    hub.create("org/huge").commit({**contents, **files})
    hub.page_size = 10
    manifest = HubSource(f"hf://org/huge/{folder}", plain_web, endpoint=hub.endpoint, token="").manifest()
    assert [file.path for file in manifest.files] == sorted(path for path in files if path.startswith(folder + "/"))
    assert [record.request.path for record in hub.log.records("tree")] == [
        f"/api/models/org/huge/tree/{manifest.revision}/{folder}"
    ]


@pytest.mark.parametrize("path", ["config.json", "sub/deep/a b.txt", "sub/model.safetensors"])
def test_a_single_file_whose_head_tells_too_little_is_looked_up_in_its_folder(
    listed: Callable[..., Manifest], manager: Manager, path: str
) -> None:
    manager.change(unlinked)
    manifest = listed(f"hf://org/model/{path}")
    assert sizes(manifest) == {path: RIGHT[path]}
    assert {digest.algorithm for digest in manifest.files[0].digests} <= {Algorithm.SHA256, Algorithm.GIT_SHA1}
    manager.refuse("tree", 404)
    manager.edit("api", names_only)
    assert sizes(listed(f"hf://org/model/{path}")) == {path: RIGHT[path]}
    assert len(manager.log.records("resolve", method="HEAD")) <= 5


def test_a_head_that_fails_does_not_decide_alone(hub: Hub, plain_web: HttpClient, sha: str) -> None:
    hub.faults.add(Answer(500, {}, b""), route="resolve", method="HEAD", times=FOREVER)
    manifest = HubSource("hf://org/model/config.json", plain_web, endpoint=hub.endpoint, token="").manifest()
    assert sizes(manifest) == {"config.json": 2}
    assert manifest.revision == sha


def test_a_login_in_the_address_is_sent_with_every_request_and_shown_nowhere(
    hub: Hub, sha: str, tmp_path: Path
) -> None:
    assert sha
    with Manager(hub, login="Basic a2V5OnNlc2FtZS1nYXRl") as manager:
        endpoint = manager.endpoint.replace("://", "://key:sesame-gate@")
        extra = {"HF_ENDPOINT": endpoint, "HF_TOKEN": "hf_notForTheManager", "AIM_LOG_LEVEL": "debug"}
        result = run("download", "hf://org/model", tmp_path, extra=extra)
        assert result.status == 0, result.stderr
        assert model(tmp_path) == FILES
        assert manager.log.records("login") == []
        assert "HF_ENDPOINT has a login in it, which is sent in place of the token" in result.stderr
        assert "sesame" not in result.stderr
        assert "a2V5" not in result.stderr
        wrong = run("size", "hf://org/model", extra={"HF_ENDPOINT": endpoint.replace("-gate", "-hatch")})
    assert wrong.status == 77, wrong.stderr
    assert "hatch" not in wrong.stderr


def test_storage_is_only_a_matter_of_the_hub(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit({"a.bin": b"abc"}, storage=Storage.LFS)
    with Manager(hub, prefix="") as manager:
        result = run("download", "hf://org/model", tmp_path, extra={"HF_ENDPOINT": manager.endpoint})
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"a.bin": b"abc"}
