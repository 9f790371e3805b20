"""Processes of two releases of this program on one volume, as when an Indexed Job is upgraded pod by pod."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.command import finish, member_logs, model, start
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Held
from tests.waiting import eventually

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.servers.hub import Hub

MIB = 1 << 20
FILES = {
    "config.json": b"{}",
    "model-00001-of-00002.safetensors": Noise(90 * MIB + 5, seed=311).bytes(),
    "model-00002-of-00002.safetensors": Noise(21 * MIB, seed=312).bytes(),
    **{f"small/{number}.json": b"[%d]" % number for number in range(20)},
}
SIZE = sum(map(len, FILES.values()))
LARGE = sum(len(data) for data in FILES.values() if len(data) > MIB)
THIS, OTHER = ["downloader"], ["tests.another_release"]
ORDERS = [pytest.param((THIS, OTHER), id="this one leads"), pytest.param((OTHER, THIS), id="the other one leads")]


def shard(hub: Hub, target: Path, index: int, release: list[str]) -> subprocess.Popen[str]:
    own = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER", "AIM_LEASE_TTL": "3"}
    return start("download", "hf://org/model", target, "--shard", f"{index}/4", extra=own, module=release)


@pytest.mark.parametrize("releases", ORDERS)
def test_each_release_works_with_its_own_and_all_end_with_the_whole_artifact(
    stocked: Hub, tmp_path: Path, releases: tuple[list[str], list[str]]
) -> None:
    held = Held()
    stocked.faults.add(held, route="cdn", offset=12 * MIB, times=FOREVER)
    first = [shard(stocked, tmp_path, 0, releases[0])]
    assert eventually(lambda: bool(member_logs(tmp_path)))
    others = [shard(stocked, tmp_path, index, releases[index % 2]) for index in (1, 2, 3)]
    assert eventually(lambda: len(member_logs(tmp_path)) == 2)
    held.go_on.set()
    results = [finish(run) for run in first + others]
    assert [result.status for result in results] == [0] * 4, [result.stderr for result in results]
    assert model(tmp_path) == FILES
    assert not (tmp_path / ".downloading").exists()
    assert eventually(lambda: stocked.log.sent("cdn") == LARGE)
    said = [result for result in results if "of another release of this program" in result.stderr]
    assert len(said) == 2, [result.stderr for result in results]


@pytest.mark.parametrize("releases", ORDERS)
def test_another_release_continues_when_the_pods_of_the_first_are_gone(
    stocked: Hub, tmp_path: Path, releases: tuple[list[str], list[str]]
) -> None:
    held = Held()
    stocked.faults.add(held, route="cdn", offset=60 * MIB, times=FOREVER)
    leaders = [shard(stocked, tmp_path, index, releases[0]) for index in range(2)]
    others = [shard(stocked, tmp_path, index, releases[1]) for index in (2, 3)]
    assert eventually(lambda: stocked.log.sent("cdn") > 60 * MIB)
    for process in leaders:
        os.killpg(process.pid, signal.SIGKILL)
        finish(process)
    held.go_on.set()
    results = [finish(run) for run in others]
    assert [result.status for result in results] == [0, 0], [result.stderr for result in results]
    assert model(tmp_path) == FILES
    assert stocked.log.sent("cdn") <= 1.1 * SIZE + 2 * 64 * MIB
