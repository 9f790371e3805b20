"""Two runs on one volume: one works, the other waits and says so, then uses what is there."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.command import content, finish, model, run, start
from tests.lease.contest import is_held
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Held
from tests.waiting import AT_LAST, eventually

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.e2e.conftest import Watched
    from tests.servers.hub import Hub

MIB = 1 << 20
FILES = {
    "config.json": b"{}",
    "model-00001-of-00002.safetensors": Noise(30 * MIB, seed=71).bytes(),
    "model-00002-of-00002.safetensors": Noise(10 * MIB, seed=72).bytes(),
}
OTHERS = {"other.json": b"[]", "other.safetensors": Noise(5 * MIB, seed=73).bytes()}
SIZE = sum(map(len, FILES.values()))


@pytest.fixture
def stocked(hub: Hub) -> Hub:
    hub.create("org/model").commit(FILES)
    hub.create("org/other").commit(OTHERS)
    return hub


@pytest.fixture
def held(stocked: Hub) -> Held:
    """What keeps a run in its work, when a large part of it is in a journal."""
    held = Held()
    stocked.faults.add(held, route="cdn", offset=26 * MIB, times=FOREVER)
    return held


def first_run(hub: Hub, target: Path, **more: str) -> subprocess.Popen[str]:
    """Start a run and return once it has the volume and some bytes."""
    own = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER", "STALL_TIMEOUT": "600"}
    process = start("download", "hf://org/model", target, extra={**own, **more})
    assert eventually(lambda: hub.log.sent("cdn") > 8 * MIB)
    assert eventually((target / ".downloading/lease.1").exists)
    return process


def second_run(hub: Hub, target: Path, uri: str = "hf://org/model", **more: str) -> subprocess.Popen[str]:
    own = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER"}
    return start("download", uri, target, extra={**own, **more})


def test_the_second_of_the_same_artifact_waits_says_so_and_fetches_nothing(
    stocked: Hub, held: Held, watched: Watched, tmp_path: Path
) -> None:
    first = first_run(stocked, tmp_path / "t")
    second = second_run(stocked, tmp_path / "t", **watched.environment)
    watched.wait_for_message(f"waiting for process {first.pid} on ")
    assert first.poll() is None
    held.go_on.set()
    assert finish(first).status == 0
    result = finish(second)
    assert result.status == 0, result.stderr
    assert "nothing had to be fetched" in result.stderr
    assert eventually(lambda: stocked.log.sent("cdn") == SIZE - len(FILES["config.json"]))
    assert model(tmp_path / "t") == FILES


def test_the_second_of_another_artifact_waits_and_leaves_the_first_ones_files_alone(
    stocked: Hub, held: Held, watched: Watched, tmp_path: Path
) -> None:
    first = first_run(stocked, tmp_path / "t")
    second = second_run(stocked, tmp_path / "t", "hf://org/other", **watched.environment)
    watched.wait_for_message("hf://org/model")
    held.go_on.set()
    assert finish(first).status == 0
    result = finish(second)
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == {**FILES, **OTHERS}


def test_a_run_that_is_dead_is_replaced_at_once_and_its_bytes_are_used(
    stocked: Hub, held: Held, watched: Watched, tmp_path: Path
) -> None:
    patient = {"AIM_LEASE_TTL": "600"}
    first = first_run(stocked, tmp_path / "t", **patient)
    # A journal begins with a line that names the file; the second one is of bytes.
    journals = "t/.downloading/parts.*/*.journal"
    assert eventually(lambda: any(path.read_bytes().count(b"\n") > 1 for path in tmp_path.glob(journals)))
    second = second_run(stocked, tmp_path / "t", **patient, **watched.environment)
    watched.wait_for_message("waiting for process")
    os.killpg(first.pid, signal.SIGKILL)
    held.go_on.set()
    killed = time.monotonic()
    finish(first)
    result = finish(second)
    assert result.status == 0, result.stderr
    assert time.monotonic() - killed < AT_LAST
    assert model(tmp_path / "t") == FILES
    assert stocked.log.sent("cdn") < 1.1 * SIZE + 64 * MIB


@pytest.mark.parametrize("waking", ["while the second works", "when the second is done"])
def test_a_frozen_run_is_replaced_and_publishes_nothing_when_it_wakes(
    stocked: Hub, held: Held, tmp_path: Path, waking: str
) -> None:
    short = {"AIM_LEASE_TTL": "1.5"}
    first = first_run(stocked, tmp_path, **short)
    os.killpg(first.pid, signal.SIGSTOP)
    second = second_run(stocked, tmp_path, **short)
    if waking == "while the second works":
        assert eventually(lambda: is_held(tmp_path, 2))
        os.killpg(first.pid, signal.SIGCONT)
        woken = finish(first)
        held.go_on.set()
        result = finish(second)
        before = content(tmp_path)
    else:
        held.go_on.set()
        result = finish(second)
        before = content(tmp_path)
        os.killpg(first.pid, signal.SIGCONT)
        woken = finish(first)
    assert result.status == 0, result.stderr
    assert woken.status == 75, woken.stderr
    assert "taken over" in woken.last_line
    assert content(tmp_path) == before
    assert model(tmp_path) == FILES


def test_a_frozen_run_ends_when_it_wakes_although_its_server_is_silent(stocked: Hub, tmp_path: Path) -> None:
    """All that could notice otherwise that another process has the volume now is the next write."""
    held = Held()
    stocked.faults.add(held, route="cdn", times=FOREVER)
    short = {"AIM_LEASE_TTL": "1.5", "STALL_TIMEOUT": "600"}
    first = second_run(stocked, tmp_path, **short)
    assert eventually(lambda: bool(stocked.log.records("cdn")))
    os.killpg(first.pid, signal.SIGSTOP)
    second = second_run(stocked, tmp_path, **short)
    assert eventually(lambda: is_held(tmp_path, 2))
    os.killpg(first.pid, signal.SIGCONT)
    woken = finish(first, AT_LAST)
    assert woken.status == 75, woken.stderr
    assert "taken over" in woken.last_line
    held.go_on.set()
    result = finish(second)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == FILES


def test_no_caller_waits_longer_than_the_deadline(stocked: Hub, held: Held, tmp_path: Path) -> None:
    first = first_run(stocked, tmp_path)
    own = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER"}
    result = run("download", "hf://org/model", tmp_path, "--deadline", "2", extra=own)
    assert first.poll() is None
    assert result.status == 75, result.stderr
    assert "deadline of 2 s" in result.last_line
    held.go_on.set()
    assert finish(first).status == 0


def test_of_five_runs_at_once_each_ends_well_and_the_artifact_comes_once(stocked: Hub, tmp_path: Path) -> None:
    runs = [second_run(stocked, tmp_path) for _ in range(5)]
    assert [finish(run).status for run in runs] == [0] * 5
    assert model(tmp_path) == FILES
    assert eventually(lambda: stocked.log.sent("cdn") == SIZE - len(FILES["config.json"]))
