"""Process 1 of the container is the command: it gets the signals, answers them in time, and buries its children."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.command import model
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Silence, Stall
from tests.waiting import AT_LAST, Stopwatch

if TYPE_CHECKING:
    from tests.image.container import Container, Containers
    from tests.image.job import Job
    from tests.servers.hub import Hub

FILES = {"config.json": b"{}", "model.safetensors": Noise(160 << 20, seed=5).bytes()}
HALF = 80 << 20
UNJOURNALLED = 40 << 20
"""More than what may have to be fetched again: what is written between two lines of the journal, and in flight."""
SETTINGS = {"AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER", "AIM_LEASE_TTL": "3"}


@pytest.fixture
def half_way(hub: Hub, job: Job) -> Container:
    """A pod that has brought half of the model and waits for the rest."""
    hub.create("org/model").commit(FILES)
    hub.faults.add(Stall(), route="cdn", offset=HALF, times=FOREVER)
    pod = job.start("hf://org/model", {**SETTINGS, "HF_ENDPOINT": hub.endpoint})
    job.cluster.wait_for(lambda: job.status.get("progress", {}).get("downloadedBytes", 0) >= HALF - (8 << 20), 20)
    return pod


def test_the_command_is_process_1_and_has_no_shell_around_it(half_way: Container) -> None:
    first = half_way.processes()[0]
    assert "/opt/venv/bin/artifact-downloader download hf://org/model" in first
    assert "sh " not in first.partition("python")[0]


def test_sigterm_ends_the_pod_with_143_and_the_next_one_resumes(half_way: Container, hub: Hub, job: Job) -> None:
    signalled = Stopwatch()
    half_way.signal("TERM")
    result = half_way.result()
    assert result.status == 143, result.stderr
    assert signalled.undisturbed < 10
    assert signalled.seconds < AT_LAST
    assert "failed (exit status 143)" in job.termination_message
    assert "SIGTERM" in job.status["download"]["message"]
    assert not (job.volume / "model.safetensors").exists()
    assert resumed(job, hub) < len(FILES["model.safetensors"]) - HALF + UNJOURNALLED


def resumed(job: Job, hub: Hub) -> int:
    """Run another pod on the same volume, with nothing in its way; return how many bytes it fetched."""
    hub.faults.clear()
    hub.log.clear()
    result = job.run("hf://org/model", {**SETTINGS, "HF_ENDPOINT": hub.endpoint})
    assert result.status == 0, result.stderr
    assert model(job.volume) == FILES
    return hub.log.sent("cdn")


def test_sigterm_ends_a_pod_whose_xet_child_hangs(hub: Hub, job: Job) -> None:
    hub.create("org/model").commit(FILES)
    hub.faults.add(Silence(), route="xorb", times=FOREVER)
    pod = job.start("hf://org/model", {"HF_ENDPOINT": hub.endpoint})
    job.cluster.wait_for(lambda: len(pod.processes()) > 1, 20)
    pod.signal("TERM")
    assert pod.result().status == 143


def test_no_dead_child_stays_behind(hub: Hub, job: Job) -> None:
    hub.create("org/model").commit(FILES)
    hub.faults.add(Silence(), route="xorb", times=FOREVER)
    hub.faults.add(Silence(), route="cdn", times=FOREVER)
    pod = job.start("hf://org/model", {"HF_ENDPOINT": hub.endpoint, "STALL_TIMEOUT": "3"})
    job.cluster.wait_for(lambda: job.status.get("download", {}).get("protocol") == "HF_TRANSFER", 30)
    assert len(pod.processes()) == 1


def test_sigint_ends_the_pod_with_130(half_way: Container) -> None:
    half_way.signal("INT")
    assert half_way.result().status == 130


def test_sigkill_leaves_a_volume_that_is_resumed_as_well(half_way: Container, hub: Hub, job: Job) -> None:
    half_way.signal("KILL")
    assert half_way.result().status == 137
    assert resumed(job, hub) < len(FILES["model.safetensors"]) - HALF + UNJOURNALLED


def test_sigterm_ends_a_check_size_pod_with_143(hub: Hub, containers: Containers) -> None:
    hub.create("org/model").commit(FILES)
    hub.faults.add(Silence(), route="api", times=FOREVER)
    pod = containers.start("hf://org/model", entry_point="/check-size.sh", environment={"HF_ENDPOINT": hub.endpoint})
    while not hub.log.records("api"):
        time.sleep(0.05)
    pod.signal("TERM")
    assert pod.result().status == 143
    assert "sizeBytes" not in pod.log()


def test_a_signal_right_after_the_start_is_not_lost(hub: Hub, job: Job) -> None:
    hub.create("org/model").commit(FILES)
    hub.faults.add(Silence(), route="api", times=FOREVER)
    for _ in range(3):
        pod = job.start("hf://org/model", {"HF_ENDPOINT": hub.endpoint, "STALL_TIMEOUT": "60"})
        pod.signal("TERM")
        assert pod.result().status == 143
