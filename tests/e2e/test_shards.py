"""Several processes that fill one volume together: each byte comes once, even if one of them dies."""

from __future__ import annotations

import os
import random
import re
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command import content, finish, member_logs, model, run, start
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Flip, Held, IgnoreRange
from tests.servers.published import in_a_bucket
from tests.waiting import eventually

if TYPE_CHECKING:
    import subprocess

    from tests.command import Result
    from tests.e2e.conftest import Watched
    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server

MIB = 1 << 20
FILES = {
    "config.json": b"{}",
    "model-00001-of-00003.safetensors": Noise(60 * MIB, seed=91).bytes(),
    "model-00002-of-00003.safetensors": Noise(24 * MIB, seed=92).bytes(),
    "model-00003-of-00003.safetensors": Noise(9 * MIB + 17, seed=93).bytes(),
    **{f"small/{number}.json": b"[%d]" % number for number in range(40)},
}
SIZE = sum(map(len, FILES.values()))
SMALL = sum(len(data) for data in FILES.values() if len(data) < MIB)


def shard(hub: Hub, target: Path, index: int, total: int, **more: str) -> subprocess.Popen[str]:
    own = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER", "AIM_LEASE_TTL": "3"}
    return start("download", "hf://org/model", target, "--shard", f"{index}/{total}", extra={**own, **more})


def three_at_work(hub: Hub, target: Path) -> list[subprocess.Popen[str]]:
    """Start three processes, the first of which leads, and return them once all share the work."""
    leader = shard(hub, target, 0, 3)
    assert eventually(lambda: bool(member_logs(target)))
    others = [shard(hub, target, index, 3) for index in (1, 2)]
    assert eventually(lambda: len(member_logs(target)) == 3)
    return [leader, *others]


def rose_to_the_end(watched: Watched) -> None:
    """See that no figure of the status has ever fallen, and that the last ones are those of the whole artifact."""
    progress = [state["progress"] for state in watched.api.history("models", "llama")[1:]]
    for figure, last in (("downloadedBytes", SIZE), ("percentage", 100)):
        shown = [each[figure] for each in progress]
        assert shown == sorted(shown), shown
        assert shown[-1] == watched.status["progress"][figure] == last


def received(result: Result) -> float:
    """Return the MiB that a process says it has received."""
    found = re.search(r"; ([0-9.]+) (MiB|KiB|bytes) received", result.stderr)
    return float(found[1]) * {"MiB": 1, "KiB": 2**-10, "bytes": 2**-20}[found[2]] if found else 0.0


def done_ranges(target: Path) -> list[int]:
    """Return the lengths of the ranges that the logs of all members say are on the disk."""
    logs = "".join(path.read_text() for path in member_logs(target))
    return [int(stop) - int(start) for start, stop in re.findall(r'"done","[0-9a-f]+",0,([0-9]+),([0-9]+)\]', logs)]


@pytest.mark.parametrize("total", [2, 4, 8])
def test_processes_that_start_together_fetch_the_artifact_once(stocked: Hub, tmp_path: Path, total: int) -> None:
    runs = [shard(stocked, tmp_path, index, total) for index in range(total)]
    results = [finish(run) for run in runs]
    assert [result.status for result in results] == [0] * total, [result.stderr for result in results]
    assert model(tmp_path) == FILES
    assert not (tmp_path / ".downloading").exists()
    assert eventually(lambda: stocked.log.sent("cdn") == SIZE - SMALL)


def test_each_process_fetches_about_the_same_part(stocked: Hub, tmp_path: Path) -> None:
    held = Held()
    stocked.faults.add(held, route="cdn", times=FOREVER)
    slow = {"AIM_BANDWIDTH": "8M"}
    runs = [shard(stocked, tmp_path, index, 3, **slow) for index in range(3)]
    assert eventually(lambda: len(member_logs(tmp_path)) == 3)
    held.go_on.set()
    shares = [received(finish(run)) for run in runs]
    assert max(shares) <= 1.5 * sum(shares) / 3, shares


@pytest.mark.parametrize("victim", ["the leader", "another"])
def test_a_process_that_is_killed_is_replaced_by_those_that_run(stocked: Hub, tmp_path: Path, victim: str) -> None:
    held = Held()
    stocked.faults.add(held, route="cdn", offset=40 * MIB, times=FOREVER)
    leader, *others = three_at_work(stocked, tmp_path)
    dead = leader if victim == "the leader" else others[0]
    os.killpg(dead.pid, signal.SIGKILL)
    held.go_on.set()
    assert finish(dead).status == -signal.SIGKILL
    living = [process for process in (leader, *others) if process is not dead]
    results = [finish(process) for process in living]
    assert [result.status for result in results] == [0, 0], [result.stderr for result in results]
    assert model(tmp_path) == FILES
    assert stocked.log.sent("cdn") <= 1.1 * SIZE + 64 * MIB


@pytest.mark.parametrize("seed", [1, 2])
def test_processes_that_are_killed_at_random_and_replaced_end_with_right_bytes(
    stocked: Hub, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311
    slow = {"AIM_BANDWIDTH": "12M"}
    runs = [shard(stocked, tmp_path, index, 4, **slow) for index in range(4)]
    for kill in range(1, 4):
        assert eventually(lambda kill=kill: stocked.log.sent("cdn") > kill * 20 * MIB)  # type: ignore[misc]
        index = chance.randrange(4)
        os.killpg(runs[index].pid, signal.SIGKILL)
        finish(runs[index])
        runs[index] = shard(stocked, tmp_path, index, 4, **slow)
    results = [finish(run) for run in runs]
    assert [result.status for result in results] == [0] * 4, [result.stderr for result in results]
    assert model(tmp_path) == FILES
    assert stocked.log.sent("cdn") <= 1.1 * SIZE + 3 * 64 * MIB


def test_one_process_continues_what_several_have_begun(stocked: Hub, tmp_path: Path) -> None:
    slow = {"AIM_BANDWIDTH": "8M"}
    runs = [shard(stocked, tmp_path, index, 3, **slow) for index in range(3)]
    assert eventually(lambda: len(done_ranges(tmp_path)) >= 2)
    for process in runs:
        os.killpg(process.pid, signal.SIGKILL)
    for process in runs:
        finish(process)
    done = sum(done_ranges(tmp_path))
    stocked.log.clear()
    own = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER"}
    result = run("download", "hf://org/model", tmp_path, extra=own)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == FILES
    assert stocked.log.sent("cdn") <= SIZE - SMALL - done


def test_a_process_that_comes_when_all_is_done_fetches_nothing(stocked: Hub, tmp_path: Path) -> None:
    assert finish(shard(stocked, tmp_path, 0, 1)).status == 0
    sent = stocked.log.sent("cdn")
    late = finish(shard(stocked, tmp_path, 6, 7))
    assert late.status == 0
    assert "nothing had to be fetched" in late.stderr
    assert stocked.log.sent("cdn") == sent


def test_a_process_of_another_artifact_waits(stocked: Hub, tmp_path: Path) -> None:
    held = Held()
    stocked.faults.add(held, route="cdn", offset=40 * MIB, times=FOREVER)
    first = shard(stocked, tmp_path, 0, 2)
    assert eventually(lambda: bool(member_logs(tmp_path)))
    own = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER", "AIM_HF_INCLUDE": "*.json"}
    other = start("download", "hf://org/model", tmp_path, "--shard", "1/2", extra=own)
    assert eventually(lambda: stocked.log.sent("cdn") > 8 * MIB)
    assert len(member_logs(tmp_path)) == 1
    held.go_on.set()
    assert finish(first).status == 0
    assert finish(other).status == 0
    assert model(tmp_path) == FILES


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"AIM_SHARD": "4/4"}, "AIM_SHARD: '4/4' is not I/N"),
        ({"AIM_DOWNLOADER_SHARDS": "2"}, "JOB_COMPLETION_INDEX is not"),
        ({"AIM_DOWNLOADER_SHARDS": "2", "JOB_COMPLETION_INDEX": "2"}, "AIM_DOWNLOADER_SHARDS only 2"),
    ],
    ids=["no such shard", "no Indexed Job", "more pods than shards"],
)
def test_numbers_that_do_not_fit_together_are_refused(
    stocked: Hub, tmp_path: Path, variables: dict[str, str], words: str
) -> None:
    result = run("download", "hf://org/model", tmp_path, extra={"HF_ENDPOINT": stocked.endpoint, **variables})
    assert result.status == 78
    assert words in result.last_line


def test_pods_of_an_indexed_job_need_no_option(stocked: Hub, tmp_path: Path) -> None:
    own = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER", "AIM_DOWNLOADER_SHARDS": "2"}
    runs = [
        start("download", "hf://org/model", tmp_path, extra={**own, "JOB_COMPLETION_INDEX": str(index)})
        for index in range(2)
    ]
    assert [finish(run).status for run in runs] == [0, 0]
    assert model(tmp_path) == FILES
    assert eventually(lambda: stocked.log.sent("cdn") == SIZE - SMALL)


def test_the_status_is_the_sum_over_all_pods_by_one_of_them(stocked: Hub, watched: Watched, tmp_path: Path) -> None:
    held = Held()
    stocked.faults.add(held, route="cdn", offset=40 * MIB, times=FOREVER)
    slow = {"AIM_BANDWIDTH": "8M", **watched.environment}
    target = tmp_path / "t"
    runs = [shard(stocked, target, index, 2, **slow) for index in range(2)]
    watched.wait_for_message("(2 processes)")
    held.go_on.set()
    assert [finish(run).status for run in runs] == [0, 0]
    rose_to_the_end(watched)


def test_the_status_goes_on_when_the_process_that_writes_it_is_killed(
    stocked: Hub, watched: Watched, tmp_path: Path
) -> None:
    held = Held()
    stocked.faults.add(held, route="cdn", offset=40 * MIB, times=FOREVER)
    own, target = {"AIM_BANDWIDTH": "8M", **watched.environment}, tmp_path / "t"
    leader = shard(stocked, target, 0, 3, **own)
    assert eventually(lambda: bool(member_logs(target)))
    others = [shard(stocked, target, index, 3, **own) for index in (1, 2)]
    watched.wait_for_message("(3 processes)")
    os.killpg(leader.pid, signal.SIGKILL)
    assert finish(leader).status == -signal.SIGKILL
    watched.wait_for_message("(2 processes)")
    held.go_on.set()
    results = [finish(process) for process in others]
    assert [result.status for result in results] == [0, 0], [result.stderr for result in results]
    rose_to_the_end(watched)


def test_the_status_does_not_fall_either_when_a_new_process_takes_over_at_once(
    stocked: Hub, watched: Watched, tmp_path: Path
) -> None:
    """A pod that is killed and replaced before another one has noticed: it finds the board, and has waited for none."""
    held = Held()
    stocked.faults.add(held, route="cdn", offset=40 * MIB, times=FOREVER)
    own, target = {"AIM_BANDWIDTH": "8M", **watched.environment}, tmp_path / "t"
    leader = shard(stocked, target, 0, 2, **own)
    watched.api.wait_for(lambda: watched.status.get("progress", {}).get("downloadedBytes", 0) > 6 * MIB)
    os.killpg(leader.pid, signal.SIGKILL)
    assert finish(leader).status == -signal.SIGKILL
    held.go_on.set()
    again = shard(stocked, target, 0, 2, **own)
    result = finish(again)
    assert result.status == 0, result.stderr
    rose_to_the_end(watched)


def test_a_process_that_takes_over_after_the_mark_leaves_it_as_it_is(stocked: Hub, tmp_path: Path) -> None:
    """As a leader leaves the volume that is killed between the mark and the clean-up."""
    first = shard(stocked, tmp_path, 0, 2)
    assert finish(first).status == 0
    mark = tmp_path / ".artifact.sha256"
    before = mark.stat().st_ino, mark.read_bytes()
    (tmp_path / ".downloading/parts.dead").mkdir(parents=True)
    (tmp_path / ".downloading/parts.dead/checksums").write_text("half")
    results = [finish(each) for each in [shard(stocked, tmp_path, index, 2) for index in range(2)]]
    assert [result.status for result in results] == [0, 0], [result.stderr for result in results]
    assert (mark.stat().st_ino, mark.read_bytes()) == before
    assert model(tmp_path) == FILES
    assert not (tmp_path / ".downloading").exists()


@pytest.mark.parametrize("protocol", ["XET", "HTTP"])
def test_every_protocol_of_the_hub_is_shared(stocked: Hub, tmp_path: Path, protocol: str) -> None:
    runs = [shard(stocked, tmp_path, index, 3, AIM_DOWNLOADER_PROTOCOL=protocol) for index in range(3)]
    results = [finish(run) for run in runs]
    assert [result.status for result in results] == [0] * 3, [result.stderr for result in results]
    assert model(tmp_path) == FILES
    assert sum(map(received, results)) <= 1.02 * SIZE / MIB + 1


def test_objects_of_a_bucket_are_shared(s3: S3Server, tmp_path: Path) -> None:
    place = in_a_bucket(s3, "shards", FILES)
    runs = [start("download", place.uri, tmp_path, "--shard", f"{index}/3", extra=place.extra) for index in range(3)]
    results = [finish(run) for run in runs]
    assert [result.status for result in results] == [0] * 3, [result.stderr for result in results]
    assert model(tmp_path) == FILES
    assert sum(map(received, results)) <= 1.02 * SIZE / MIB + 1


def test_a_server_that_ignores_ranges_sends_each_file_to_one_process(stocked: Hub, tmp_path: Path) -> None:
    stocked.faults.add(IgnoreRange(), route="cdn", times=FOREVER)
    own = {"AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER,HTTP"}
    results = [finish(each) for each in [shard(stocked, tmp_path, index, 2, **own) for index in range(2)]]
    assert [result.status for result in results] == [0, 0], [result.stderr for result in results]
    assert model(tmp_path) == FILES


def test_a_file_whose_bytes_are_wrong_is_fetched_again_by_all(stocked: Hub, tmp_path: Path) -> None:
    stocked.faults.add(Flip(), route="cdn", offset=50 * MIB, times=1)
    results = [finish(each) for each in [shard(stocked, tmp_path, index, 3) for index in range(3)]]
    assert [result.status for result in results] == [0] * 3, [result.stderr for result in results]
    assert model(tmp_path) == FILES
    assert stocked.log.sent("cdn") <= SIZE + len(FILES["model-00001-of-00003.safetensors"]) + 8 * MIB
    assert sum("downloading it again" in result.stderr for result in results) == 1


@pytest.mark.parametrize("frozen", ["the leader", "another"])
def test_a_process_that_was_frozen_harms_nothing_when_it_wakes(stocked: Hub, tmp_path: Path, frozen: str) -> None:
    held = Held()
    stocked.faults.add(held, route="cdn", offset=40 * MIB, times=FOREVER)
    leader, *others = three_at_work(stocked, tmp_path)
    sleeper = leader if frozen == "the leader" else others[0]
    os.killpg(sleeper.pid, signal.SIGSTOP)
    held.go_on.set()
    results = [finish(process) for process in (leader, *others) if process is not sleeper]
    assert [result.status for result in results] == [0, 0], [result.stderr for result in results]
    before = content(tmp_path)
    os.killpg(sleeper.pid, signal.SIGCONT)
    woken = finish(sleeper)
    assert woken.status in {0, 75}, woken.stderr
    assert content(tmp_path) == before
    assert model(tmp_path) == FILES


def test_one_run_with_several_processes_reports_as_one(stocked: Hub, watched: Watched, tmp_path: Path) -> None:
    own = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER", "AIM_BANDWIDTH": "24M"}
    target = tmp_path / "t"
    result = run("download", "hf://org/model", target, "--processes", "3", extra={**own, **watched.environment})
    assert result.status == 0, result.stderr
    assert model(target) == FILES
    assert eventually(lambda: stocked.log.sent("cdn") == SIZE - SMALL)
    assert received(result) == pytest.approx(SIZE / MIB, rel=0.02)
    assert any("(3 processes)" in message for message in watched.messages())
    rose_to_the_end(watched)


def helpers_of(process: subprocess.Popen[str]) -> list[int]:
    """Return the process ids of the further processes of a run."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command, parent = (path / "cmdline").read_bytes(), (path / "stat").read_text().rpartition(")")[2].split()[1]
            if b"helper_process" in command and int(parent) == process.pid:
                found.append(int(path.name))
    return found


def test_one_that_expects_something_else_counts_no_file_twice(stocked: Hub, tmp_path: Path) -> None:
    leader = shard(stocked, tmp_path, 0, 2, AIM_BANDWIDTH="20M")
    assert eventually(lambda: bool(member_logs(tmp_path)))
    other = shard(stocked, tmp_path, 1, 2, AIM_BANDWIDTH="20M", AIM_EXPECTED_DIGEST=f"sha256:{'0' * 64}")
    assert eventually(lambda: len(member_logs(tmp_path)) == 2)
    assert finish(leader).status == 0
    failed = finish(other)
    assert failed.status == 65
    counts = re.search(r"on the volume, (\d+) of (\d+) files", failed.stderr)
    assert counts is not None, failed.stderr
    assert int(counts[1]) <= int(counts[2]) == len(FILES), failed.stderr
    assert not (tmp_path / ".downloading").exists()
