"""The benchmarks' own machinery: what is compared, what is told, and what is told of those that fail."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.bench import Files, write_checksums
from tests.benchmarks.cases import CASES
from tests.benchmarks.measure import Case, Tool, compare, sha256
from tests.benchmarks.peers import OURS
from tests.benchmarks.results import ratios, table
from tests.benchmarks.targets import TARGETS, Target, targets_table
from tests.benchmarks.verified import verified

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"weights"


def sleeper(_: Path) -> list[str]:
    """Return a command that does not end by itself for a while."""
    return ["sleep", "30"]


def writer(name: str, content: bytes = CONTENT, *, status: int = 0, missing: str = "") -> Tool:
    """Return a tool that writes one file and ends with a status."""
    script = (
        "import sys, pathlib; pathlib.Path(sys.argv[1], 'a.bin').write_bytes(bytes.fromhex(sys.argv[2])); sys.exit("
    )
    return Tool(
        name,
        lambda target: [sys.executable, "-c", f"{script}{status})", str(target), content.hex()],
        missing=missing,
    )


def case(tmp_path: Path, *tools: Tool) -> Case:
    (tmp_path / "a.bin").write_bytes(CONTENT)
    return Case({"a.bin": sha256(tmp_path / "a.bin")}, tools)


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_every_target_belongs_to_a_case(target: Target) -> None:
    assert target.case in CASES


def test_every_tool_runs_once_more_than_is_counted(tmp_path: Path) -> None:
    said: list[str] = []
    scores = compare(case(tmp_path, writer(OURS), writer("peer")), tmp_path, 2, said.append, served=tmp_path)
    assert [len(score.runs) for score in scores.values()] == [2, 2]
    assert [line.split(":")[0].strip() for line in said] == ["warm-up"] * 2 + ["round 1"] * 2 + ["round 2"] * 2


@pytest.mark.parametrize(
    ("peer", "reason"),
    [
        (writer("peer", b"other"), "other bytes"),
        (writer("peer", status=3), "status 3"),
        (replace(writer("peer", content=CONTENT), command=sleeper, timeout=0.2), "more than"),
        (writer("peer", missing="the package peer could not be installed"), "could not be installed"),
    ],
    ids=["other bytes", "failed", "too slow", "missing"],
)
def test_a_peer_without_a_result_is_named_with_the_reason(tmp_path: Path, peer: Tool, reason: str) -> None:
    compared = case(tmp_path, writer(OURS), peer)
    scores = compare(compared, tmp_path, 1, lambda _: None, served=tmp_path)
    files = Files("folder", compared.files, len(CONTENT))
    assert reason in next(line for line in table(files, scores).splitlines() if line.startswith("| peer "))
    assert "wall / peer" not in ratios(files, scores)


@pytest.mark.parametrize("content", [CONTENT, b"other"])
def test_a_peer_that_is_verified_fails_for_other_bytes(tmp_path: Path, content: bytes) -> None:
    write_checksums(tmp_path / "SHA256SUMS", {"a.bin": hashlib.sha256(CONTENT).hexdigest()})
    (tmp_path / "target").mkdir()
    command = verified(writer("peer", content), tmp_path / "SHA256SUMS").command(tmp_path / "target")

    assert (subprocess.run(command, check=False, capture_output=True).returncode == 0) == (content == CONTENT)


def test_what_a_tool_wrote_is_gone_afterwards(tmp_path: Path) -> None:
    compare(case(tmp_path, writer(OURS)), tmp_path, 1, lambda _: None, served=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_a_verdict_says_yes_no_or_not_measured() -> None:
    first, second = TARGETS[0], TARGETS[2]
    values = {first.case: {first.value: first.limit / 2}, second.case: {second.value: second.limit * 2}}
    words = [line.split(" | ")[-1].strip(" |*") for line in targets_table(values).splitlines()[2:]]
    assert (words[0], words[2], words[4]) == ("yes", "no", "-")
