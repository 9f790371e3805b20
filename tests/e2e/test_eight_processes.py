"""Eight processes on one artifact, of one run or of eight pods, over each kind of source, with and without kills."""

from __future__ import annotations

import os
import random
import re
import signal
from typing import TYPE_CHECKING

import pytest

from tests.command import comes_to, finish, member_logs, model, start
from tests.e2e.test_shards import helpers_of, received
from tests.servers.blobs import Noise
from tests.servers.published import in_a_bucket, in_a_web_folder, on_the_hub

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.servers.certificates import Authority
    from tests.servers.hub import Hub
    from tests.servers.published import Place
    from tests.servers.s3 import S3Server
    from tests.servers.web import WebServer

MIB = 1 << 20
FILES = {
    "config.json": b"{}",
    "model-00001-of-00003.safetensors": Noise(90 * MIB + 3, seed=321).bytes(),
    "model-00002-of-00003.safetensors": Noise(40 * MIB, seed=322).bytes(),
    "model-00003-of-00003.safetensors": Noise(14 * MIB + 17, seed=323).bytes(),
    **{f"small/{number}.json": b"[%d]" % number for number in range(30)},
}
SIZE = sum(map(len, FILES.values()))
PROCESSES = 8
KILLS = 3


@pytest.fixture(params=["XET", "HTTP of the Hub", "S3", "HTTPS"])
def place(
    request: pytest.FixtureRequest, hub: Hub, s3: S3Server, *, web: WebServer, web_root: Path, authority: Authority
) -> Place:
    if request.param == "S3":
        return in_a_bucket(s3, "eight", FILES)
    if request.param == "HTTPS":
        return in_a_web_folder(web, web_root / "eight", FILES, str(authority.bundle))
    found = on_the_hub(hub, FILES)
    found.extra = {**found.extra, "AIM_DOWNLOADER_PROTOCOL": request.param.partition(" ")[0]}
    return found


def run_of(place: Place, target: Path, *arguments: str, **more: str) -> subprocess.Popen[str]:
    own = {"AIM_LEASE_TTL": "6", "AIM_BANDWIDTH": "40M", **place.extra, **more}
    return start("download", place.uri, target, *arguments, extra=own)


def at_most(factor: float, more: float, received_mib: float) -> None:
    assert received_mib <= factor * SIZE / MIB + more


def test_eight_processes_of_one_run(place: Place, tmp_path: Path) -> None:
    result = finish(run_of(place, tmp_path, "--processes", str(PROCESSES)))
    assert result.status == 0, result.stderr
    assert model(tmp_path) == FILES
    at_most(1.02, 1, received(result))


def test_eight_pods(place: Place, tmp_path: Path) -> None:
    runs = [
        run_of(place, tmp_path, "--shard", f"{index}/{PROCESSES}", AIM_BANDWIDTH="5M") for index in range(PROCESSES)
    ]
    results = [finish(run) for run in runs]
    assert [result.status for result in results] == [0] * PROCESSES, [result.stderr for result in results]
    assert model(tmp_path) == FILES
    at_most(1.02, 1, sum(map(received, results)))


def test_eight_processes_of_one_run_of_which_some_are_killed(place: Place, tmp_path: Path) -> None:
    chance = random.Random(8)  # noqa: S311
    process = run_of(place, tmp_path, "--processes", str(PROCESSES), AIM_BANDWIDTH="20M")
    for kill in range(KILLS):
        assert comes_to(process, lambda kill=kill: len(member_logs(tmp_path)) == PROCESSES + kill)  # type: ignore[misc]
        os.kill(chance.choice(helpers_of(process)), signal.SIGKILL)
    result = finish(process)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == FILES
    assert result.stderr.count("another one takes its place") == KILLS


def test_eight_pods_of_which_some_are_killed(place: Place, tmp_path: Path) -> None:
    chance = random.Random(9)  # noqa: S311

    def pod(index: int) -> subprocess.Popen[str]:
        return run_of(place, tmp_path, "--shard", f"{index}/{PROCESSES}", AIM_BANDWIDTH="3M")

    runs = [pod(index) for index in range(PROCESSES)]
    for kill in range(KILLS):
        assert comes_to(runs[0], lambda kill=kill: len(member_logs(tmp_path)) >= PROCESSES + kill)  # type: ignore[misc]
        index = chance.randrange(PROCESSES)
        os.killpg(runs[index].pid, signal.SIGKILL)
        finish(runs[index])
        runs[index] = pod(index)
    results = [finish(run) for run in runs]
    assert [result.status for result in results] == [0] * PROCESSES, [result.stderr for result in results]
    assert model(tmp_path) == FILES
    assert not re.search(r"(fetched|downloaded|downloading it) again", "".join(result.stderr for result in results))
