"""The debug switches of the operator's end-to-end suite, on whole processes that patch a real API server's status."""

from __future__ import annotations

import itertools
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from downloader.artifact import TransferProtocol
from downloader.cancellation import Cancellation
from downloader.errors import Category, NoSpace, Stalled
from downloader.progress import ProgressMeter, StallWatchdog
from downloader.simulation import RoomyDisk, SlowLooks
from downloader.volume import Volume
from tests.command import Result, finish, model, start
from tests.contract.operator_log import BOTH_STATES, filed
from tests.waiting import AT_LAST, Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.servers.hub import Hub
    from tests.servers.kubernetes import KubernetesServer
    from tests.servers.kubernetes_pod import Pod

URI = "hf://test-org/test-model"
STALL_TIMEOUT = 1.0
INTERVAL = 0.2
HUB = {"AIM_DEBUG_SIMULATE_HF_DOWNLOAD": "true", "AIM_DEBUG_SIMULATE_HF_DURATION": "0.1"}
PODS = 3
BACKOFF = 10 + 20
"""Seconds that the Job controller waits before the second and the third pod."""
SLOWER = (1, 4, 16)
"""What happens in seconds is tried again so many times slower, until the machine is fast enough to show it."""


@dataclass
class Job:
    """A download Job of the operator: every pod gets the same volume, environment and artifact."""

    api: KubernetesServer
    pod: Pod
    folder: Path
    uri: str = URI
    seconds: float = 0.0
    """How long the last pod ran."""
    undisturbed: float = 0.0
    """The same without the time in which the machine was busy."""
    name: str = "llama"

    def another(self, number: int) -> Job:
        """Return a Job for another artifact, with a volume of its own."""
        name = f"llama-{number}"
        self.api.create_artifact("models", name)
        return Job(self.api, self.pod, self.folder.with_name(name), self.uri, name=name)

    def begin(self, *, module: Sequence[str] = ("downloader",), **extra: str) -> subprocess.Popen[str]:
        own = {
            "TARGET_DIR": str(self.folder),
            "ARTIFACT_NAME": self.name,
            "ARTIFACT_NAMESPACE": "models",
            "AIM_SERVICE_ACCOUNT": str(self.pod.service_account),
            "AIM_DOWNLOADER_PROTOCOL": "XET,HF_TRANSFER",
            "STALL_TIMEOUT": str(STALL_TIMEOUT),
            "PROGRESS_INTERVAL": str(INTERVAL),
        }
        return start("download", self.uri, extra={**self.pod.environment, **own, **extra}, module=module)

    def start_pod(self, **extra: str) -> Result:
        started = Stopwatch()
        result = finish(self.begin(**extra))
        self.seconds, self.undisturbed = started.seconds, started.undisturbed
        return result

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.api.artifact("models", self.name)["status"]
        return status

    @property
    def attempt(self) -> dict[str, Any]:
        return {name: value for name, value in self.status["download"].items() if name != "message"}

    @property
    def history(self) -> list[dict[str, Any]]:
        return [state["progress"] for state in self.api.history("models", self.name)]

    @property
    def told(self) -> list[str]:
        """The messages about a volume that does not answer, one after the other; "" where there was none."""
        messages = [progress.get("message", "") for progress in self.history]
        return [message for message, _ in itertools.groupby(messages)]

    def moment(self, condition: Callable[[dict[str, Any]], bool]) -> float:
        """Return when a status was first patched for which this holds."""
        return next(at for at, status in self._patches() if condition(status))

    @property
    def end(self) -> float:
        return self._patches()[-1][0]

    def _patches(self) -> list[tuple[float, dict[str, Any]]]:
        own = [exchange for exchange in self.api.exchanges if self.name in exchange.request.parts]
        return [(exchange.at, exchange.request.json["status"]) for exchange in own]


def attempted(status: dict[str, Any]) -> bool:
    return bool(status["download"]["attempt"])


def complete(status: dict[str, Any]) -> bool:
    return bool(status["progress"]["percentage"] == 100)


@pytest.fixture
def job(api: KubernetesServer, pod: Pod, tmp_path: Path) -> Job:
    return Job(api, pod, tmp_path / "volume")


SECOND_OF_TWO = {"protocol": "HTTP", "attempt": 2, "totalAttempts": 2, "protocolSequence": "XET,HTTP"}


def test_where_the_first_protocol_fails_the_second_brings_it(job: Job) -> None:
    fails = {"AIM_DOWNLOADER_PROTOCOL": "XET,HTTP", "AIM_DEBUG_SIMULATE_HF_FAIL_PROTOCOLS": "XET"}
    result = job.start_pod(**HUB, **fails, EXPECTED_SIZE_BYTES="102400")
    assert result.status == 0, result.stderr
    assert job.attempt == SECOND_OF_TWO
    assert job.status["progress"]["percentage"] == 100
    assert model(job.folder) == {"simulated_data": bytes(100 << 10)}


def test_where_both_protocols_fail_each_pod_fails_and_shows_the_last_attempt(job: Job) -> None:
    fails = {"AIM_DOWNLOADER_PROTOCOL": "XET,HTTP", "AIM_DEBUG_SIMULATE_HF_FAIL_PROTOCOLS": "XET,HTTP"}
    for _ in range(PODS):
        result = job.start_pod(**HUB, **fails)
        assert result.status == 69, result.stderr
        assert [filed(result.stderr, newest=newest) for newest in BOTH_STATES] == [Category.OTHER] * 2
        assert job.attempt == SECOND_OF_TWO
        assert job.status["progress"]["percentage"] < 100
    assert model(job.folder) == {}


def test_where_both_protocols_hang_the_watchdog_ends_each_and_three_pods_fail_within_180_seconds(job: Job) -> None:
    hang = {"AIM_DOWNLOADER_PROTOCOL": "XET,HTTP", "AIM_DEBUG_SIMULATE_HF_HANG_PROTOCOLS": "XET,HTTP"}
    result = job.start_pod(**HUB, **hang)
    assert result.status == 75, result.stderr
    assert job.attempt == SECOND_OF_TWO
    beyond_the_stalls = job.seconds - 2 * STALL_TIMEOUT
    assert PODS * (2 * 8 + beyond_the_stalls) + BACKOFF < 180


def test_after_a_protocol_that_hangs_the_next_one_brings_it(job: Job) -> None:
    hang = {"AIM_DOWNLOADER_PROTOCOL": "XET,HTTP", "AIM_DEBUG_SIMULATE_HF_HANG_PROTOCOLS": "XET"}
    result = job.start_pod(**hang, AIM_DEBUG_SIMULATE_HF_DURATION="0")
    assert result.status == 0, result.stderr
    assert job.attempt == SECOND_OF_TWO
    assert "no byte arrived over XET" in result.stderr


def test_a_protocol_that_hangs_no_longer_than_is_borne_goes_on(job: Job) -> None:
    hang = {"AIM_DEBUG_SIMULATE_HF_HANG_PROTOCOLS": "XET", "AIM_DEBUG_SIMULATE_HF_HANG_DURATION": "0.2"}
    result = job.start_pod(**HUB, **hang, STALL_TIMEOUT="60")
    assert result.status == 0, result.stderr
    assert job.attempt == {
        "protocol": "XET",
        "attempt": 1,
        "totalAttempts": 2,
        "protocolSequence": "XET,HF_TRANSFER",
    }


@pytest.mark.parametrize("uri", [URI, "s3://bucket/model"])
def test_a_run_in_which_no_byte_ever_arrives_ends_after_the_stall_timeout(job: Job, uri: str) -> None:
    job.uri = uri
    result = job.start_pod(AIM_DEBUG_CAUSE_HANG="true")
    assert result.status == 75, result.stderr
    assert job.status["progress"]["downloadedBytes"] == 0
    assert job.undisturbed < STALL_TIMEOUT + 10
    assert job.end - job.moment(attempted) < STALL_TIMEOUT + INTERVAL + AT_LAST


def test_a_failure_comes_at_once_and_is_filed_as_nothing_special(job: Job) -> None:
    job.uri = "https://host.invalid/model.bin"
    result = job.start_pod(AIM_DEBUG_CAUSE_FAILURE="1", STALL_TIMEOUT="600")
    assert result.status == 69, result.stderr
    assert job.seconds < AT_LAST
    assert "AIM_DEBUG_CAUSE_FAILURE" in result.last_line
    assert [filed(result.stderr, newest=newest) for newest in BOTH_STATES] == [Category.OTHER] * 2


SIMULATED = {"AIM_DEBUG_SIMULATE_DOWNLOAD": "true"}


def test_a_simulated_download_shows_half_then_all_then_a_verification_at_100_percent(job: Job) -> None:
    job.uri = "hf://gpt2"
    for slower in SLOWER:
        job = job.another(slower)
        duration = {"AIM_DEBUG_DOWNLOAD_DURATION": str(1.5 * slower), "AIM_DEBUG_VERIFY_DURATION": str(slower)}
        result = job.start_pod(**SIMULATED, **duration, EXPECTED_SIZE_BYTES="1048576", STALL_TIMEOUT="0.5")
        assert result.status == 0, result.stderr
        percentages = [progress["percentage"] for progress in job.history]
        assert sorted(percentages) == percentages
        downloading, verifying = job.moment(complete) - job.moment(attempted), job.end - job.moment(complete)
        if 50 in percentages and min(downloading, verifying) > 0.3:
            break
    assert {"percentage": 50, "downloadedBytes": 524288, "totalBytes": 1048576}.items() <= next(
        progress.items() for progress in job.history if progress["percentage"]
    )
    assert percentages[-1] == 100
    assert downloading > 0.3
    assert verifying > 0.3
    assert job.seconds > 2.5
    assert model(job.folder) == {"simulated_data": bytes(1048576)}
    subprocess.run(["sha256sum", "-c", "--quiet", ".artifact.sha256"], cwd=job.folder, check=True)


def test_a_failing_verification_comes_after_100_percent_in_every_pod(job: Job) -> None:
    switches = {**SIMULATED, "AIM_DEBUG_DOWNLOAD_DURATION": "0", "AIM_DEBUG_VERIFY_DURATION": "0.5"}
    for _ in range(PODS):
        result = job.start_pod(**switches, AIM_DEBUG_VERIFY_FAIL="true")
        assert result.status == 65, result.stderr
        assert job.status["progress"]["percentage"] == 100
    assert not (job.folder / ".artifact.sha256").exists()


def test_a_simulation_that_was_interrupted_goes_on_with_the_other_half(job: Job) -> None:
    size = 64 << 20
    verified = {"AIM_DEBUG_SIMULATE_DOWNLOAD": "1", "AIM_DEBUG_VERIFY_DURATION": "0", "EXPECTED_SIZE_BYTES": str(size)}
    first = job.begin(**verified, AIM_DEBUG_DOWNLOAD_DURATION="600")
    job.api.wait_for(lambda: any(progress.get("percentage") == 50 for progress in job.history))
    first.send_signal(signal.SIGTERM)
    assert finish(first).status == 143
    assert job.status["progress"]["percentage"] == 50
    result = job.start_pod(**verified, AIM_DEBUG_DOWNLOAD_DURATION="0.1")
    assert result.status == 0, result.stderr
    assert "32.0 MiB received" in result.stderr
    subprocess.run(["sha256sum", "-c", "--quiet", ".artifact.sha256"], cwd=job.folder, check=True)


def test_a_simulated_file_takes_next_to_no_room_whatever_its_size(job: Job) -> None:
    size = 1 << 30
    quick = {"AIM_DEBUG_DOWNLOAD_DURATION": "0", "AIM_DEBUG_VERIFY_DURATION": "0"}
    result = job.start_pod(**{**SIMULATED, **quick}, EXPECTED_SIZE_BYTES=str(size))
    assert result.status == 0, result.stderr
    found = (job.folder / "simulated_data").stat()
    assert found.st_size == size
    assert found.st_blocks * 512 < 1 << 20


def test_a_simulation_may_be_larger_than_the_volume(tmp_path: Path) -> None:
    with Volume(tmp_path) as real, pytest.raises(NoSpace):
        real.require_space(1 << 60, 1)
    with Volume(tmp_path, files=RoomyDisk(tmp_path)) as volume:
        volume.require_space(1 << 60, 1)


def test_a_volume_that_answers_late_is_told_once_and_cleared_when_it_answers(job: Job, hub: Hub) -> None:
    hub.create("org/model").commit({"config.json": b"{}", "weights/model.bin": bytes(5 << 20)})
    job.uri = "hf://org/model"
    for slower in SLOWER:
        job = job.another(slower)
        late = ["tests.slow_volume", str(1.6 * slower), "1"]
        extra = {"DU_TIMEOUT": str(0.5 * slower), "HF_ENDPOINT": hub.endpoint}
        result = finish(job.begin(**extra, AIM_DOWNLOADER_PROTOCOL="HTTP", STALL_TIMEOUT="60", module=late))
        assert result.status == 0, result.stderr
        told = job.told
        if len(told) == 3:
            break
    assert len(told) == 3
    assert "has not answered" in told[1]
    assert told[0] == told[2] == ""
    assert sorted(model(job.folder)) == ["config.json", "weights/model.bin"]


HANGING_LOOKS = {"AIM_DEBUG_SIMULATE_DU_HANG_SECONDS": "600", "AIM_DEBUG_SIMULATE_DU_HANG_CALLS": "9999"}


def test_looks_of_the_monitor_that_never_end_are_told_and_delay_nothing(job: Job) -> None:
    size = {"EXPECTED_SIZE_BYTES": "1048576"}
    for slower in SLOWER:
        job = job.another(slower)
        duration = {"AIM_DEBUG_DOWNLOAD_DURATION": str(1.5 * slower), "AIM_DEBUG_VERIFY_DURATION": "0.2"}
        looks = {**HANGING_LOOKS, "DU_TIMEOUT": str(0.5 * slower)}
        result = job.start_pod(**SIMULATED, **duration, **size, **looks, STALL_TIMEOUT="30")
        assert result.status == 0, result.stderr
        told = job.told
        if told[0] == "" and len(told) > 2 and 50 in [progress["percentage"] for progress in job.history]:
            break
    assert told[0] == told[-1] == ""
    assert "the volume has not answered" in told[1]
    assert f"looking at {job.folder}" in told[1]
    assert job.status["progress"]["percentage"] == 100
    assert "message" not in job.status["progress"]
    assert model(job.folder) == {"simulated_data": bytes(1048576)}


def test_looks_of_the_monitor_do_not_hold_up_a_download_in_earnest(job: Job, hub: Hub) -> None:
    hub.create("org/model").commit({"config.json": b"{}", "weights/model.bin": bytes(5 << 20)})
    job.uri = "hf://org/model"
    extra = {**HANGING_LOOKS, "HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HTTP"}
    result = job.start_pod(**extra)
    assert result.status == 0, result.stderr
    assert sorted(model(job.folder)) == ["config.json", "weights/model.bin"]


def test_a_volume_that_never_answers_is_waited_for_until_the_deadline(job: Job, hub: Hub) -> None:
    hub.create("org/model").commit({"config.json": b"{}"})
    job.uri = "hf://org/model"
    for slower in SLOWER:
        job = job.another(slower)
        extra = {"DU_TIMEOUT": "0.3", "AIM_DEADLINE": str(3 * slower), "HF_ENDPOINT": hub.endpoint}
        result = finish(job.begin(**extra, STALL_TIMEOUT="0.5", module=["tests.slow_volume", "600", "1"]))
        assert result.status == 75, result.stderr
        assert "deadline" in result.last_line
        told = job.told
        if len(told) > 1:
            break
    assert "has not answered" in " ".join(told)
    assert told[-1] == ""


def test_the_number_of_looks_that_hang_can_be_told() -> None:
    now = 0.0
    looks = SlowLooks("/cache", 7.0, 3, pause=1.0, clock=lambda: now)
    seen = []
    for moment in range(30):
        now = moment
        seen.append(looks.oldest() is not None)
    assert seen == [*([True] * 7 + [False]) * 3, *[False] * 6]


@pytest.mark.parametrize(("stuck_volume", "stalled"), [("", True), ("the volume has not answered for 9 s", False)])
def test_the_stall_clock_rests_while_the_volume_does_not_answer(stuck_volume: str, stalled: bool) -> None:  # noqa: FBT001
    seconds = itertools.count()
    meter, attempt = ProgressMeter(lambda: next(seconds)), Cancellation()
    watchdog = StallWatchdog(meter, timeout=8)
    meter.begin_attempt(TransferProtocol.XET, 1, (TransferProtocol.XET,), "")
    watchdog.guard(attempt)
    with meter.waiting_for_network():
        for _ in range(12):
            watchdog.check(meter.snapshot(stuck_volume))
    assert isinstance(attempt.reason, Stalled) == stalled


def test_a_malformed_switch_is_named(job: Job) -> None:
    result = job.start_pod(**HUB, AIM_DEBUG_SIMULATE_HF_FAIL_PROTOCOLS="XET,FTP")
    assert result.status == 78
    assert "AIM_DEBUG_SIMULATE_HF_FAIL_PROTOCOLS" in result.last_line
