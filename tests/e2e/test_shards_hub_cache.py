"""Several processes that fill a cache of huggingface_hub together: the real library reads it offline afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command import comes_to, finish, member_logs, run, start
from tests.e2e.test_hub_cache import download, found_offline, sent, tree
from tests.e2e.test_shards import helpers_of, received
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Answer, Flip, Held
from tests.waiting import eventually

if TYPE_CHECKING:
    import subprocess

    from tests.command import Result
    from tests.e2e.conftest import Watched
    from tests.servers.hub import Hub
    from tests.servers.repository import Repository

MIB = 1 << 20
FILES = {
    "config.json": b"{}",
    "same.json": b"{}",
    "model-00001-of-00002.safetensors": Noise(40 * MIB + 17, seed=161).bytes(),
    "model-00002-of-00002.safetensors": Noise(12 * MIB, seed=162).bytes(),
    "copy.safetensors": Noise(12 * MIB, seed=162).bytes(),
    **{f"small/{number}.json": b"[%d]" % number for number in range(20)},
}
LARGE = 52 * MIB + 17
"""Bytes of the large files: one of them has the content of another."""
NEXT = {
    "config.json": b'{"next": true}',
    "model-00003-of-00003.safetensors": Noise(24 * MIB, seed=163).bytes(),
}
FOLDER = "models--org--model"
SHORT = {"AIM_LEASE_TTL": "3"}
"""For tests in which a process is frozen."""


def settings(hub: Hub, **more: str) -> dict[str, str]:
    own = {"AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER", "STALL_TIMEOUT": "600"}
    return {"HF_ENDPOINT": hub.endpoint, **own, **more}


def shard(hub: Hub, cache: Path, index: int, total: int, *, freezes: str = "", **more: str) -> subprocess.Popen[str]:
    """Start one process; it `freezes` before such an operation."""
    options = ("--hub-cache", cache, "--shard", f"{index}/{total}")
    module = ("tests.frozen_volume", freezes) if freezes else ("downloader",)
    return start("download", "hf://org/model", *options, extra=settings(hub, **more), module=module)


def members(cache: Path) -> int:
    return len(member_logs(cache / FOLDER))


def said(cache: Path, kind: str) -> int:
    """Return how many records of a kind the members of a run have written."""
    return sum(path.read_text().count(f'["{kind}",') for path in member_logs(cache / FOLDER))


def is_frozen(process: subprocess.Popen[str]) -> bool:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def ended(*processes: subprocess.Popen[str]) -> list[Result]:
    """Return the results of processes, all of which have to succeed."""
    results = [finish(process) for process in processes]
    assert [result.status for result in results] == [0] * len(results), "\n".join(result.stderr for result in results)
    return results


def require_sent(hub: Hub, size: int) -> None:
    """Require that the Hub has sent so many bytes of large files since the last call."""
    assert eventually(lambda: hub.log.sent("cdn") >= size)
    assert sent(hub) == size


def publications(results: list[Result]) -> int:
    return sum(len(re.findall(r"files in \S+/snapshots/", result.stderr)) for result in results)


@pytest.mark.parametrize("total", [2, 4])
def test_each_byte_comes_once_and_one_process_publishes(
    hub: Hub, repository: Repository, cache: Path, total: int
) -> None:
    results = ended(*[shard(hub, cache, index, total) for index in range(total)])
    assert publications(results) == 1
    require_sent(hub, LARGE)
    assert sum(map(received, results)) == pytest.approx(LARGE / MIB, rel=0.02)
    found = found_offline(cache, FILES)
    assert found["revisions"] == {repository.references["refs/heads/main"]: ["main"]}
    assert not (cache / FOLDER / ".downloading").exists()


def test_a_cache_is_what_one_process_makes_of_it(hub: Hub, repository: Repository, tmp_path: Path) -> None:
    ended(*[shard(hub, tmp_path / "several", index, 3) for index in range(3)])
    download(hub, tmp_path / "one")
    several, one = (tree(tmp_path / name) for name in ("several", "one"))
    mark = f"{FOLDER}/.artifact.sha256"  # it says when each file was changed
    assert several.pop(mark)
    assert one.pop(mark)
    assert several == one
    assert repository.commits
    assert run("verify", tmp_path / "several" / FOLDER).status == 0


@pytest.mark.parametrize("protocol", ["XET", "HTTP"])
def test_every_protocol_of_the_hub_is_shared(hub: Hub, repository: Repository, cache: Path, protocol: str) -> None:
    own = {"AIM_DOWNLOADER_PROTOCOL": protocol, "HF_HOME": str(cache.parent / "home")}
    results = ended(*[shard(hub, cache, index, 2, **own) for index in range(2)])
    assert sum(map(received, results)) <= 1.02 * LARGE / MIB + 1
    found_offline(cache, FILES)
    assert repository.commits


@pytest.mark.parametrize("count", [2, 4])
def test_one_run_with_several_processes_reports_as_one(
    hub: Hub, repository: Repository, watched: Watched, cache: Path, count: int
) -> None:
    report = cache.parent / "report.json"
    own = settings(hub, AIM_BANDWIDTH="24M", **watched.environment)
    options = ("--hub-cache", cache, "--processes", str(count), "--report", report)
    (result,) = ended(start("download", "hf://org/model", *options, extra=own))
    require_sent(hub, LARGE)
    assert received(result) == pytest.approx(LARGE / MIB, rel=0.02)
    assert any(f"({count} processes)" in message for message in watched.messages())
    progress = [state["progress"] for state in watched.api.history("models", "llama")[1:]]
    for figure in ("downloadedBytes", "percentage"):
        shown = [each[figure] for each in progress]
        assert shown == sorted(shown), shown
    assert progress[-1]["percentage"] == 100
    files = {file["path"]: (file["size"], file["state"]) for file in json.loads(report.read_text())["files"]}
    assert files == {path: (len(content), "fetched") for path, content in FILES.items()}
    found_offline(cache, FILES)
    assert repository.commits


def test_pods_of_an_indexed_job_need_no_option(hub: Hub, repository: Repository, watched: Watched, cache: Path) -> None:
    held = Held()
    hub.faults.add(held, route="cdn", offset=32 * MIB, times=FOREVER)
    own = settings(hub, AIM_DOWNLOADER_SHARDS="2", **watched.environment)
    pods = [
        start("download", "hf://org/model", "--hub-cache", cache, extra={**own, "JOB_COMPLETION_INDEX": str(index)})
        for index in range(2)
    ]
    watched.wait_for_message("(2 processes)")
    held.go_on.set()
    assert any("together with 1 other process\n" in result.stderr for result in ended(*pods))
    require_sent(hub, LARGE)
    shown = [state["progress"]["downloadedBytes"] for state in watched.api.history("models", "llama")[1:]]
    assert shown == sorted(shown)
    assert watched.status["progress"]["percentage"] == 100
    found_offline(cache, FILES)
    assert repository.commits


def test_a_second_revision_costs_what_has_changed(hub: Hub, repository: Repository, cache: Path) -> None:
    first = repository.references["refs/heads/main"]
    ended(*[shard(hub, cache, index, 2) for index in range(2)])
    second = repository.commit(NEXT)
    require_sent(hub, LARGE)
    held = Held()
    hub.faults.add(held, route="cdn", offset=MIB, times=FOREVER)
    pods = [shard(hub, cache, index, 2) for index in range(2)]
    assert eventually(lambda: members(cache) == 2)
    assert found_offline(cache, FILES)["revisions"] == {first: ["main"]}  # until all of the new one is there
    held.go_on.set()
    ended(*pods)
    require_sent(hub, 24 * MIB)
    assert found_offline(cache, {**FILES, **NEXT})["revisions"] == {first: [], second: ["main"]}
    found_offline(cache, FILES, revision=first)
    late = ended(*[shard(hub, cache, index, 2) for index in range(2)])
    assert all("nothing had to be fetched" in result.stderr for result in late)
    assert publications(late) == 0
    require_sent(hub, 0)


def test_processes_of_two_revisions_wait_for_each_other(hub: Hub, repository: Repository, cache: Path) -> None:
    held = Held()
    hub.faults.add(held, route="cdn", offset=32 * MIB, times=FOREVER)
    first = repository.references["refs/heads/main"]
    old = [shard(hub, cache, index, 2) for index in range(2)]
    assert eventually(lambda: members(cache) == 2)
    second = repository.commit(NEXT)
    new = [shard(hub, cache, index, 2) for index in range(2)]
    held.go_on.set()
    ended(*old, *new)
    require_sent(hub, LARGE + 24 * MIB)
    found_offline(cache, FILES, revision=first)
    assert found_offline(cache, {**FILES, **NEXT})["revisions"] == {first: [], second: ["main"]}


@pytest.mark.parametrize("victim", ["the leader", "another"])
def test_a_process_that_is_killed_is_replaced_by_those_that_run(
    hub: Hub, repository: Repository, cache: Path, victim: str
) -> None:
    held = Held()
    hub.faults.add(held, route="cdn", offset=32 * MIB, times=FOREVER)
    leader = shard(hub, cache, 0, 3)
    assert eventually(lambda: members(cache) == 1)
    others = [shard(hub, cache, index, 3) for index in (1, 2)]
    assert eventually(lambda: members(cache) == 3)
    dead = leader if victim == "the leader" else others[0]
    os.killpg(dead.pid, signal.SIGKILL)
    held.go_on.set()
    finish(dead)
    results = ended(*[process for process in (leader, *others) if process is not dead])
    assert publications(results) == 1
    assert hub.log.sent("cdn") <= 1.1 * LARGE + 64 * MIB
    found_offline(cache, FILES)
    assert repository.commits


def test_no_process_waits_for_what_another_counts_as_done(hub: Hub, cache: Path) -> None:
    """A helper that died has verified files of a group; only some of the others have seen it live, and believe it."""
    files = {f"{number}.json": b"[%d]" % number for number in range(8)}
    hub.create("org/model").commit(files)
    most, last = Held(), Held()
    hub.faults.add(most, path="*/[0-6].json", times=FOREVER)
    hub.faults.add(last, path="*/7.json", times=FOREVER)
    long = {"AIM_LEASE_TTL": "60"}
    leader = shard(hub, cache, 0, 4, freezes="creating .*/claims/", **long)
    assert comes_to(leader, lambda: is_frozen(leader))
    mortal = shard(hub, cache, 1, 4, **long)
    assert comes_to(mortal, lambda: bool(said(cache, "claim")))
    witness = shard(hub, cache, 2, 4, **long)
    assert comes_to(witness, lambda: members(cache) == 3)
    most.go_on.set()
    assert comes_to(mortal, lambda: said(cache, "verified") == 7)
    os.killpg(mortal.pid, signal.SIGKILL)
    last.go_on.set()
    assert comes_to(witness, lambda: said(cache, "verified") == 8)
    os.killpg(witness.pid, signal.SIGSTOP)  # so that the next leader is one that has not seen it all
    os.killpg(leader.pid, signal.SIGKILL)
    late = shard(hub, cache, 3, 4, **long)
    assert comes_to(late, lambda: members(cache) == 4)
    os.killpg(witness.pid, signal.SIGCONT)
    finish(mortal)
    finish(leader)
    ended(late, witness)
    found_offline(cache, files)


def test_one_run_goes_on_without_a_process_of_its_own_that_dies(hub: Hub, repository: Repository, cache: Path) -> None:
    held = Held()
    hub.faults.add(held, route="cdn", offset=32 * MIB, times=FOREVER)
    process = start("download", "hf://org/model", "--hub-cache", cache, "--processes", "2", extra=settings(hub))
    assert eventually(lambda: members(cache) == 2)
    os.kill(helpers_of(process)[0], signal.SIGKILL)
    held.go_on.set()
    ended(process)
    found_offline(cache, FILES)
    assert repository.commits


@pytest.mark.parametrize("deed", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize(
    "moment",
    [
        r"looking at .*/parts\.[0-9a-f]+/snapshot$",
        "renaming to .*/snapshots/",
        "renaming to .*/refs/main",
        r"renaming to .*/\.artifact\.sha256",
    ],
    ids=["before the links", "with the links", "with the reference", "with the mark"],
)
def test_a_publisher_that_stops_half_way_is_replaced(
    hub: Hub, repository: Repository, cache: Path, moment: str, deed: signal.Signals
) -> None:
    leader = shard(hub, cache, 0, 2, freezes=moment, AIM_BANDWIDTH="24M", **SHORT)
    assert comes_to(leader, lambda: members(cache) == 1)
    other = shard(hub, cache, 1, 2, **SHORT)
    assert comes_to(leader, lambda: is_frozen(leader))
    assert (cache / FOLDER / "refs/main").exists() is ("artifact" in moment)
    if deed is signal.SIGKILL:
        os.killpg(leader.pid, deed)
    assert publications(ended(other)) == 1
    before = tree(cache)
    os.killpg(leader.pid, signal.SIGCONT)
    woken = finish(leader)
    assert woken.status in (-signal.SIGKILL, 75), woken.stderr
    assert tree(cache) == before
    assert not (cache / FOLDER / ".downloading").exists()
    found_offline(cache, FILES)
    assert sent(hub) <= 1.02 * LARGE
    assert repository.commits


def test_a_publisher_that_wakes_renames_nothing_of_the_next_one(hub: Hub, repository: Repository, cache: Path) -> None:
    """Both were stopped with the reference in their hands, the second one for a newer commit."""
    reference, moment = cache / FOLDER / "refs/main", "renaming to .*/refs/main"
    first = shard(hub, cache, 0, 2, freezes=moment, **SHORT)
    assert comes_to(first, lambda: is_frozen(first))
    commit = repository.commit(NEXT)
    second = shard(hub, cache, 1, 2, freezes=moment, **SHORT)
    assert comes_to(second, lambda: is_frozen(second))
    os.killpg(first.pid, signal.SIGCONT)
    woken = finish(first)
    assert woken.status == 75, woken.stderr
    assert not reference.exists()
    os.killpg(second.pid, signal.SIGCONT)
    ended(second)
    assert reference.read_text() == commit
    found_offline(cache, {**FILES, **NEXT})


def test_a_damaged_blob_is_fetched_again_by_all(hub: Hub, repository: Repository, cache: Path) -> None:
    hub.faults.add(Flip(), route="cdn", offset=30 * MIB, times=1)
    results = ended(*[shard(hub, cache, index, 2) for index in range(2)])
    again = [result.stderr for result in results if "downloading it again" in result.stderr]
    assert len(again) == 1
    found_offline(cache, FILES)
    assert repository.commits


def test_without_symlinks_a_snapshot_has_the_files(hub: Hub, repository: Repository, cache: Path) -> None:
    results = ended(*[shard(hub, cache, index, 2, HF_HUB_DISABLE_SYMLINKS="1") for index in range(2)])
    assert publications(results) == 1
    assert not any(path.is_symlink() for path in cache.rglob("*"))
    found_offline(cache, FILES)
    assert repository.commits


def test_a_pod_that_stays_offline_uses_what_is_there(hub: Hub, repository: Repository, cache: Path) -> None:
    offline = {"HF_HUB_OFFLINE": "1"}
    early = finish(shard(hub, cache, 0, 2, **offline))
    assert early.status == 78
    ended(*[shard(hub, cache, index, 2) for index in range(2)])
    sent(hub)
    ended(*[shard(hub, cache, index, 2, **offline) for index in range(2)])
    assert not hub.log.records()
    assert repository.commits


@pytest.mark.parametrize("then", ["stays there", "goes back", "is not told"])
def test_a_branch_is_not_set_back_by_a_run_that_listed_it_before_it_moved(
    hub: Hub, repository: Repository, cache: Path, then: str
) -> None:
    first = repository.references["refs/heads/main"]
    late = shard(hub, cache, 0, 2, freezes="creating .*/lease", STALL_TIMEOUT="6")
    assert comes_to(late, lambda: is_frozen(late))
    second = repository.commit(NEXT)
    ended(start("download", "hf://org/model", "--hub-cache", cache, extra=settings(hub)))
    reference = cache / FOLDER / "refs/main"
    assert reference.read_text() == second
    if then == "goes back":
        repository.references["refs/heads/main"] = first
    elif then == "is not told":
        hub.faults.add(Answer(500), route="api", times=FOREVER)
    os.killpg(late.pid, signal.SIGCONT)
    (result,) = ended(late)
    assert reference.read_text() == (first if then == "goes back" else second)
    assert (f"refs/main names commit {second} meanwhile, and stays as it is" in result.stderr) is (then != "goes back")
    assert ("the Hub does not say which is newer" in result.stderr) is (then == "is not told")
    found_offline(cache, FILES, revision=first)
    found_offline(cache, {**FILES, **NEXT}, revision=second)
