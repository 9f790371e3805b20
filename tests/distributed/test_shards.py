"""Several nodes that fill one volume together: each byte comes once, and a process that dies or freezes is replaced."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.command import comes_to, finish, member_logs, model
from tests.e2e.test_hub_cache import found_offline
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Held

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.distributed.nodes import Node, Nodes
    from tests.servers.hub import Hub

pytestmark = pytest.mark.timeout(900)  # runs that wait for each other, each for as long as a run may take
MIB = 1 << 20
FILES = {
    "config.json": b"{}",
    "model-00001-of-00003.safetensors": Noise(40 * MIB, seed=91).bytes(),
    "model-00002-of-00003.safetensors": Noise(24 * MIB, seed=92).bytes(),
    "model-00003-of-00003.safetensors": Noise(9 * MIB + 17, seed=93).bytes(),
    **{f"small/{number}.json": b"[%d]" % number for number in range(20)},
}
SIZE = sum(map(len, FILES.values()))


def shard(hub: Hub, node: Node, index: int, total: int, *place: str | Path, **more: str) -> subprocess.Popen[str]:
    own = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER", "AIM_LEASE_TTL": "3"}
    number = {"AIM_DOWNLOADER_SHARDS": str(total), "JOB_COMPLETION_INDEX": str(index)}
    return node.start("download", "hf://org/model", *(place or (node.volume / "t",)), extra={**own, **number, **more})


def members(node: Node, target: str = "t") -> int:
    return len(member_logs(node.volume / target))


def test_nodes_that_start_together_fetch_the_artifact_once(stocked: Hub, nodes: Nodes) -> None:
    places = [nodes() for _ in range(3)]
    runs = [shard(stocked, node, index, 3) for index, node in enumerate(places)]
    results = [finish(run) for run in runs]
    assert [result.status for result in results] == [0] * 3, [result.stderr for result in results]
    assert model(nodes().volume / "t") == FILES
    assert not (nodes().volume / "t/.downloading").exists()
    assert stocked.log.sent("cdn") <= 1.02 * SIZE


@pytest.mark.parametrize("deed", [signal.SIGKILL, signal.SIGSTOP])
def test_the_work_of_a_leader_that_stops_answering_is_done_by_the_others(
    stocked: Hub, nodes: Nodes, deed: signal.Signals
) -> None:
    held = Held()
    stocked.faults.add(held, route="cdn", offset=30 * MIB, times=FOREVER)
    places = [nodes() for _ in range(3)]
    leader = shard(stocked, places[0], 0, 3)
    assert comes_to(leader, lambda: members(places[1]) == 1)
    others = [shard(stocked, node, index, 3) for index, node in enumerate(places[1:], start=1)]
    assert comes_to(others[1], lambda: members(places[1]) == 3)
    os.killpg(leader.pid, deed)
    held.go_on.set()
    results = [finish(process) for process in others]
    assert [result.status for result in results] == [0, 0], "".join(result.stderr for result in results)
    before = model(nodes().volume / "t")
    assert before == FILES
    os.killpg(leader.pid, signal.SIGCONT)
    assert finish(leader).status in (-signal.SIGKILL, 0, 75)
    assert model(nodes().volume / "t") == FILES
    assert stocked.log.sent("cdn") <= 1.1 * SIZE + 64 * MIB


@pytest.mark.parametrize("deed", [signal.SIGCONT, signal.SIGKILL, signal.SIGSTOP])
def test_nodes_fill_a_cache_of_the_hub(stocked: Hub, nodes: Nodes, deed: signal.Signals) -> None:
    """Whatever happens to the leader: nothing, with SIGCONT."""
    held = Held()
    stocked.faults.add(held, route="cdn", offset=30 * MIB, times=FOREVER)
    places = [nodes() for _ in range(3)]
    repository = "models--org--model"
    leader = shard(stocked, places[0], 0, 3, "--hub-cache", places[0].volume)
    assert comes_to(leader, lambda: members(places[1], repository) == 1)
    others = [shard(stocked, places[index], index, 3, "--hub-cache", places[index].volume) for index in (1, 2)]
    assert comes_to(others[0], lambda: members(places[1], repository) == 3)
    os.killpg(leader.pid, deed)
    held.go_on.set()
    results = [finish(process) for process in others]
    assert [result.status for result in results] == [0, 0], "".join(result.stderr for result in results)
    os.killpg(leader.pid, signal.SIGCONT)
    assert finish(leader).status in ((0,) if deed is signal.SIGCONT else (-signal.SIGKILL, 0, 75))
    cache = nodes().volume
    found_offline(cache, FILES)
    assert not (cache / repository / ".downloading").exists()
    assert stocked.log.sent("cdn") <= (1.02 * SIZE if deed is signal.SIGCONT else 1.1 * SIZE + 64 * MIB)
