"""Several processes that fill one volume together from several places (docs/mirrors.md)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.command import TIMEOUT, Result, finish, member_logs, model, run, start
from tests.e2e.test_shards import FILES, MIB, SIZE, received
from tests.servers.blobs import Noise
from tests.servers.broken import BrokenWeb
from tests.servers.faults import FOREVER, Answer, Exchange, Flip, Held, IgnoreRange
from tests.servers.hub import Hub
from tests.servers.s3 import fill_bucket
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.servers.s3 import S3Server

POISON = {path: Noise(len(data), seed=200 + seed).bytes() for seed, (path, data) in enumerate(FILES.items())}
TELLING = {"PYTHONFAULTHANDLER": "1"}
"""A process that is aborted says where each of its threads was."""
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
    own = {"HF_ENDPOINT": origin.endpoint, "AIM_LEASE_TTL": "3", "AIM_MIRRORS": mirrors, **TELLING, **more}
    return [start("download", "hf://org/model", target, "--shard", f"{n}/3", extra=own) for n in range(3)]


def all_right(runs: list[subprocess.Popen[str]], target: Path, files: Mapping[str, bytes] = FILES) -> list[Result]:
    end = time.monotonic() + TIMEOUT
    results = [_told(each, max(1.0, end - time.monotonic())) for each in runs]
    assert [result.status for result in results] == [0] * len(runs), "\n".join(result.stderr for result in results)
    assert model(target) == files
    assert not (target / ".downloading").exists()
    return results


def _told(process: subprocess.Popen[str], seconds: float) -> Result:
    """Return how a process ended; one that hangs says where."""
    try:
        stdout, stderr = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        stdout, stderr = process.communicate(timeout=TIMEOUT)
    return Result(process.returncode, stdout, stderr)


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
    places = {file["path"]: file["place"] for file in json.loads(report.read_bytes())["files"]}
    assert set(places.values()) == {near.url("m/"), "hf://org/model"}, places
    assert all(place == "hf://org/model" for path, place in places.items() if path not in half)


def test_the_report_of_each_process_says_where_the_files_of_all_came_from(
    origin: Hub, near: BrokenWeb, tmp_path: Path
) -> None:
    half = {path: data for path, data in FILES.items() if path == LARGE}
    own = {"HF_ENDPOINT": origin.endpoint, "AIM_MIRRORS": f"{put(near, half)},origin"}
    own |= {"AIM_CONNECTIONS": "1", **TELLING}
    held = Held()
    near.faults.add(held, path=f"*/{LARGE}", times=FOREVER)  # so that the one that leads cannot fetch all
    reports = [tmp_path / f"{number}.json" for number in range(3)]
    target = tmp_path / "m"
    runs = [
        start("download", "hf://org/model", target, "--shard", f"{number}/3", "--report", report, extra=own)
        for number, report in enumerate(reports)
    ]
    assert eventually(lambda: any('"verified"' in log.read_text() for log in member_logs(target)))
    held.go_on.set()
    all_right(runs, target)
    for report in reports:
        places = {file["path"]: file["place"] for file in json.loads(report.read_bytes())["files"]}
        assert set(places.values()) <= {near.url("m/"), "hf://org/model", None}
        fetched = {file["path"] for file in json.loads(report.read_bytes())["files"] if file["state"] == "fetched"}
        assert all(places[path] for path in fetched), "what a process has fetched itself"
    shown = [{file["place"] for file in json.loads(report.read_bytes())["files"]} for report in reports]
    assert any(None not in places for places in shown), "the one that has led knows of all"


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


TWO = {"a.bin": Noise(40 * MIB, seed=301).bytes(), "b.bin": Noise(40 * MIB, seed=302).bytes()}


@dataclass(frozen=True, slots=True)
class Refusal(Answer):
    """A refusal that comes when the test lets it."""

    go_on: threading.Event = field(default_factory=threading.Event)

    def prepare(self, exchange: Exchange) -> None:
        while not self.go_on.is_set():
            exchange.hang(0.01)
        Answer.prepare(self, exchange)


@pytest.fixture
def far() -> Iterator[BrokenWeb]:
    """Another web server near by."""
    with BrokenWeb() as server:
        yield server


def wait_for_claims(target: Path, files: int) -> None:
    """Return once so many files have a process that hashes them."""
    assert eventually(lambda: len(list(target.glob(".downloading/shards.*/claims/hash.*"))) == files)


@pytest.mark.parametrize("behind", ["the origin", "a mirror that lacks it"])
def test_members_with_different_mirrors_do_not_wait_for_each_other(
    hub: Hub, near: BrokenWeb, far: BrokenWeb, tmp_path: Path, behind: str
) -> None:
    """Each has claimed a file that its mirror then refuses, and the place that it asks next has only the other file.

    Neither gives up its claim, as it will ask the origin; so neither may wait for the other before that.
    """
    hub.create("org/model").commit(TWO)
    refusal = Refusal(403)
    runs, target = [], tmp_path / "m"
    for number, (server, refused, other) in enumerate([(near, "a.bin", "b.bin"), (far, "b.bin", "a.bin")]):
        mirrors = put(server, TWO)
        server.faults.add(refusal, path=f"*/{refused}", times=FOREVER)
        if behind != "the origin":
            folder = tmp_path / f"has {other}"
            folder.mkdir()
            (folder / other).write_bytes(TWO[other])
            mirrors += f",{folder.as_uri()}"
        own = {"HF_ENDPOINT": hub.endpoint, "AIM_MIRRORS": f"{mirrors},origin", "AIM_CONNECTIONS": "1"}
        own |= {"AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER,RANGES", **TELLING}
        runs.append(start("download", "hf://org/model", target, "--shard", f"{number}/2", extra=own))
        wait_for_claims(target, number + 1)
    refusal.go_on.set()
    all_right(runs, target, TWO)


def test_after_a_kill_the_others_go_on_from_every_place(origin: Hub, near: BrokenWeb, tmp_path: Path) -> None:
    held = Held()
    near.faults.add(held, path=f"*/{LARGE}", offset=40 * MIB, times=FOREVER)
    runs = shards(origin, tmp_path, f"{put(near, FILES)},origin")
    assert eventually(lambda: len(member_logs(tmp_path)) == len(runs))
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


@pytest.fixture
def copy() -> Iterator[Hub]:
    """Another Hub, with the same model."""
    with Hub() as server:
        server.create("org/model").commit(FILES)
        yield server


def in_a_bucket(s3: S3Server, files: Mapping[str, bytes], tmp_path: Path) -> tuple[str, dict[str, str]]:
    """Put files into a bucket that is reached by a profile; return its URI and the environment."""
    fill_bucket(s3.client(), tmp_path.name.replace("_", "-")[:40], {f"m/{path}": data for path, data in files.items()})
    keys, config = s3.account, tmp_path / "aws"
    config.write_text(
        f"[profile near]\naws_access_key_id = {keys.access_key_id}\naws_secret_access_key = {keys.secret_access_key}\n"
        f"region = us-east-1\nendpoint_url = {s3.endpoint}\n"
    )
    return f"s3://{tmp_path.name.replace('_', '-')[:40]}/m?profile=near", {"AWS_CONFIG_FILE": str(config)}


@pytest.mark.parametrize("protocol", ["XET", "HF_TRANSFER"])
def test_another_hub_serves_each_byte_once_and_the_origin_none(
    origin: Hub, copy: Hub, tmp_path: Path, protocol: str
) -> None:
    place = f"hf+{copy.endpoint}/org/model"
    results = all_right(shards(origin, tmp_path, f"{place},origin", AIM_DOWNLOADER_PROTOCOL=protocol), tmp_path)
    assert bodies(origin) == 0
    assert sum(map(received, results)) <= 1.02 * SIZE / MIB + 1
    assert bool(copy.log.sent("xorb")) is (protocol == "XET")


def test_a_bucket_serves_each_byte_once_and_the_origin_none(origin: Hub, s3: S3Server, tmp_path: Path) -> None:
    place, environment = in_a_bucket(s3, FILES, tmp_path)
    target = tmp_path / "m"
    results = all_right(shards(origin, target, f"{place},origin", **environment), target)
    assert bodies(origin) == 0
    assert sum(map(received, results)) <= 1.02 * SIZE / MIB + 1


def test_what_a_bucket_lacks_comes_from_the_origin_over_xet(origin: Hub, s3: S3Server, tmp_path: Path) -> None:
    lacking = "model-00002-of-00003.safetensors"
    place, environment = in_a_bucket(s3, {path: data for path, data in FILES.items() if path != lacking}, tmp_path)
    target = tmp_path / "m"
    all_right(shards(origin, target, f"{place},origin", AIM_DOWNLOADER_PROTOCOL="XET,S3", **environment), target)
    assert origin.log.sent("xorb") >= len(FILES[lacking])
    assert bodies(origin) <= len(FILES[lacking]) + 20 * MIB, "a piece whose claim came late may come from the origin"


def test_another_hub_whose_bytes_are_wrong_over_xet_cannot_win(origin: Hub, copy: Hub, tmp_path: Path) -> None:
    copy.faults.add(Flip(), route="xorb", offset=MIB, times=FOREVER)
    place = f"hf+{copy.endpoint}/org/model"
    all_right(shards(origin, tmp_path, f"{place},origin", AIM_DOWNLOADER_PROTOCOL="XET"), tmp_path)
    assert bodies(origin) > 0
