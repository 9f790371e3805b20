"""Several processes that fill one volume together from several places (docs/mirrors.md)."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.command import finish, model, run, start
from tests.e2e.test_shards import FILES, MIB, SIZE, received
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Answer, Held, IgnoreRange
from tests.waiting import eventually

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from pathlib import Path

    from tests.command import Result
    from tests.servers.broken import BrokenWeb
    from tests.servers.hub import Hub

POISON = {path: Noise(len(data), seed=200 + seed).bytes() for seed, (path, data) in enumerate(FILES.items())}
LARGE = max(FILES, key=lambda path: len(FILES[path]))


@pytest.fixture
def origin(hub: Hub) -> Hub:
    hub.create("org/model").commit(FILES)
    return hub


def put(server: BrokenWeb, files: Mapping[str, bytes]) -> str:
    for path, data in files.items():
        server.put(f"m/{path}", data)
    return server.url("m/")


def shards(origin: Hub, target: Path, mirrors: str, **more: str) -> list[subprocess.Popen[str]]:
    own = {"HF_ENDPOINT": origin.endpoint, "AIM_LEASE_TTL": "3", "AIM_MIRRORS": mirrors, **more}
    return [start("download", "hf://org/model", target, "--shard", f"{n}/3", extra=own) for n in range(3)]


def all_right(runs: list[subprocess.Popen[str]], target: Path) -> list[Result]:
    results = [finish(each) for each in runs]
    assert [result.status for result in results] == [0] * len(runs), "\n".join(result.stderr for result in results)
    assert model(target) == FILES
    assert not (target / ".downloading").exists()
    return results


def bodies(origin: Hub) -> int:
    """Return the bytes of files that the origin has sent."""
    return sum(origin.log.sent(route) for route in ("cdn", "xorb", "resolve"))


def test_a_near_mirror_serves_each_byte_once_and_the_origin_none(origin: Hub, near: BrokenWeb, tmp_path: Path) -> None:
    results = all_right(shards(origin, tmp_path, f"{put(near, FILES)},origin"), tmp_path)
    assert bodies(origin) == 0
    assert sum(map(received, results)) <= 1.02 * SIZE / MIB + 1


def test_a_poisoned_mirror_costs_each_file_once_at_most_and_cannot_win(
    origin: Hub, near: BrokenWeb, tmp_path: Path
) -> None:
    place = put(near, POISON)
    results = all_right(shards(origin, tmp_path, f"{place},origin"), tmp_path)
    assert any(f"mirror {place} is wrong: " in result.stderr for result in results)
    assert bodies(origin) >= SIZE
    assert near.log.sent() <= SIZE + 8 * MIB, "what one process found wrong, no other asks for again"


def test_one_run_with_several_processes_takes_from_a_half_mirror_what_it_has(
    origin: Hub, near: BrokenWeb, tmp_path: Path
) -> None:
    half = {path: data for path, data in FILES.items() if path == LARGE or path.endswith("7.json")}
    report = tmp_path / "report.json"
    own = {"HF_ENDPOINT": origin.endpoint, "AIM_MIRRORS": f"{put(near, half)},origin"}
    options = ("--processes", "3", "--report", report)
    result = run("download", "hf://org/model", tmp_path / "m", *options, extra=own)
    assert result.status == 0, result.stderr
    assert model(tmp_path / "m") == FILES
    rest = sum(len(data) for path, data in FILES.items() if path not in half)
    assert bodies(origin) <= rest + 20 * MIB, "a piece whose claim came late may come from the origin"
    places = {file["place"] for file in json.loads(report.read_bytes())["files"]}
    assert places <= {near.url("m/"), "hf://org/model", None}


def test_a_mirror_that_ignores_ranges_sends_each_file_to_one_process(
    origin: Hub, near: BrokenWeb, tmp_path: Path
) -> None:
    near.faults.add(IgnoreRange(), times=FOREVER)
    all_right(shards(origin, tmp_path, f"{put(near, FILES)},origin"), tmp_path)


def test_members_that_a_mirror_refuses_different_files_do_not_wait_for_each_other(
    origin: Hub, near: BrokenWeb, tmp_path: Path
) -> None:
    near.faults.add(Answer(403), path="*.json", times=FOREVER)
    near.faults.add(Answer(403), path="*2-of*", times=FOREVER)
    own = {"AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER,RANGES,HTTP", "STALL_TIMEOUT": "60"}
    all_right(shards(origin, tmp_path, f"{put(near, FILES)},origin", **own), tmp_path)


def test_after_a_kill_the_others_go_on_from_every_place(origin: Hub, near: BrokenWeb, tmp_path: Path) -> None:
    held = Held()
    near.faults.add(held, path=f"*/{LARGE}", offset=40 * MIB, times=FOREVER)
    runs = shards(origin, tmp_path, f"{put(near, FILES)},origin")
    assert eventually(lambda: len(list(tmp_path.glob(".downloading/shards.*/members/*.log"))) == len(runs))
    os.killpg(runs[0].pid, signal.SIGKILL)
    held.go_on.set()
    finish(runs[0])
    all_right(runs[1:], tmp_path)


def test_without_the_origin_one_process_works_and_needs_the_same_proof(
    origin: Hub, near: BrokenWeb, tmp_path: Path
) -> None:
    signed = tmp_path / "list"
    listed = run("download", "hf://org/model", tmp_path / "m", extra={"HF_ENDPOINT": origin.endpoint})
    assert listed.status == 0, listed.stderr
    signed.write_bytes((tmp_path / "m/.artifact.sha256").read_bytes())
    origin.server.refuse()
    own = {"STALL_TIMEOUT": "6"}
    denied = [finish(each) for each in shards(origin, tmp_path / "u", put(near, FILES), **own)]
    assert {result.status for result in denied} == {69}
    near.log.clear()
    mirrors = f"{near.url('a/')},{put(near, FILES)}"
    near.put(f"a/{LARGE}", FILES[LARGE])
    near.faults.add(Answer(404), path=f"/m/{LARGE}", times=FOREVER)  # no place has all
    all_right(shards(origin, tmp_path / "t", mirrors, AIM_EXPECTED_LIST=str(signed), **own), tmp_path / "t")
    assert near.log.sent() <= SIZE + 8 * MIB
