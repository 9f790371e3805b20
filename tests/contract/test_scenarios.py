"""The operator's end-to-end suite, scenario by scenario, with its assertions: on our API server and on a real one.

What lasts minutes there lasts seconds here: durations are scaled, the code that they go through is the same. Those
with a bucket are in `test_s3_scenarios.py`.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from downloader.errors import Category
from tests.adapters.jobs import SERVICE, AdapterJobs
from tests.command import content, model
from tests.contract.job import BACKOFF, PODS, Job, Watch
from tests.contract.operator_log import BOTH_STATES, filed
from tests.servers.blobs import Noise
from tests.servers.clusters import KINDS, start
from tests.servers.s3 import fill_bucket, new_bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.command import Result
    from tests.servers.hub import Hub
    from tests.servers.kubernetes_pod import Cluster
    from tests.servers.s3 import S3Server

    JobMaker = Callable[..., Job]

NAMES = (f"scenario-{number}" for number in itertools.count())
QUICK = {"PROGRESS_INTERVAL": "0.1", "STALL_TIMEOUT": "30"}
HUB = {"AIM_DEBUG_SIMULATE_HF_DOWNLOAD": "true", "AIM_DEBUG_SIMULATE_HF_DURATION": "0.1"}
SECOND_OF_TWO = {"protocol": "HTTP", "attempt": 2, "totalAttempts": 2, "protocolSequence": "XET,HTTP"}
SIMULATED = {"AIM_DEBUG_SIMULATE_DOWNLOAD": "true", "EXPECTED_SIZE_BYTES": "1048576"}
SLOWER = (1, 4, 16)
"""What happens in seconds is tried again so many times slower, until the machine is fast enough to show it."""
STALL = 1.0


@pytest.fixture(scope="module", params=KINDS)
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with start(request.param, tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def job(cluster: Cluster, tmp_path: Path) -> JobMaker:
    """Makes Jobs, each for an artifact of its own."""

    def make(uri: str, **settings: str) -> Job:
        name = next(NAMES)
        return Job(cluster, name, tmp_path / name, uri, {**QUICK, **settings})

    return make


def other(result: Result) -> bool:
    """Tell whether both states of the operator file this failed pod as nothing special."""
    return [filed(result.stderr, newest=newest) for newest in BOTH_STATES] == [Category.OTHER] * 2


def test_a_protocol_that_fails_is_followed_by_the_next(job: JobMaker) -> None:
    made = job("hf://gpt2", **HUB, AIM_DOWNLOADER_PROTOCOL="XET,HTTP", AIM_DEBUG_SIMULATE_HF_FAIL_PROTOCOLS="XET")
    assert made.run().status == 0
    assert made.attempt == SECOND_OF_TWO
    assert made.status["progress"]["percentage"] == 100


def test_protocols_that_all_fail_leave_a_failed_pod_and_the_last_attempt(job: JobMaker) -> None:
    both = {"AIM_DOWNLOADER_PROTOCOL": "XET,HTTP", "AIM_DEBUG_SIMULATE_HF_FAIL_PROTOCOLS": "XET,HTTP"}
    made = job("hf://gpt2", **HUB, **both)
    result = made.run()
    assert (result.status, other(result)) == (69, True)
    assert made.attempt == SECOND_OF_TWO
    assert made.status["progress"]["percentage"] < 100


def test_protocols_that_all_hang_fail_within_180_seconds(job: JobMaker) -> None:
    both = {"AIM_DOWNLOADER_PROTOCOL": "XET,HTTP", "AIM_DEBUG_SIMULATE_HF_HANG_PROTOCOLS": "XET,HTTP"}
    made = job("hf://gpt2", **HUB, **both, STALL_TIMEOUT=str(STALL))
    result = made.run()
    assert (result.status, other(result)) == (75, True)
    assert made.attempt == SECOND_OF_TWO
    assert PODS * (2 * 8 + made.undisturbed - 2 * STALL) + BACKOFF < 180


def test_a_failure_fails_the_pod_at_once(job: JobMaker) -> None:
    made = job("hf://gpt2", AIM_DEBUG_CAUSE_FAILURE="true")
    result = made.run()
    assert (result.status, other(result)) == (69, True)


def test_stall_detection(job: JobMaker) -> None:
    """Progressing within 60 s, one failed pod 90 s later, all three within 240 s; there a stall takes 15 s."""
    made = job("hf://gpt2", AIM_DEBUG_CAUSE_HANG="true", STALL_TIMEOUT=str(STALL))
    with Watch(made.cluster, made.name) as watch:
        began = time.monotonic()
        results = [made.run() for _ in range(PODS)]
    assert [(result.status, other(result)) for result in results] == [(75, True)] * PODS
    first = next(at for at, status in watch.states if status.get("download", {}).get("attempt"))
    assert first - began < 60
    assert 15 + made.undisturbed - STALL < 90
    assert PODS * (15 + made.undisturbed - STALL) + BACKOFF < 240
    assert max(progress.get("percentage", 0) for progress in watch.progress) == 0
    assert "no byte arrived" in made.status["download"]["message"]


def test_du_hang_warning(job: JobMaker) -> None:
    """FilesystemStalled, and Ready all the same: the look that never returns delays nothing."""
    looks = {"AIM_DEBUG_SIMULATE_DU_HANG_SECONDS": "600", "AIM_DEBUG_SIMULATE_DU_HANG_CALLS": "9999"}
    for slower in SLOWER:
        times = {"AIM_DEBUG_DOWNLOAD_DURATION": str(2.0 * slower), "AIM_DEBUG_VERIFY_DURATION": str(0.25 * slower)}
        made = job("hf://gpt2", **SIMULATED, **times, **looks, DU_TIMEOUT=str(0.25 * slower))
        with Watch(made.cluster, made.name) as watch:
            result = made.run()
        assert result.status == 0, result.stderr
        stalled = [progress for progress in watch.progress if progress.get("message")]
        if stalled and any(progress.get("percentage") == 50 for progress in watch.progress):
            break
    assert all("has not answered" in progress["message"] for progress in stalled)
    assert stalled[0]["percentage"] < 100
    assert any(progress.get("percentage") == 50 for progress in watch.progress)
    assert made.status["progress"] == {
        "totalBytes": 1048576,
        "downloadedBytes": 1048576,
        "percentage": 100,
        "displayPercentage": "100 %",
    }
    assert made.undisturbed - 2.25 * slower < 60


def test_a_simulated_download_is_at_most_99_percent_until_only_its_verification_is_left(job: JobMaker) -> None:
    for slower in SLOWER:
        times = {"AIM_DEBUG_DOWNLOAD_DURATION": str(1.0 * slower), "AIM_DEBUG_VERIFY_DURATION": str(0.8 * slower)}
        made = job("hf://gpt2", **SIMULATED, **times)
        with Watch(made.cluster, made.name) as watch:
            result = made.run()
        assert result.status == 0, result.stderr
        verifying = [status for _, status in watch.states if "verifying" in str(status.get("download", {}))]
        seen = [progress["percentage"] for progress in watch.progress if "percentage" in progress]
        if verifying and 50 in seen:
            break
    assert {status["progress"]["percentage"] for status in verifying} == {100}
    assert seen == sorted(seen)
    assert 50 in seen


def test_a_verification_that_fails_comes_after_100_percent(job: JobMaker) -> None:
    times = {"AIM_DEBUG_DOWNLOAD_DURATION": "0", "AIM_DEBUG_VERIFY_DURATION": "0.2"}
    made = job("hf://gpt2", **SIMULATED, **times, AIM_DEBUG_VERIFY_FAIL="true")
    result = made.run()
    assert (result.status, other(result)) == (65, True)
    assert made.status["progress"]["percentage"] == 100


def test_a_repository_that_is_missing_and_one_that_is_gated(job: JobMaker, hub: Hub) -> None:
    hub.create("org/gated", gated=True, members={"alice"}).commit({"a.bin": b"a"})
    for uri, category in (("hf://org/nothing", Category.NOT_FOUND), ("hf://org/gated", Category.DENIED)):
        made = job(uri, HF_ENDPOINT=hub.endpoint)
        pods = [made.run() for _ in range(PODS)]
        for pod in pods:
            assert [filed(pod.stderr, newest=newest) for newest in BOTH_STATES] == [category] * 2
        assert made.status["progress"]["percentage"] == 0


def test_a_check_size_pod_that_fails_is_filed_as_itself(job: JobMaker, hub: Hub) -> None:
    result = job("hf://org/nothing", HF_ENDPOINT=hub.endpoint).check_size()
    assert result.status == 66
    assert [filed(result.stdout, newest=newest) for newest in BOTH_STATES] == [Category.NOT_FOUND] * 2
    assert "sizeBytes" not in result.stdout


FILES: dict[str, bytes] = {
    ".gitattributes": b"*.bin filter=lfs\n",
    "config.json": b"{}",
    "model.bin": Noise(3 << 20, seed=21).bytes(),
    "onnx/model.bin": Noise(2 << 20, seed=22).bytes(),
    "onnx/deep/notes.txt": b"notes",
}
ROOT = {path for path in FILES if "/" not in path}


def size_of(job: Job) -> int:
    """Run check-size and return what the operator reads from it."""
    result = job.check_size()
    assert result.status == 0, result.stdout
    last: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    assert last["url"] == job.uri
    return int(last["sizeBytes"])


def test_a_filtered_repository_is_smaller_and_has_no_subfolders(job: JobMaker, hub: Hub) -> None:
    hub.create("org/model").commit(FILES)
    whole = job("hf://org/model", HF_ENDPOINT=hub.endpoint)
    filtered = job("hf://org/model", HF_ENDPOINT=hub.endpoint, AIM_HF_EXCLUDE="*/*")
    sizes = {}
    for made, wanted in ((whole, set(FILES)), (filtered, ROOT)):
        sizes[made.name] = size_of(made)
        result = made.run(EXPECTED_SIZE_BYTES=str(sizes[made.name]))
        assert result.status == 0, result.stderr
        assert model(made.volume).keys() == wanted
        assert sizes[made.name] == sum(len(FILES[path]) for path in wanted)
        assert made.status["progress"]["totalBytes"] == sizes[made.name]
    assert sizes[filtered.name] < sizes[whole.name]
    assert [path for path in filtered.volume.iterdir() if path.is_dir()] == []


def used(folder: Path) -> str:
    """Return what `du -sb` says of a folder."""
    return subprocess.run(["du", "-sb", "."], cwd=folder, capture_output=True, text=True, check=True).stdout


def test_a_volume_that_went_through_s3_comes_back_the_same(job: JobMaker, hub: Hub, s3: S3Server) -> None:
    """Its finished volume is uploaded, downloaded again as an s3:// artifact, and compared."""
    hub.create("org/model").commit(FILES)
    there = job("hf://org/model", HF_ENDPOINT=hub.endpoint)
    assert there.run().status == 0
    bucket = new_bucket(s3.client())
    uploaded = content(there.volume)
    fill_bucket(s3.client(), bucket, {f"models/x/{path}": data for path, data in uploaded.items()})
    back = job(f"s3://{bucket}/models/x", **s3.environment())
    size = size_of(back)
    result = back.run(EXPECTED_SIZE_BYTES=str(size))
    assert result.status == 0, result.stderr
    assert content(back.volume) == uploaded
    assert used(back.volume) == used(there.volume)
    assert size == sum(map(len, model(there.volume).values()))
    subprocess.run(["sha256sum", "-c", "--quiet", ".artifact.sha256"], cwd=back.volume, check=True)


SLOW_IMPORTS = """
import sys, threading, time
from importlib.abc import MetaPathFinder
class Slow(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in ("botocore", "kubernetes", "urllib3"):
            with open({seen!r}, "a") as seen:
                print(threading.current_thread().name, file=seen)
            time.sleep(0.003)
sys.meta_path.insert(0, Slow())
"""
"""Takes its time with each module of the two trees that urllib3 is part of, and tells which thread asks for it."""


def test_the_status_and_a_bucket_load_their_libraries_one_after_the_other(job: JobMaker, s3: S3Server) -> None:
    """Side by side, one of them was once given a half of urllib3."""
    bucket = new_bucket(s3.client())
    fill_bucket(s3.client(), bucket, {"x/config.json": b"{}"})
    made = job(f"s3://{bucket}/x", **s3.environment())
    seen = made.folder / "seen"
    (made.folder / "sitecustomize.py").write_text(SLOW_IMPORTS.format(seen=str(seen)))
    result = made.run(PYTHONPATH=str(made.folder))
    assert result.status == 0, result.stderr
    assert made.status["progress"]["percentage"] == 100
    importing = [thread for thread, _ in itertools.groupby(seen.read_text().split())]
    assert sorted(importing) == ["engine", "status"], importing


def test_adapters_longhorn_rename(tmp_path: Path) -> None:
    """Staged twice, undeclared and reaped: each step is a rename on the shared volume that readers have open."""
    jobs = AdapterJobs(tmp_path)
    promote = {"AIM_DEBUG_SIMULATE_PROMOTE": "true", "AIM_DEBUG_DOWNLOAD_DURATION": "0.1"}
    for adapter, job_id in (("first", "job-1"), ("second", "job-2")):
        result = jobs.stage("hf://org/lora", adapter, job_id, **promote, ADAPTER_BASE_MODEL_ID="org/model")
        assert result.status == 0, result.stderr
        assert (jobs.live / adapter / "adapter_model.safetensors").stat().st_size == 8 << 10
    config = json.loads((jobs.live / "first/adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["r"]) == ("org/model", 16)
    root = jobs.live.stat().st_ino
    with (jobs.live / "first/adapter_config.json").open() as reader:
        again = jobs.stage("hf://org/lora", "first", "job-3", **promote, ADAPTER_RANK="32")
        assert again.status == 0, again.stderr
        assert json.loads(reader.read())["r"] == 16, "a reader that had it open keeps what was there"
    assert json.loads((jobs.live / "first/adapter_config.json").read_text())["r"] == 32
    assert jobs.remains() == []
    assert jobs.sync("second").status == 0
    assert sorted(path.name for path in jobs.live.iterdir()) == ["second"]
    assert jobs.live.stat().st_ino == root, "consumers mount this very folder"
    assert jobs.reap(SERVICE, "0").status == 0
    assert (jobs.live / "second").is_dir()
    assert jobs.reap("", "0").status == 0
    assert not jobs.live.exists()
    assert jobs.remains() == []
