"""Pods that differ: one is refused by the volume, is of another user, counts otherwise, or is frozen for a while."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.command import TIMEOUT, finish, member_logs, model, start
from tests.e2e.test_shards import FILES, MIB, SIZE, SMALL, three_at_work
from tests.e2e.test_users import FIRST, GROUP, SECOND, user, volume
from tests.needs import PRIVILEGES, able
from tests.servers.faults import FOREVER, Held
from tests.waiting import eventually

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence
    from pathlib import Path

    from tests.servers.hub import Hub

__all__ = ["volume"]

TTL = 3.0
SLOW = {"AIM_BANDWIDTH": "2M"}
"""For a process that leaves work to those that come later."""
WAITS = "; the others go on without this process, which waits for them"


def shard(hub: Hub, target: Path, number: str, through: Sequence[str] = (), **more: str) -> subprocess.Popen[str]:
    own = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER", "AIM_LEASE_TTL": f"{TTL:g}"}
    own |= {"STALL_TIMEOUT": "600", **more}
    return start("download", "hf://org/model", target, "--shard", number, extra=own, through=through)


def shorter_than(size: int) -> list[str]:
    """Return how to start a process that may not make a file so long: as a quota of one user ends it."""
    return ["prlimit", f"--fsize={size}"]


def line_with(words: str, process: subprocess.Popen[str]) -> str:
    """Return the line of a run that has these words, once it has said it; empty if it says other things too long."""
    deadline = time.monotonic() + TIMEOUT
    for line in process.stderr or ():
        if words in line or time.monotonic() > deadline:
            return line if words in line else ""
    return ""


@pytest.fixture
def held(stocked: Hub) -> Held:
    """What holds the work after some megabytes."""
    found = Held()
    stocked.faults.add(found, route="cdn", offset=6 * MIB, times=FOREVER)
    return found


@pytest.mark.parametrize("size", [20 * MIB, 4096], ids=["large files", "any file"])
def test_one_that_can_write_no_more_leaves_its_work_to_the_others_and_says_so(
    stocked: Hub, tmp_path: Path, size: int
) -> None:
    leader = shard(stocked, tmp_path, "0/3", **SLOW)
    assert eventually(lambda: bool(member_logs(tmp_path)))
    limited = shard(stocked, tmp_path, "1/3", shorter_than(size))
    assert "File too large" in line_with(WAITS, limited)
    results = [finish(run) for run in (shard(stocked, tmp_path, "2/3"), leader, limited)]
    assert [result.status for result in results] == [0] * 3, [result.stderr for result in results]
    assert model(tmp_path) == FILES


@pytest.mark.root
def test_one_that_may_only_read_the_volume_waits_for_the_others_and_ends_well(stocked: Hub, tmp_path: Path) -> None:
    able("unshare", "-m", "true", get=PRIVILEGES)
    mount = f"mount --bind {tmp_path} {tmp_path} && mount -o remount,bind,ro {tmp_path}"
    leader = shard(stocked, tmp_path / "t", "0/3", **SLOW)
    assert eventually(lambda: bool(member_logs(tmp_path / "t")))
    reader = shard(stocked, tmp_path / "t", "1/3", ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh"])
    assert "Read-only file system" in line_with(WAITS, reader)
    results = [finish(run) for run in (shard(stocked, tmp_path / "t", "2/3"), leader, reader)]
    assert [result.status for result in results] == [0] * 3, [result.stderr for result in results]
    assert model(tmp_path / "t") == FILES


def test_a_leader_that_can_write_no_more_is_followed_by_another(stocked: Hub, tmp_path: Path) -> None:
    leader = shard(stocked, tmp_path, "0/3", shorter_than(20 * MIB))
    others = [shard(stocked, tmp_path, f"{index}/3") for index in (1, 2)]
    results = [finish(run) for run in (leader, *others)]
    assert [result.status for result in results[1:]] == [0, 0], [result.stderr for result in results]
    assert results[0].status in {0, 74}  # 0 if another one was faster
    assert model(tmp_path) == FILES


@pytest.mark.root
def test_pods_of_different_users_with_different_umasks_share_the_work(stocked: Hub, held: Held, volume: Path) -> None:
    target = volume / "t"
    masked = ["sh", "-c", 'umask 077 && exec "$@"', "sh"]
    runs = [
        shard(stocked, target, f"{index}/4", [*user(uid), *(masked if index % 2 else [])])
        for index, uid in enumerate((FIRST, FIRST, SECOND, SECOND))
    ]
    assert eventually(lambda: len(member_logs(target)) == 4)
    held.go_on.set()
    results = [finish(run) for run in runs]
    assert [result.status for result in results] == [0] * 4, [result.stderr for result in results]
    assert model(target) == FILES
    assert not any(WAITS in result.stderr for result in results)
    assert eventually(lambda: stocked.log.sent("cdn") == SIZE - SMALL)
    for path in target.rglob("*"):
        assert path.stat().st_gid == GROUP
        assert path.stat().st_mode & 0o060 == 0o060


def test_pods_that_count_otherwise_or_come_through_a_link_share_the_work(
    stocked: Hub, held: Held, tmp_path: Path
) -> None:
    target, link = tmp_path / "t", tmp_path / "link"
    target.mkdir()
    link.symlink_to(target, target_is_directory=True)
    places = [(target, "0/3"), (link, "1/3"), (target, "1/3"), (link, "3/4"), (target, "99/100")]
    runs = [shard(stocked, folder, number) for folder, number in places]
    assert eventually(lambda: len(member_logs(target)) == len(places))
    held.go_on.set()
    results = [finish(run) for run in runs]
    assert [result.status for result in results] == [0] * len(places), [result.stderr for result in results]
    assert model(target) == FILES
    assert link.is_symlink()
    assert eventually(lambda: stocked.log.sent("cdn") == SIZE - SMALL)


@pytest.mark.parametrize("frozen", ["the leader", "another"])
def test_one_that_wakes_while_the_others_still_work_ends_well_or_is_started_again(
    stocked: Hub, tmp_path: Path, frozen: str
) -> None:
    held = Held()
    stocked.faults.add(held, route="cdn", offset=40 * MIB, times=FOREVER)
    leader, *others = three_at_work(stocked, tmp_path)
    sleeper = leader if frozen == "the leader" else others[0]
    [parts] = tmp_path.glob(".downloading/parts.*")
    os.killpg(sleeper.pid, signal.SIGSTOP)
    if frozen == "the leader":
        assert eventually(lambda: not parts.exists())
    else:
        time.sleep(2 * TTL)  # after which the others take it for dead
    os.killpg(sleeper.pid, signal.SIGCONT)
    held.go_on.set()
    results = {process.pid: finish(process) for process in (leader, *others)}
    woken = results.pop(sleeper.pid)
    assert [result.status for result in results.values()] == [0, 0], [result.stderr for result in results.values()]
    assert woken.status in ({75} if frozen == "the leader" else {0}), woken.stderr
    assert model(tmp_path) == FILES
    assert stocked.log.sent("cdn") <= 1.1 * SIZE + 64 * MIB
