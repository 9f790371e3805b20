"""`--report FILE` of the installed command: what a run did, however it ended, as its JSON schema says."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from tests.command import Result, finish, model, run, start
from tests.e2e.canaries import ALL, ENDINGS, SECRETS, SIGNATURE, TOKEN, Mine
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Answer, Cut, Stall
from tests.servers.s3 import fill_bucket
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.servers.broken import BrokenWeb
    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server

MIB = 1 << 20
FILES = {"config.json": b"{}", "model.safetensors": Noise(9 * MIB, seed=71).bytes()}
SIZE = sum(map(len, FILES.values()))
SCHEMA = json.loads(Path("docs/schemas/report-1.json").read_text())


def read(path: Path) -> dict[str, Any]:
    """Return a report, which must be as the schema says."""
    found: dict[str, Any] = json.loads(path.read_text())
    jsonschema.validate(found, SCHEMA)
    return found


def reported(folder: Path, *arguments: str | Path, extra: dict[str, str]) -> tuple[Result, dict[str, Any]]:
    """Run a download with a report; nothing else may stay beside it."""
    result = run("download", *arguments, "--report", folder / "report.json", extra=extra)
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["report.json"]
    return result, read(folder / "report.json")


def test_a_success_is_reported_with_every_digest_and_what_proved_it(hub: Hub, tmp_path: Path) -> None:
    commit = hub.create("org/model").commit(FILES)
    result, report = reported(tmp_path, "hf://org/model", tmp_path / "t", extra={"HF_ENDPOINT": hub.endpoint})
    assert result.status == 0, result.stderr
    assert report["source"] == {"uri": "hf://org/model", "revision": commit}
    assert report["target"] == f"{tmp_path}/t"
    assert report["outcome"] == {"success": True, "exit_status": 0, "error": None, "message": None, "hint": None}
    assert {file["path"]: file for file in report["files"]} == {
        path: {
            "path": path,
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "verified_by": "git-sha1" if path == "config.json" else "sha256",
            "state": "fetched",
            "place": None,
        }
        for path, data in FILES.items()
    }
    assert report["bytes"]["total"] == report["bytes"]["on_volume"] == SIZE
    assert report["bytes"]["reused"] == 0
    assert report["bytes"]["by_protocol"]["XET"]["received"] == report["bytes"]["received"] >= SIZE
    assert [(attempt["protocol"], attempt["result"], attempt["files_left"]) for attempt in report["attempts"]] == [
        ("XET", "complete", 0)
    ]
    assert {"listing", "downloading", "verifying"} <= report["phases"].keys()
    assert sum(report["phases"].values()) <= report["seconds"] + 1
    assert report["started"] <= report["ended"]
    assert report["memory"]["peak_bytes"] > MIB
    assert report["memory"]["peak_bytes_of_children"] > MIB
    assert {"artifact-downloader", "python", "hf-xet"} <= report["versions"].keys()


def test_a_rerun_reports_what_it_reused(stocked: Hub, tmp_path: Path) -> None:
    extra = {"HF_ENDPOINT": stocked.endpoint}
    assert run("download", "hf://org/model", tmp_path / "t", extra=extra).status == 0
    _, whole = reported(tmp_path, "hf://org/model", tmp_path / "t", extra=extra)
    assert [file["state"] for file in whole["files"]] == ["reused", "reused"]
    assert whole["bytes"]["reused"] == SIZE
    assert whole["bytes"]["received"] == 0
    assert whole["attempts"] == []

    (tmp_path / "t/config.json").unlink()
    _, half = reported(tmp_path, "hf://org/model", tmp_path / "t", extra=extra)
    assert {file["path"]: file["state"] for file in half["files"]} == {
        "config.json": "fetched",
        "model.safetensors": "reused",
    }
    assert half["bytes"]["reused"] == SIZE - 2


def test_a_fallback_is_reported_with_both_attempts_and_the_reason(stocked: Hub, tmp_path: Path) -> None:
    stocked.faults.add(Answer(500), route="token", times=FOREVER)
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "XET,HTTP", "STALL_TIMEOUT": "3"}
    result, report = reported(tmp_path, "hf://org/model", tmp_path / "t", extra=extra)
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == FILES
    first, second = report["attempts"]
    assert (first["protocol"], first["number"], first["result"], first["files_left"]) == ("XET", 1, "incomplete", 2)
    assert first["error"]
    assert first["reason"] in result.stderr
    assert (second["protocol"], second["number"], second["result"], second["error"]) == ("HTTP", 2, "complete", None)
    assert report["bytes"]["by_protocol"]["HTTP"]["received"] == SIZE


def test_a_failure_is_reported_with_its_class_and_the_files_that_are_missing(stocked: Hub, tmp_path: Path) -> None:
    stocked.faults.add(Cut(after=MIB), route="cdn")
    stocked.faults.add(Stall(after=0), route="cdn", times=FOREVER)
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HTTP", "STALL_TIMEOUT": "2"}
    result, report = reported(tmp_path, "hf://org/model", tmp_path / "t", extra=extra)
    assert result.status == 75, result.stderr
    assert report["outcome"].items() >= {"success": False, "exit_status": 75, "error": "Stalled"}.items()
    assert report["outcome"]["message"] in result.last_line
    states = {file["path"]: (file["state"], file["sha256"]) for file in report["files"]}
    assert states["model.safetensors"] == ("missing", None)
    assert states["config.json"][0] == "fetched"
    (attempt,) = report["attempts"]
    assert (attempt["result"], attempt["files_left"], attempt["error"]) == ("incomplete", 1, "Stalled")
    assert report["bytes"]["received"] >= MIB


def test_a_run_that_sigterm_ends_is_reported(stocked: Hub, tmp_path: Path) -> None:
    stocked.faults.add(Stall(after=MIB), route="cdn", times=FOREVER)
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HTTP", "STALL_TIMEOUT": "600"}
    process = start("download", "hf://org/model", tmp_path / "t", "--report", tmp_path / "r.json", extra=extra)
    assert eventually(lambda: stocked.log.sent("cdn") > MIB // 2)
    process.send_signal(signal.SIGTERM)
    result = finish(process)
    assert result.status == 143, result.stderr
    report = read(tmp_path / "r.json")
    assert report["outcome"].items() >= {"exit_status": 143, "error": "Cancelled"}.items()
    assert report["outcome"]["hint"] == "run the same command again to resume"
    assert [attempt["result"] for attempt in report["attempts"]] == ["incomplete"]
    assert result.last_line.startswith("failed: ended by SIGTERM")


EARLY: dict[str, tuple[list[str], dict[str, str], int, str | None]] = {
    "a bad variable": (["hf://org/model"], {"AIM_BANDWIDTH": "fast"}, 78, "hf://org/model"),
    "a bad URI": (["ftp://host/x"], {}, 64, None),
    "a bad option": (["hf://org/model", "--no-such-option"], {}, 64, None),
    "no URI": ([], {}, 64, None),
}


@pytest.mark.parametrize("how", EARLY)
@pytest.mark.parametrize("by", ["option", "option with =", "variable"])
def test_what_fails_before_the_run_is_reported_too(how: str, by: str, tmp_path: Path) -> None:
    arguments, extra, status, uri = EARLY[how]
    path = tmp_path / "r.json"
    told = {"option": ["--report", str(path)], "option with =": [f"--report={path}"], "variable": []}[by]
    variable = {"AIM_REPORT": str(path)} if by == "variable" else {}
    result = run("download", *arguments, *told, extra={"TARGET_DIR": str(tmp_path / "t"), **extra, **variable})
    assert result.status == status, result.stderr
    report = read(path)
    assert report["outcome"]["exit_status"] == status
    assert report["source"]["uri"] == uri
    assert report["files"] == []


def test_other_commands_leave_the_report_alone(stocked: Hub, tmp_path: Path) -> None:
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_REPORT": str(tmp_path / "r.json")}
    assert run("size", "hf://org/model", extra=extra).status == 0
    assert run("size", "hf://org/nothing", extra=extra).status == 66
    assert run("verify", tmp_path, extra=extra).status == 65
    assert list(tmp_path.iterdir()) == []


UNWRITABLE = {
    "a folder that is missing": "nothing/r.json",
    "a folder": "folder",
    "a file of another kind": "notes.json",
}


@pytest.mark.parametrize("how", UNWRITABLE)
@pytest.mark.parametrize("log", ["text", "json"])
def test_a_report_that_cannot_be_written_is_a_warning_and_no_failure(
    how: str, log: str, stocked: Hub, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.json").write_text("mine")
    path = tmp_path / UNWRITABLE[how]
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_LOG_FORMAT": log}
    result = run("download", "hf://org/model", tmp_path / "t", "--report", path, extra=extra)
    assert result.status == 0, result.stderr
    (warning,) = (line for line in result.stderr.splitlines() if "was not written" in line)
    assert str(path) in warning
    assert "done after" in result.stderr
    assert (tmp_path / "notes.json").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "notes.json", "t"]


def test_a_report_of_an_earlier_run_is_replaced_through_a_symlink(stocked: Hub, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "r.json").symlink_to("real/r.json")
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_REPORT": str(tmp_path / "r.json")}
    assert run("download", "hf://org/nothing", tmp_path / "t", extra=extra).status == 66
    assert read(tmp_path / "real/r.json")["outcome"]["exit_status"] == 66
    assert run("download", "hf://org/model", tmp_path / "t", extra=extra).status == 0
    assert read(tmp_path / "real/r.json")["outcome"]["exit_status"] == 0
    assert (tmp_path / "r.json").is_symlink()


def test_resumed_bytes_count_as_reused(stocked: Hub, tmp_path: Path) -> None:
    stocked.faults.add(Stall(after=6 * MIB), route="cdn", times=FOREVER)
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HTTP", "STALL_TIMEOUT": "2"}
    process = start("download", "hf://org/model", tmp_path / "t", extra={**extra, "STALL_TIMEOUT": "600"})
    assert eventually(lambda: stocked.log.sent("cdn") > 5 * MIB)
    process.send_signal(signal.SIGTERM)
    assert finish(process).status == 143
    stocked.faults.clear()
    result, report = reported(tmp_path, "hf://org/model", tmp_path / "t", extra=extra)
    assert result.status == 0, result.stderr
    assert report["bytes"]["reused"] + report["bytes"]["received"] == SIZE
    assert report["bytes"]["reused"] > MIB


def test_objects_of_s3_are_reported_as_well(s3: S3Server, tmp_path: Path) -> None:
    fill_bucket(s3.client(), "reports", {f"m/{path}": data for path, data in FILES.items()})
    result, report = reported(tmp_path, "s3://reports/m", tmp_path / "t", extra=s3.environment())
    assert result.status == 0, result.stderr
    assert report["source"] == {"uri": "s3://reports/m", "revision": None}
    assert {file["path"] for file in report["files"]} == set(FILES)


def test_kserve_and_a_cache_of_the_hub_leave_a_report_too(stocked: Hub, tmp_path: Path) -> None:
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_REPORT": str(tmp_path / "r.json")}
    assert run("kserve", "hf://org/model", tmp_path / "t", extra=extra).status == 0
    assert [file["state"] for file in read(tmp_path / "r.json")["files"]] == ["fetched", "fetched"]
    assert run("kserve", "hf://org/nothing", tmp_path / "t", extra=extra).status == 66
    assert read(tmp_path / "r.json")["outcome"]["error"] == "SourceNotFound"
    result = run("download", "hf://org/model", "--hub-cache", tmp_path / "c", extra=extra)
    assert result.status == 0, result.stderr
    assert {file["path"] for file in read(tmp_path / "r.json")["files"]} == set(FILES)


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_secret_is_in_a_report(ending: str, stocked: Hub, mine: Mine) -> None:
    _, leaks = mine.download(stocked, ending, {"AIM_REPORT": str(mine.folder / "r.json")})
    assert read(mine.folder / "r.json")["files"]
    assert leaks == []


def test_a_server_that_repeats_the_token_does_not_get_it_into_the_report(stocked: Hub, mine: Mine) -> None:
    said = json.dumps({"error": f"the token {TOKEN} has no access"}).encode()
    refusal = Answer(403, {"Content-Type": "application/json", "X-Error-Message": f"{TOKEN} has no access"}, said)
    stocked.faults.add(refusal, route="*", times=FOREVER)
    extra = {
        **SECRETS,
        "HF_ENDPOINT": stocked.endpoint,
        "AIM_REPORT": str(mine.folder / "r.json"),
        "AIM_METRICS_FILE": str(mine.folder / "m.prom"),
    }
    result, processes = mine.run("hf://org/model", extra)
    assert result.status != 0
    assert "*** has no access" in read(mine.folder / "r.json")["outcome"]["message"]
    assert mine.leaks(result, processes, ALL) == []


def test_the_uri_of_a_report_has_no_login_and_no_signature(own_web: BrokenWeb, mine: Mine) -> None:
    own_web.put("model.bin", FILES["model.safetensors"])
    signed = own_web.url("model.bin").replace("://", "://alice:canary-bearer-of-the-web-7731@")
    extra = {**SECRETS, "AIM_REPORT": str(mine.folder / "r.json")}
    result, processes = mine.run(f"{signed}?X-Amz-Signature={SIGNATURE}", extra)
    report = read(mine.folder / "r.json")
    assert report["source"]["uri"].endswith("/model.bin")
    assert "canary" not in json.dumps(report)
    assert [leak for leak in mine.leaks(result, (), ALL) if "r.json" in leak] == []
    del processes


def test_a_minus_is_not_taken_for_the_name_of_a_file(tmp_path: Path) -> None:
    result = run("download", "hf://org/model", tmp_path, "--report", "-")

    assert result.status == 64
    assert "'-' is not the name of a file" in result.last_line
