"""`download --dry-run`: the plan is what the download then does, and nothing is changed by asking for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.command import PEOPLE, content, finish, run, start
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Held
from tests.servers.published import in_a_bucket, in_a_web_folder, on_the_hub
from tests.servers.repository import Kind
from tests.servers.s3 import new_bucket
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.command import Result
    from tests.e2e.conftest import Watched
    from tests.servers.certificates import Authority
    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server
    from tests.servers.web import WebServer

MIB = 1 << 20
FILES = {
    "config.json": b"{}",
    "model.safetensors": Noise(30 * MIB, seed=15).bytes(),
    "sub/tokenizer.json": b"[1]" * 500,
}
SIZE = sum(map(len, FILES.values()))
OTHERS = {"config.json": b"[]", "other.bin": b"o" * 100}


@pytest.fixture
def stocked(hub: Hub) -> dict[str, str]:
    hub.create("org/other").commit(OTHERS)
    return {**on_the_hub(hub, FILES).extra, **PEOPLE, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER"}


def metadata(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return what any change of the folder would change."""
    looked = {str(path): path.lstat() for path in (folder, *sorted(folder.rglob("*")))}
    return {path: (found.st_ino, found.st_mtime_ns, found.st_ctime_ns) for path, found in looked.items()}


def dry_run(uri: str, target: Path, *options: str, extra: dict[str, str], status: int = 0) -> dict[str, Any]:
    """Return the plan, which has not changed the target."""
    before = metadata(target) if target.exists() else None
    result = run("download", uri, target, "--dry-run", "--json", *options, extra=extra)
    assert result.status == status, result.stderr
    assert (metadata(target) if target.exists() else None) == before
    plan: dict[str, Any] = json.loads(result.stdout)
    assert plan["wouldStart"] is (status == 0)
    assert [problem["exitStatus"] for problem in plan["problems"]][:1] == [status][: bool(status)]
    return plan


def states(plan: dict[str, Any]) -> dict[str, str]:
    return {file["path"]: file["state"] for file in plan["files"]}


@pytest.mark.parametrize("scheme", ["hf", "s3", "https"])
def test_the_plan_for_a_target_that_is_not_there_makes_nothing(  # noqa: PLR0917
    scheme: str, hub: Hub, s3: S3Server, web: WebServer, web_root: Path, authority: Authority, tmp_path: Path
) -> None:
    if scheme == "hf":
        place = on_the_hub(hub, FILES)
    elif scheme == "s3":
        place = in_a_bucket(s3, new_bucket(s3.client()), FILES)
    else:
        place = in_a_web_folder(web, web_root / "dry-run", FILES, str(authority.bundle))
    plan = dry_run(place.uri, tmp_path / "deep" / "target", extra={**place.extra})
    assert not (tmp_path / "deep").exists()
    assert dict.fromkeys(FILES, "missing").items() <= states(plan).items()
    assert plan["protocols"]
    assert plan["space"]["free"] > plan["space"]["needed"] >= SIZE
    if scheme != "https":
        assert plan["fetch"] == plan["size"] == SIZE


def test_the_plan_in_words_names_all_that_counts(stocked: dict[str, str], tmp_path: Path) -> None:
    result = run("download", "hf://org/model", tmp_path / "t", "--dry-run", extra=stocked)
    assert result.status == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "the download would start"
    for words in ("fetch    2 bytes  config.json", "by HF_TRANSFER", "free", "completion mark: .artifact.sha256"):
        assert words in result.stdout
    assert not (tmp_path / "t").exists()


def test_the_plan_says_how_each_file_would_be_proved_and_the_download_does_that(
    hub: Hub, stocked: dict[str, str], tmp_path: Path
) -> None:
    target = tmp_path / "t"
    assert run("download", "hf://org/model", target, extra=stocked).status == 0
    plan = dry_run("hf://org/model", target, extra=stocked)
    assert plan["complete"]
    assert set(states(plan).values()) == {"verified"}
    assert {file["verifiedBy"] for file in plan["files"]} == {"sha256", "git-sha1"}
    os.utime(target / "model.safetensors")
    (target / "sub/tokenizer.json").unlink()
    plan = dry_run("hf://org/model", target, extra=stocked)
    assert states(plan) == {
        "config.json": "verified",
        "model.safetensors": "unverified",
        "sub/tokenizer.json": "missing",
    }
    assert plan["fetch"] == 1500
    hub.log.clear()
    assert run("download", "hf://org/model", target, extra=stocked).status == 0
    assert hub.log.sent("cdn") == 0  # the large file was hashed, and the small one comes from the Hub itself
    assert dry_run("hf://org/model", target, extra=stocked)["complete"]


def test_a_living_run_is_named_and_the_bytes_of_a_dead_one_are_counted(
    hub: Hub, stocked: dict[str, str], tmp_path: Path
) -> None:
    target = tmp_path / "t"
    hub.faults.add(Held(), route="cdn", offset=26 * MIB, times=FOREVER)
    process = start(
        "download", "hf://org/model", target, extra={**stocked, "STALL_TIMEOUT": "600", "AIM_LEASE_TTL": "3"}
    )
    try:
        assert eventually(lambda: hub.log.sent("cdn") > 20 * MIB)
        assert eventually((target / ".downloading/lease.1").exists)
        held = run("download", "hf://org/model", target, "--dry-run", extra=stocked)
        assert held.status == 75, held.stderr
        assert f"process {process.pid} on " in held.last_line
        assert "hf://org/model" in held.last_line
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        finish(process)
    plan = dry_run("hf://org/model", target, extra=stocked)
    (file,) = (file for file in plan["files"] if file["path"] == "model.safetensors")
    assert file["state"] == "partial"
    assert 0 < file["present"] < 30 * MIB
    assert file["fetch"] == 30 * MIB - file["present"]


def test_another_artifact_in_the_way_is_found(stocked: dict[str, str], tmp_path: Path) -> None:
    target = tmp_path / "t"
    assert run("download", "hf://org/model", target, extra=stocked).status == 0
    refused = dry_run("hf://org/other", target, extra=stocked, status=74)
    assert "--replace" in refused["problems"][0]["hint"]
    allowed = dry_run("hf://org/other", target, "--replace", extra=stocked)
    assert {file["path"]: file["replaces"] for file in allowed["files"]} == {
        "config.json": "other artifact",
        "other.bin": None,
    }


def test_a_file_of_another_artifact_that_is_the_same_is_not_in_the_way(
    hub: Hub, stocked: dict[str, str], tmp_path: Path
) -> None:
    hub.create("org/tuned").commit({**FILES, "model.safetensors": FILES["model.safetensors"][::-1]})
    target = tmp_path / "t"
    assert run("download", "hf://org/model", target, extra=stocked).status == 0
    refused = dry_run("hf://org/tuned", target, extra=stocked, status=74)
    assert "would replace 1 file of it: model.safetensors" in refused["problems"][0]["message"]
    assert states(refused) == {
        "config.json": "verified",
        "model.safetensors": "missing",  # its record says that it is another file, so nothing is hashed
        "sub/tokenizer.json": "verified",
    }
    assert run("download", "hf://org/tuned", target, extra=stocked).status == 74
    dry_run("hf://org/tuned", target, "--exclude", "*.safetensors", extra=stocked)


def test_what_would_be_pruned_and_replaced_is_named(hub: Hub, stocked: dict[str, str], tmp_path: Path) -> None:
    target = tmp_path / "t"
    assert run("download", "hf://org/model", target, extra=stocked).status == 0
    (target / "new.txt").write_text("mine")
    hub.repositories[Kind.MODEL, "org/model"].commit(
        {"sub/tokenizer.json": None, "config.json": b'{"new": 1}', "new.txt": b"new"}
    )
    kept, pruned = (dry_run("hf://org/model", target, *options, extra=stocked) for options in ([], ["--prune"]))
    assert kept["older"] == pruned["older"] == ["sub/tokenizer.json"]
    assert (kept["prune"], pruned["prune"]) == (False, True)
    assert {file["path"]: file["replaces"] for file in kept["files"] if file["replaces"]} == {
        "config.json": "older",
        "new.txt": "other program",
    }
    assert run("download", "hf://org/model", target, "--prune", extra=stocked).status == 0
    assert "sub/tokenizer.json" not in content(target)


def test_the_status_and_the_volume_of_a_job_are_left_alone(
    watched: Watched, stocked: dict[str, str], tmp_path: Path
) -> None:
    extra = {**stocked, **watched.environment}
    for uri, status in (("hf://org/model", 0), ("hf://org/nothing", 66)):
        result = run("download", uri, tmp_path / "t", "--dry-run", extra=extra)
        assert result.status == status, result.stderr
    assert run("download", "hf://org/model", "--dry-run", "--fast", extra=extra).status == 64
    assert not watched.api.exchanges
    assert not (tmp_path / "t").exists()


def test_a_plan_leaves_no_report_also_where_it_fails(stocked: dict[str, str], tmp_path: Path) -> None:
    report, metrics = tmp_path / "report.json", tmp_path / "run.prom"
    options = ["--dry-run", "--report", str(report), "--metrics-file", str(metrics)]
    for more, status in ([], 0), (["--include", "*.none"], 66), (["--connections", "x"], 64):
        result = run("download", "hf://org/model", tmp_path / "t", *options, *more, extra=stocked)
        assert result.status == status, result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_plan_in_json_needs_a_dry_run(tmp_path: Path) -> None:
    result: Result = run("download", "hf://org/model", tmp_path / "t", "--json")
    assert result.status == 64
    assert "--dry-run" in result.last_line


def test_a_target_below_a_file_is_found(stocked: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    result = run("download", "hf://org/model", tmp_path / "file" / "t", "--dry-run", extra=stocked)
    assert result.status == 74, result.stderr
    assert str(tmp_path / "file") in result.last_line


@pytest.mark.root
@pytest.mark.parametrize(("options", "status", "words"), [("size=8m", 73, "free"), ("ro", 74, "read-only")])
def test_a_volume_that_is_too_small_or_read_only_is_found(
    stocked: dict[str, str], tmp_path: Path, *, options: str, status: int, words: str
) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(tmp_path)], check=True)
    try:
        for target in (tmp_path, tmp_path / "new"):
            plan = dry_run("hf://org/model", target, extra=stocked, status=status)
            assert words in str(plan["problems"][0])
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.root
def test_a_complete_artifact_on_a_read_only_volume_needs_no_right(stocked: dict[str, str], tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "none", str(tmp_path)], check=True)
    try:
        assert run("download", "hf://org/model", tmp_path, extra=stocked).status == 0
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
        assert dry_run("hf://org/model", tmp_path, extra=stocked)["complete"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
