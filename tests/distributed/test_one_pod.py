"""What holds on one machine holds across the nodes of a distributed file system: one run works, and is replaced."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command import comes_to, content, environment, finish, model, spawn
from tests.lease.contest import is_held
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Held
from tests.waiting import eventually

if TYPE_CHECKING:
    import subprocess

    from tests.command import Result
    from tests.distributed.nodes import Node, Nodes
    from tests.servers.hub import Hub

pytestmark = pytest.mark.timeout(900)  # runs that wait for each other, each for as long as a run may take
ROOT = Path(__file__).parents[2]
MIB = 1 << 20
FILES = {
    "config.json": b"{}",
    "model-00001-of-00002.safetensors": Noise(30 * MIB, seed=81).bytes(),
    "model-00002-of-00002.safetensors": Noise(10 * MIB, seed=82).bytes(),
}
SIZE = sum(map(len, FILES.values()))
SHORT = "2"
"""Seconds that a lease lives: what happens on another node can be told only by waiting for so long."""


@pytest.fixture
def held(stocked: Hub) -> Held:
    """What keeps a run in its work, when a large part of it is in a journal."""
    held = Held()
    stocked.faults.add(held, route="cdn", offset=26 * MIB, times=FOREVER)
    return held


def download(hub: Hub, node: Node, **more: str) -> subprocess.Popen[str]:
    own = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER", "STALL_TIMEOUT": "600"}
    return node.start("download", "hf://org/model", node.volume / "t", extra={**own, "AIM_LEASE_TTL": SHORT, **more})


def journaled(node: Node) -> bool:
    return bool(list(node.volume.glob("t/.downloading/parts.*/*.journal")))


def verify(node: Node) -> Result:
    return finish(node.start("verify", node.volume / "t", extra={}))


def test_what_one_node_downloads_another_one_verifies(stocked: Hub, nodes: Nodes) -> None:
    here, there = nodes(), nodes()
    result = finish(download(stocked, here))
    assert result.status == 0, result.stderr
    assert verify(there).status == 0
    assert model(there.volume / "t") == FILES
    assert not (there.volume / "t/.downloading").exists()


def test_a_second_node_waits_says_so_and_fetches_nothing(stocked: Hub, held: Held, nodes: Nodes) -> None:
    here, there = nodes(), nodes()
    first = download(stocked, here)
    assert comes_to(first, lambda: journaled(there))
    second = download(stocked, there)
    assert second.stderr is not None
    waiting = next(line for line in second.stderr if "waiting for" in line)
    assert f" on {here.name} " in waiting
    held.go_on.set()
    assert finish(first).status == 0
    result = finish(second)
    assert result.status == 0, result.stderr
    assert "nothing had to be fetched" in result.stderr
    assert eventually(lambda: stocked.log.sent("cdn") == SIZE - len(FILES["config.json"]))


def test_a_run_that_is_killed_on_one_node_is_continued_on_another(stocked: Hub, held: Held, nodes: Nodes) -> None:
    here, there = nodes(), nodes()
    first = download(stocked, here)
    assert comes_to(first, lambda: journaled(there))
    os.killpg(first.pid, signal.SIGKILL)
    finish(first)
    held.go_on.set()
    result = finish(download(stocked, there))
    assert result.status == 0, result.stderr
    assert model(nodes().volume / "t") == FILES
    assert stocked.log.sent("cdn") < 1.1 * SIZE + 64 * MIB


def test_a_run_that_was_frozen_on_one_node_publishes_nothing_when_it_wakes(
    stocked: Hub, held: Held, nodes: Nodes
) -> None:
    here, there = nodes(), nodes()
    first = download(stocked, here)
    assert comes_to(first, lambda: journaled(there))
    os.killpg(first.pid, signal.SIGSTOP)
    second = download(stocked, there)
    assert comes_to(second, lambda: is_held(there.volume / "t", 2))
    os.killpg(first.pid, signal.SIGCONT)
    woken = finish(first)
    held.go_on.set()
    result = finish(second)
    assert result.status == 0, result.stderr
    assert woken.status == 75, woken.stderr
    assert "taken over" in woken.last_line
    assert model(nodes().volume / "t") == FILES


@pytest.mark.parametrize("nodes", [pytest.param("glusterfs", marks=pytest.mark.root)], indirect=True)
def test_what_a_killed_node_had_not_sent_to_the_volume_comes_again(stocked: Hub, held: Held, nodes: Nodes) -> None:
    """On CephFS, too, but there the other nodes wait a minute for a client that died: see docs/volumes.md."""
    here, there = nodes(), nodes()
    first = download(stocked, here)
    assert comes_to(first, lambda: journaled(there))
    here.mount.kill()
    os.killpg(first.pid, signal.SIGKILL)
    finish(first)
    held.go_on.set()
    result = finish(download(stocked, there))
    assert result.status == 0, result.stderr
    assert model(nodes().volume / "t") == FILES
    assert content(there.volume / "t").keys() == {*FILES, ".artifact.sha256"}


def test_of_acquirers_on_two_nodes_one_holds_the_lease_at_a_time(nodes: Nodes) -> None:
    command = [sys.executable, "-m", "tests.lease.acquirer"]
    places = [nodes().volume for _ in range(2)] * 2
    results = [finish(each) for each in [spawn(*command, place, "6", env=environment(), cwd=ROOT) for place in places]]
    assert [result.status for result in results] == [0] * 4, "".join(result.stderr for result in results)
    assert list(places[0].iterdir()) == []
