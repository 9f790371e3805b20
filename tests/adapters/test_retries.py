"""`/adapter-stage.sh` over the pods of one Job: what a failed one leaves, and what the next one makes of it."""

from __future__ import annotations

import re
import signal
import time
from typing import TYPE_CHECKING

import pytest

from downloader.adapters.paths import AdapterPaths
from downloader.adapters.stage import Staging
from downloader.filesystem import Disk
from downloader.simulation.adapter import simulate
from tests.adapters.jobs import FILES, SERVICE, AdapterJobs, age, whole
from tests.command import content, finish, model
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Held, Stall
from tests.waiting import AT_LAST, eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.hub import Hub

BIG = 60 << 20


def journalled(jobs: AdapterJobs) -> int:
    """Return how many bytes of large files are noted to be on the disk for certain."""
    journals = [*jobs.disk.glob(".staging/*/*/adapter.*/.downloading/parts.*/*.journal")]
    journals += jobs.disk.glob(".unload-tmp/*/*/partial/.downloading/parts.*/*.journal")
    spans = [re.findall(r'\["bytes",(\d+),(\d+)\]', journal.read_text()) for journal in journals]
    return sum(int(stop) - int(start) for journal in spans for start, stop in journal)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_retry_of_the_job_fetches_only_the_rest(hub: Hub, jobs: AdapterJobs, signum: signal.Signals) -> None:
    data = Noise(BIG, seed=2)
    hub.create("org/big").commit({"adapter_model.safetensors": data})
    jobs.extra = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER"}
    held = Held()
    hub.faults.add(held, route="cdn", offset=50 << 20, times=FOREVER)
    process = jobs.start_stage("hf://org/big", STALL_TIMEOUT="600")
    assert eventually(lambda: hub.log.sent("cdn") > 48 << 20 and journalled(jobs) > 0)
    process.send_signal(signum)
    result = finish(process)
    assert result.status == (143 if signum is signal.SIGTERM else -9)
    if signum is signal.SIGTERM:
        assert not list(jobs.disk.glob(".staging/*")), "staging is removed on every exit"
    assert not jobs.live.exists()
    hub.faults.clear()
    held.go_on.set()
    # What was requested before the kill is answered, and logged, until the server has noticed it.
    assert eventually(lambda: hub.cdn.server.connections == 0)
    hub.log.clear()
    kept = journalled(jobs)
    result = jobs.stage("hf://org/big")
    assert result.status == 0, result.stderr
    assert (jobs.live / "lora/adapter_model.safetensors").read_bytes() == data.bytes()
    assert eventually(lambda: hub.log.sent("cdn") == BIG - kept < BIG)
    assert "an earlier pod" in result.stderr
    assert jobs.remains() == []


def test_what_a_failed_pod_keeps_is_reaped_if_no_retry_comes(hub: Hub, source: str, jobs: AdapterJobs) -> None:
    hub.faults.add(Stall(), route="cdn", offset=1 << 20, times=FOREVER)
    result = jobs.stage(source, STALL_TIMEOUT="1", AIM_DOWNLOADER_PROTOCOL="HF_TRANSFER")
    assert result.status in (69, 75), result.stderr
    assert not list(jobs.disk.glob(".staging/*"))
    assert jobs.remains() != []
    jobs.reap(SERVICE, "1800")
    assert jobs.remains() != [], "a retry may come"
    age(jobs.disk / ".unload-tmp")
    jobs.reap(SERVICE, "1800")
    assert jobs.remains() == []


def test_junk_in_staging_is_not_promoted(source: str, jobs: AdapterJobs) -> None:
    jobs.plant(f".staging/{SERVICE}/lora.job-1/junk", f".staging/{SERVICE}/lora.job-1/adapter.1/junk.safetensors")
    result = jobs.stage(source)
    assert result.status == 0, result.stderr
    assert model(jobs.live / "lora") == FILES
    assert whole(jobs.live / "lora")
    assert jobs.remains() == []


def test_two_pods_of_one_job_take_turns(source: str, hub: Hub, jobs: AdapterJobs) -> None:
    hub.faults.add(Stall(seconds=1), route="cdn", offset=1 << 20)
    pods = [jobs.start_stage(source) for _ in range(2)]
    results = [finish(pod) for pod in pods]
    assert [result.status for result in results] == [0, 0], results
    assert whole(jobs.live / "lora")
    assert not (jobs.live / "lora/.downloading").exists()
    assert jobs.remains() == []


def test_what_a_dead_pod_held_inside_its_download_is_not_waited_for(source: str, jobs: AdapterJobs) -> None:
    jobs.plant(f".staging/{SERVICE}/lora.job-1/adapter.1/.downloading/lease.7")
    started = time.monotonic()
    result = jobs.stage(source, AIM_LEASE_TTL="600")
    assert result.status == 0, result.stderr
    assert time.monotonic() - started < AT_LAST


def test_a_folder_that_is_taken_away_during_the_wait_for_it_is_made_again(tmp_path: Path) -> None:
    place = AdapterPaths("service", "lora", "job", "token")
    held = tmp_path / place.staging
    (held / ".downloading").mkdir(parents=True)
    (held / ".downloading/lease.1").write_text("another pod")

    def waiting(_holder: str, _seconds: float) -> None:
        if held.exists():
            held.rename(tmp_path / "taken")

    with Disk(tmp_path, create=False) as disk:
        staging = Staging(disk, place, ttl=0.2, waiting=waiting, sleep=time.sleep)
        with staging.held("hf://org/lora"):
            staging.promote(simulate(disk, place.download, "hf://org/lora", base_model="base", rank=1))
    assert len(content(tmp_path / "service/lora")) == 2
    assert not held.exists()
    assert not content(tmp_path / "taken")


@pytest.mark.parametrize(
    ("uri", "status", "word"),
    [("hf://org/none", 66, "not found"), ("hf://org/gated", 77, "access denied"), ("ftp://x/y", 64, "failed")],
)
def test_a_failure_that_no_retry_mends_leaves_nothing(
    hub: Hub, jobs: AdapterJobs, uri: str, status: int, word: str
) -> None:
    hub.create("org/gated", gated=True).commit(FILES)
    result = jobs.stage(uri, HF_ENDPOINT=hub.endpoint)
    assert result.status == status, result.stderr
    assert word in result.last_line
    assert jobs.remains() == []
    assert not jobs.live.exists()
