"""Runs that end before they begin: the status shows that, and nothing that an earlier pod left there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from downloader.errors import Category
from tests.command import PEOPLE, run
from tests.contract.operator_log import BOTH_STATES, filed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Watched
    from tests.servers.hub import Hub

LEFT = {
    "progress": {
        "totalBytes": 9,
        "downloadedBytes": 9,
        "percentage": 100,
        "displayPercentage": "100 %",
        "message": "the volume has not answered for 5 min",
    },
    "download": {
        "protocol": "HTTP",
        "attempt": 2,
        "totalAttempts": 2,
        "protocolSequence": "XET,HTTP",
        "message": "verifying",
    },
}
"""What a pod left that failed its verification on a volume that did not answer."""
PROGRESS = {"totalBytes": 9, "downloadedBytes": 0, "percentage": 0, "displayPercentage": "0 %"}

EARLY_ENDS = {
    "a malformed variable": (["hf://org/model"], {"STALL_TIMEOUT": "soon", "HF_TOKEN": "hf_ä"}, 78, "STALL_TIMEOUT"),
    "half a set of keys": (["s3://bucket/model"], {"AWS_ACCESS_KEY_ID": "key"}, 78, "AWS_SECRET_ACCESS_KEY"),
    "an unknown scheme": (["gopher://bucket/model"], {}, 64, "gopher"),
    "no source at all": ([], {}, 64, "--help"),
    "an unknown option": (["hf://org/model", "--fast"], {}, 64, "--fast"),
}


@pytest.mark.parametrize("how", EARLY_ENDS)
def test_nothing_of_an_earlier_pod_stays_in_the_status_after(how: str, watched: Watched, tmp_path: Path) -> None:
    arguments, broken, status, word = EARLY_ENDS[how]
    watched.api.write_status("models", "llama", LEFT)
    extra = {**watched.environment, "TARGET_DIR": str(tmp_path / "t"), **broken}
    result = run("download", *arguments, extra=extra)
    assert result.status == status, result.stderr
    assert watched.status["progress"] == PROGRESS
    assert list(watched.status["download"]) == ["message"]
    assert word in watched.status["download"]["message"]
    assert watched.status["download"]["message"] in result.last_line
    assert [filed(result.stderr, newest=newest) for newest in BOTH_STATES] == [Category.OTHER] * 2


INCOMPLETE = """
import sys
from importlib.abc import MetaPathFinder
class Missing(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "{name}":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
"""
"""An installation in which one module is missing."""


@pytest.mark.parametrize("name", ["click", "downloader.cli.download", "botocore"])
def test_an_installation_that_lacks_something_says_so_in_the_status_and_in_one_line(
    name: str, watched: Watched, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(INCOMPLETE.format(name=name))
    watched.api.write_status("models", "llama", LEFT)
    extra = {**watched.environment, "PYTHONPATH": str(tmp_path), "AWS_REGION": "us-east-1"}
    result = run("download", "s3://bucket/model", tmp_path / "t", extra=extra)
    assert result.status == 70, result.stderr
    assert f"this installation is not complete: {name} cannot be loaded" in result.last_line
    assert "Traceback" not in result.stderr
    assert watched.status["progress"]["percentage"] == 0
    assert "message" not in watched.status["progress"]
    assert name in watched.status["download"]["message"]


def test_an_installation_that_lacks_even_what_reports_it_ends_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(INCOMPLETE.format(name="downloader.errors"))
    result = run("download", "hf://org/model", extra={"PYTHONPATH": str(tmp_path)})
    assert result.status == 70
    assert result.stderr == "failed: this installation is not complete: downloader.errors cannot be loaded\n"


@pytest.mark.parametrize("command", ["size", "check-size", "verify", "adapter-stage"])
def test_commands_that_only_read_leave_the_status_alone(command: str, watched: Watched) -> None:
    watched.api.write_status("models", "llama", LEFT)
    result = run(command, "hf://org/model", extra={**watched.environment, "STALL_TIMEOUT": "soon"})
    assert result.status in (64, 78), result.stderr
    assert watched.status["progress"] == LEFT["progress"]
    assert not watched.api.exchanges


def test_the_entry_point_of_kserve_resets_the_status_too(watched: Watched, tmp_path: Path) -> None:
    watched.api.write_status("models", "llama", LEFT)
    result = run("kserve", "hf://org/model", tmp_path / "t", "hf://org/other", extra=watched.environment)
    assert result.status == 64, result.stderr
    assert watched.status["progress"] == PROGRESS


def test_an_api_server_that_is_away_delays_the_end_by_a_few_seconds_only(watched: Watched) -> None:
    watched.api.hang()
    result = run("download", "gopher://bucket/model", extra=watched.environment)
    assert result.status == 64, result.stderr
    assert "gopher" in result.last_line


def test_what_only_the_operator_needs_is_said_to_the_operator_alone(hub: Hub, tmp_path: Path) -> None:
    def last_line(extra: dict[str, str]) -> str:
        result = run("download", "hf://org/nothing", tmp_path / "t", extra={"HF_ENDPOINT": hub.endpoint, **extra})
        assert result.status == 66, result.stderr
        return result.last_line

    assert last_line({}).startswith("source not found (404): ")
    assert last_line(PEOPLE).startswith("failed: ")


@pytest.mark.parametrize(("command", "opening"), [("size", "failed: "), ("check-size", "source not found (404): ")])
def test_the_entry_point_of_the_size_job_speaks_to_the_operator(command: str, opening: str, hub: Hub) -> None:
    result = run(command, "hf://org/nothing", extra={"HF_ENDPOINT": hub.endpoint, **PEOPLE})
    assert result.status == 66, result.stderr
    assert result.last_line.startswith(opening)


def test_people_read_no_broken_words(tmp_path: Path) -> None:
    where = tmp_path / "model-not-found" / "disk-full"
    for extra, broken in ((PEOPLE, False), ({}, True)):
        result = run("verify", where, extra=extra)
        assert ("·" in result.stderr) is broken, result.stderr
