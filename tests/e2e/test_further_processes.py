"""The further processes of one run: they end with it, and their death costs neither bytes nor bandwidth."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from downloader.runs.helpers import REPLACED
from tests.command import comes_to, finish, member_logs, model, start
from tests.e2e.test_shards import FILES, helpers_of
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Held
from tests.servers.relay import Relay
from tests.servers.s3 import new_bucket
from tests.waiting import eventually

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server
    from tests.servers.web import WebServer

    Several = tuple[subprocess.Popen[str], list[int], Held]


MIB = 1 << 20
LIMIT = 6_000_000
"""Bytes per second of all processes together."""
WINDOW = 6.0
"""Seconds over which the rate of a process is taken: ten times as long as a process takes to say what it has got."""


def is_running(pid: int) -> bool:
    with suppress(OSError):
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture
def several(stocked: Hub, tmp_path: Path) -> Several:
    """A run with three processes, all of which are at work, and what holds it there."""
    held = Held()
    stocked.faults.add(held, route="cdn", offset=40 * MIB, times=FOREVER)
    own = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER", "STALL_TIMEOUT": "600"}
    process = start("download", "hf://org/model", tmp_path, "--processes", "3", extra=own)
    assert eventually(lambda: len(member_logs(tmp_path)) == 3)
    return process, helpers_of(process), held


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_one_that_is_ended_by_a_signal_is_replaced(several: Several, tmp_path: Path, signum: signal.Signals) -> None:
    process, helpers, held = several
    assert len(helpers) == 2
    os.kill(helpers[0], signum)
    assert eventually(lambda: len(member_logs(tmp_path)) == 4)
    assert len(helpers_of(process)) == 2
    held.go_on.set()
    result = finish(process)
    assert result.status == 0, result.stderr
    said = [line for line in result.stderr.splitlines() if "a further process was ended by" in line]
    assert len(said) == 1
    assert f"ended by {signum.name}" in said[0]
    assert said[0].endswith("; another one takes its place")
    assert ("memory runs out" in said[0]) is (signum is signal.SIGKILL)
    assert model(tmp_path) == FILES
    assert not any(map(is_running, helpers))


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_none_outlives_its_run(several: Several, tmp_path: Path, signum: signal.Signals) -> None:
    process, helpers, held = several
    process.send_signal(signum)
    result = finish(process)
    assert result.status == (143 if signum is signal.SIGTERM else -signal.SIGKILL)
    assert eventually(lambda: not any(map(is_running, helpers)))
    assert "takes its place" not in result.stderr
    held.go_on.set()
    assert not (tmp_path / ".artifact.sha256").exists()


@pytest.fixture
def endless(web: WebServer, web_root: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run with three processes that takes longer than any test."""
    with (web_root / "endless.bin").open("wb") as file:
        file.truncate(1 << 33)
    own = {"AIM_BANDWIDTH": str(LIMIT), "AIM_LEASE_TTL": "3"}
    process = start("download", f"{web.url}/endless.bin", tmp_path, "--processes", "3", extra=own)
    assert eventually(lambda: len(member_logs(tmp_path)) == 3)
    yield process
    if process.poll() is None:
        process.kill()
        finish(process)


def counted(target: Path) -> dict[str, int]:
    """Return how many bytes each process says it has received; the one that has started the others counts theirs."""
    found = {}
    for path in member_logs(target):
        beats = [line for line in path.read_text().splitlines() if '["beat",' in line]
        found[path.name] = int(beats[-1].rpartition(",")[2].rstrip("]")) if beats else 0
    return found


def parts(target: Path) -> list[float]:
    """Return the parts of the limit that processes use, over a while."""
    before, begun = counted(target), time.monotonic()
    time.sleep(WINDOW)
    after, seconds = counted(target), time.monotonic() - begun
    return [(count - before.get(name, 0)) / seconds / LIMIT for name, count in after.items()]


@pytest.mark.slow
def test_one_that_dies_each_time_leaves_its_bandwidth_to_the_others(
    endless: subprocess.Popen[str], tmp_path: Path
) -> None:
    mortal, other = helpers_of(endless)
    for replaced in range(1, REPLACED + 2):
        os.kill(mortal, signal.SIGKILL)
        if replaced <= REPLACED:
            assert comes_to(endless, lambda replaced=replaced: len(member_logs(tmp_path)) == 3 + replaced)  # type: ignore[misc]
            (mortal,) = {*helpers_of(endless)} - {other}
    # No process ever uses more than its part, however idle the machine is: a third, and half when two are left.
    shown: list[list[float]] = []

    def have_all() -> bool:
        shown.append(sorted(parts(tmp_path))[-2:])
        return shown[-1][0] > 0.42 and shown[-1][1] > 0.92

    assert eventually(have_all), shown
    assert helpers_of(endless) == [other]
    endless.send_signal(signal.SIGTERM)
    result = finish(endless)
    assert result.status == 143
    assert result.stderr.count("another one takes its place") == REPLACED
    assert result.stderr.count("it is not replaced any more") == 1


@pytest.mark.parametrize("pod", [(), ("--shard", "0/2")], ids=["one run", "a pod"])
def test_they_work_on_what_is_listed_again(s3: S3Server, tmp_path: Path, pod: tuple[str, ...]) -> None:
    old, new = (Noise(48 * MIB, seed=seed).bytes() for seed in (211, 212))
    client = s3.client()
    bucket = new_bucket(client)
    client.put_object(Bucket=bucket, Key="m/model.bin", Body=old)
    before, after = Held(), Held()
    with Relay(s3.endpoint) as relay:
        relay.faults.add(before, route="object", method="GET", offset=MIB, times=FOREVER)
        own = {**s3.environment(), "AWS_ENDPOINT_URL": relay.endpoint, "STALL_TIMEOUT": "600", "AIM_LEASE_TTL": "3"}
        process = start("download", f"s3://{bucket}/m", tmp_path, "--processes", "3", *pod, extra=own)
        assert comes_to(process, lambda: len(member_logs(tmp_path)) == 3)
        first = helpers_of(process)
        client.put_object(Bucket=bucket, Key="m/model.bin", Body=new)
        relay.faults.clear()
        relay.faults.add(after, route="object", method="GET", offset=MIB, times=FOREVER)
        before.go_on.set()
        assert comes_to(process, lambda: len({*helpers_of(process)} - {*first}) == 2)
        assert comes_to(process, lambda: len(member_logs(tmp_path)) >= 3)
        after.go_on.set()
        result = finish(process)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"model.bin": new}
