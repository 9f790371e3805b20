"""Mirrors of an origin that cannot be asked: with proof from elsewhere, or as the origin fails (docs/mirrors.md)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from tests.command import PEOPLE, Result, model, run
from tests.e2e.test_artifact_digest import DIGEST, FILES, digest_of
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Answer, Silence, Trickle
from tests.servers.hub import Hub
from tests.servers.published import checksums
from tests.servers.repository import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.servers.broken import BrokenWeb

OTHERS = {path: data[::-1] + b"!" * (data == data[::-1]) for path, data in FILES.items()}
MARK = ".artifact.sha256"
TOKEN = "hf_of_the_origin_alone"
SOON = {"STALL_TIMEOUT": "6", "HF_TOKEN": TOKEN, **PEOPLE}


@pytest.fixture
def commit(hub: Hub) -> str:
    """The commit of the origin."""
    hub.tokens[TOKEN] = "carol"
    return hub.create("org/model").commit(FILES)


def put(server: BrokenWeb, files: Mapping[str, bytes], listed: Mapping[str, bytes] | None, comment: str = "") -> str:
    """Put files on a web server with a list; return the URI of their folder."""
    folder = hashlib.sha256(repr((files, listed, comment)).encode()).hexdigest()[:8]
    for path, data in files.items():
        server.put(f"{folder}/{path}", data)
    if listed is not None:
        server.put(f"{folder}/{MARK}", comment.encode() + checksums(listed))
    return server.url(f"{folder}/")


def gate(hub: Hub) -> None:
    hub.repositories[Kind.MODEL, "org/model"].gated = True
    hub.faults.add(Answer(403, {"X-Error-Code": "GatedRepo"}), route="*", times=FOREVER)


def down(hub: Hub) -> None:
    hub.server.refuse()


def missing(hub: Hub) -> None:
    del hub.repositories[Kind.MODEL, "org/model"]


def silent(hub: Hub) -> None:
    hub.faults.add(Silence(), route="*", times=FOREVER)


ORIGINS: dict[str, Callable[[Hub], None]] = {"down": down, "gated": gate, "gone": missing, "silent": silent}
STATUS = {"down": 69, "gated": 77, "gone": 66, "silent": 75}


def download(hub: Hub, target: Path, *options: str | Path, uri: str = "hf://org/model") -> Result:
    return run("download", uri, target, *options, extra={"HF_ENDPOINT": hub.endpoint, **SOON})


def published(folder: Path) -> set[str]:
    """Return the paths that a reader of the folder sees; a run that fails may leave what it has begun to fetch."""
    return {path for path in model(folder) if not path.startswith(".downloading/")}


@pytest.mark.parametrize("how", ORIGINS)
def test_without_proof_a_run_fails_as_its_origin_and_says_what_would_help(
    hub: Hub, commit: str, near: BrokenWeb, tmp_path: Path, how: str
) -> None:
    ORIGINS[how](hub)
    mirror = put(near, FILES, FILES, f"# revision: {commit}\n")
    result = download(hub, tmp_path, "--mirror", mirror)
    assert result.status == STATUS[how], result.stderr
    assert "--expect-digest or --expect-list, or a commit in the URI and --trust-mirror" in result.last_line
    pinned = download(hub, tmp_path, "--mirror", mirror, uri=f"hf://org/model@{commit}")
    assert pinned.status == STATUS[how], pinned.stderr
    assert "--expect-list, or --trust-mirror (docs/mirrors.md)" in pinned.last_line
    assert not (tmp_path / MARK).exists()
    assert not near.log.records(), "a mirror that proves nothing is not asked"


@pytest.mark.parametrize("how", ORIGINS)
def test_the_expected_digest_is_proof(hub: Hub, commit: str, near: BrokenWeb, tmp_path: Path, how: str) -> None:
    del commit
    ORIGINS[how](hub)
    liar = put(near, OTHERS, FILES)
    other = put(near, OTHERS, OTHERS)
    right = put(near, FILES, FILES)
    mirrors = [option for mirror in (other, liar, right) for option in ("--mirror", mirror)]
    result = download(hub, tmp_path, *mirrors, "--expect-digest", DIGEST)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == FILES
    assert f"mirror {other} lists another artifact" in result.stderr
    assert f"mirror {liar} is wrong" in result.stderr
    assert TOKEN not in str([record.request.headers for record in near.log.records()])
    again = download(hub, tmp_path, *mirrors, "--expect-digest", DIGEST)
    assert again.status == 0, again.stderr
    assert "attempt 1 of" not in again.stderr
    poisoned = download(hub, tmp_path / "t", "--mirror", other, "--expect-digest", DIGEST)
    assert poisoned.status == STATUS[how], poisoned.stderr
    assert "no mirror has what is expected" in poisoned.last_line


def test_places_whose_listings_trickle_cost_the_stall_timeout_each(
    hub: Hub, commit: str, near: BrokenWeb, tmp_path: Path
) -> None:
    del commit
    hub.faults.add(Trickle(rate=40), route="tree", times=FOREVER)
    slow, right = put(near, OTHERS, FILES), put(near, FILES, FILES)
    near.faults.add(Trickle(rate=4), path=f"/{slow.rsplit('/', 2)[1]}/*", times=FOREVER)
    mirrors = ("--mirror", slow, "--mirror", right)
    result = download(hub, tmp_path, *mirrors, "--expect-digest", DIGEST)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == FILES
    assert result.stderr.count("of the listing for 6 s") == 2, "each is given up once"


def test_two_mirrors_that_agree_on_wrong_bytes_prove_nothing(
    hub: Hub, commit: str, near: BrokenWeb, own_web: BrokenWeb, tmp_path: Path
) -> None:
    del commit
    down(hub)
    liars = [put(server, OTHERS, FILES) for server in (near, own_web)]
    mirrors = [option for mirror in liars for option in ("--mirror", mirror)]
    result = download(hub, tmp_path, *mirrors, "--expect-digest", DIGEST)
    assert result.status == 65, result.stderr
    assert not (tmp_path / MARK).exists()
    assert not published(tmp_path)


def test_the_expected_list_is_proof_and_mirrors_may_be_halves_without_lists(
    hub: Hub, commit: str, near: BrokenWeb, tmp_path: Path
) -> None:
    del commit
    down(hub)
    signed = tmp_path / "list"
    signed.write_bytes(checksums(FILES))
    names = sorted(FILES)
    halves = [put(near, {path: FILES[path] for path in some}, None) for some in (names[:2], names[1:])]
    wrong_size = put(near, {**FILES, "config.json": b"{ }"}, {**FILES, "config.json": b"{ }"})
    mirrors = [option for mirror in (wrong_size, *halves) for option in ("--mirror", mirror)]
    result = download(hub, tmp_path / "t", *mirrors, "--expect-list", signed)
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == FILES
    assert " at hf://org/model" not in result.stderr, "what has not listed the files is not asked for them"
    with Hub() as copy:
        copy.create("org/model").commit({"more.json": b"more", **FILES})
        mirror = f"hf+{copy.endpoint}/org/model"
        result = download(hub, tmp_path / "u", "--mirror", mirror, "--expect-list", signed)
    assert result.status == 0, result.stderr
    assert model(tmp_path / "u") == FILES


def test_a_trusted_mirror_is_believed_about_a_commit_alone(
    hub: Hub, commit: str, near: BrokenWeb, tmp_path: Path
) -> None:
    down(hub)
    mirror = put(near, FILES, FILES, f"# source: hf://org/model\n# revision: {commit}\n")
    old = put(near, OTHERS, OTHERS, f"# revision: {'0' * 40}\n")
    options = ("--mirror", old, "--mirror", mirror, "--trust-mirror")
    branch = download(hub, tmp_path, *options)
    assert branch.status == 69, branch.stderr
    result = download(hub, tmp_path, *options, uri=f"hf://org/model@{commit}")
    assert result.status == 0, result.stderr
    assert model(tmp_path) == FILES
    assert f"# revision: {commit}" in (tmp_path / MARK).read_text()
    only_old = download(hub, tmp_path / "t", "--mirror", old, "--trust-mirror", uri=f"hf://org/model@{commit}")
    assert only_old.status == 69, only_old.stderr
    looks_right = put(near, OTHERS, OTHERS, f"# revision: {commit}\n")
    options = ("--mirror", looks_right, "--trust-mirror", "--expect-digest", DIGEST)
    both = download(hub, tmp_path / "t", *options, uri=f"hf://org/model@{commit}")
    assert both.status == 69, both.stderr
    hub.server.accept()
    later = download(hub, tmp_path)
    assert later.status == 0, later.stderr
    assert "attempt 1 of" not in later.stderr, "the origin recognizes its files"


def test_another_hub_is_trusted_about_a_commit(hub: Hub, commit: str, tmp_path: Path) -> None:
    down(hub)
    with Hub() as copy:
        assert copy.create("org/model").commit(FILES) == commit
        mirror = f"hf+{copy.endpoint}/org/model@{commit}"
        uri = f"hf://org/model@{commit}"
        result = download(hub, tmp_path, "--mirror", mirror, "--trust-mirror", uri=uri)
        assert result.status == 0, result.stderr
        assert TOKEN not in {record.request.bearer for record in copy.log.records()}
    assert model(tmp_path) == FILES


def test_the_list_of_the_last_run_repairs_a_volume(hub: Hub, commit: str, near: BrokenWeb, tmp_path: Path) -> None:
    assert download(hub, tmp_path).status == 0
    down(hub)
    (tmp_path / "config.json").unlink()
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    mirror = put(near, {"model.safetensors": FILES["model.safetensors"], "config.json": OTHERS["config.json"]}, None)
    half = download(hub, tmp_path, "--mirror", mirror)
    assert half.status != 0
    right = put(near, FILES, OTHERS)
    result = download(hub, tmp_path, "--mirror", right, "--expect-digest", digest_of(OTHERS))
    assert result.status != 0, "what is expected counts more than what the last run has left"
    near.log.clear()
    result = download(hub, tmp_path, "--mirror", right)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == FILES
    assert f"at revision {commit}" in result.stderr
    assert near.log.records(path="*tokenizer.json", method="GET") == [], "what is right is not fetched"
    near.server.refuse()
    assert download(hub, tmp_path, "--mirror", right).status == 0


def test_a_forged_list_on_the_volume_is_no_proof(hub: Hub, commit: str, near: BrokenWeb, tmp_path: Path) -> None:
    down(hub)
    comment = f"# source: hf://org/model\n# revision: {commit}\n"
    (tmp_path / MARK).write_bytes(comment.encode() + checksums(OTHERS))
    mirror = put(near, OTHERS, OTHERS, comment)
    result = download(hub, tmp_path, "--mirror", mirror)
    assert result.status == 69, result.stderr
    assert not published(tmp_path)


def test_a_branch_that_moved_behind_the_listing_is_proved_by_the_listing(
    hub: Hub, near: BrokenWeb, tmp_path: Path
) -> None:
    large = {"a.safetensors": Noise(1 << 20, seed=173).bytes(), "b.safetensors": Noise(1 << 20, seed=174).bytes()}
    moved = {**large, "b.safetensors": Noise(1 << 20, seed=175).bytes()}
    hub.tokens[TOKEN] = "carol"
    hub.create("org/model").commit(large)
    mirror = put(near, moved, moved, "# revision: main\n")
    result = download(hub, tmp_path, "--mirror", mirror, "--mirror-first")
    assert result.status == 0, result.stderr
    assert model(tmp_path) == large


def test_a_cache_of_the_hub_needs_its_origin(hub: Hub, commit: str, near: BrokenWeb, tmp_path: Path) -> None:
    del commit
    down(hub)
    mirror = put(near, FILES, FILES)
    extra = {"HF_ENDPOINT": hub.endpoint, **SOON}
    options = ("--hub-cache", tmp_path, "--mirror", mirror, "--expect-digest", DIGEST)
    assert run("download", "hf://org/model", *options, extra=extra).status == 69
