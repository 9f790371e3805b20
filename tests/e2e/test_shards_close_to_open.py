"""Several processes on a volume that shows what others have written only as NFS promises it."""

from __future__ import annotations

import json
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
    "model.safetensors": Noise(80 * MIB + 17, seed=95).bytes(),
}
SIZE = sum(map(len, FILES.values()))


TTL = 4
"""Seconds that a lease lives, and for which names and attributes are kept: both are a minute on a real volume."""


def shard(hub: Hub, target: Path, index: int, total: int, **more: str) -> subprocess.Popen[str]:
    own = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER", "AIM_BANDWIDTH": "8M", **more}
    number = ("--shard", f"{index}/{total}")
    return start("download", "hf://org/model", target, *number, extra=own, module=["tests.close_to_open", str(TTL)])


@pytest.mark.parametrize("total", [3, 8])
def test_each_byte_comes_once_although_machines_keep_what_they_have_seen(
    stocked: Hub, tmp_path: Path, total: int
) -> None:
    results = [finish(run) for run in [shard(stocked, tmp_path, index, total) for index in range(total)]]
    assert [result.status for result in results] == [0] * total, [result.stderr for result in results]
    assert model(tmp_path) == FILES
    assert not (tmp_path / ".downloading").exists()
    assert not any("again" in result.stderr for result in results), [result.stderr for result in results]
    assert eventually(lambda: SIZE - 2 <= stocked.log.sent("cdn") <= 1.02 * SIZE)


def test_machines_replace_one_that_died_although_they_keep_what_they_have_seen(stocked: Hub, tmp_path: Path) -> None:
    held = Held()
    stocked.faults.add(held, route="cdn", offset=40 * MIB, times=FOREVER)
    runs = [shard(stocked, tmp_path, index, 8, AIM_LEASE_TTL=str(TTL)) for index in range(8)]
    assert eventually(lambda: len(member_logs(tmp_path)) == 8)
    [lease] = tmp_path.glob(".downloading/lease.*")
    leader = json.loads(lease.read_text())["pid"]
    dead, other = next(run for run in runs if run.pid == leader), next(run for run in runs if run.pid != leader)
    for run in (dead, other):
        os.killpg(run.pid, signal.SIGKILL)
        finish(run)
    held.go_on.set()
    results = [finish(run) for run in runs if run not in (dead, other)]
    assert [result.status for result in results] == [0] * 6, [result.stderr for result in results]
    assert model(tmp_path) == FILES
    assert not (tmp_path / ".downloading").exists()
    assert stocked.log.sent("cdn") <= 1.1 * SIZE + 2 * 64 * MIB
