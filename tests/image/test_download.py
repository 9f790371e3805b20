"""The download Job on the image: each kind of source, each kind of user, and every way to fail."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from downloader.errors import Category
from tests.command import model, run
from tests.contract.operator_log import BOTH_STATES, filed
from tests.image.container import OPERATOR, STRANGER, Containers, volume
from tests.image.job import BUNDLE, Job
from tests.servers.blobs import Noise
from tests.servers.published import Place, in_a_bucket, in_a_web_folder, on_the_hub

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server
    from tests.servers.web import WebServer

FILES = {
    "config.json": b'{"model_type": "test"}',
    "model-00001-of-00002.safetensors": Noise(20 << 20, seed=1).bytes(),
    "model-00002-of-00002.safetensors": Noise(9_000_001, seed=2).bytes(),
    ".hidden/notes.txt": b"hidden files are files",
    "tokenizer/tokenizer.json": Noise(300_000, seed=3).bytes(),
}
SIZE = sum(map(len, FILES.values()))
EVERY_USER = pytest.mark.parametrize("job", [OPERATOR, STRANGER], indirect=True, ids=["operator", "stranger"])


PROTOCOLS = {"hf": "XET", "s3": "S3", "https": "RANGES"}
"""What brings an artifact of each scheme."""


@pytest.fixture(params=PROTOCOLS)
def place(request: pytest.FixtureRequest, hub: Hub, s3: S3Server, web: WebServer, web_root: Path) -> Place:
    """The same artifact behind each scheme."""
    name = f"{request.param}-{hashlib.sha256(request.node.name.encode()).hexdigest()[:12]}"
    if request.param == "hf":
        return on_the_hub(hub, FILES)
    if request.param == "s3":
        return in_a_bucket(s3, name, FILES)
    return in_a_web_folder(web, web_root / name, FILES, BUNDLE)


@EVERY_USER
def test_a_job_brings_the_artifact_and_shows_it_in_the_status(place: Place, job: Job) -> None:
    result = job.run(place.uri, place.extra)
    assert result.status == 0, result.stderr
    assert model(job.volume) == FILES
    assert (job.volume / ".artifact.sha256").exists() == (not place.uri.startswith("s3://"))
    # Of an s3:// volume of the operator the list is in extended attributes.
    listed = run("checksums", job.volume)
    subprocess.run(["sha256sum", "-c", "--quiet", "-"], cwd=job.volume, input=listed.stdout, text=True, check=True)
    assert job.status["progress"]["percentage"] == 100
    assert job.status["progress"]["totalBytes"] == job.status["progress"]["downloadedBytes"] == SIZE
    assert job.status["download"]["protocol"] == PROTOCOLS[place.uri.partition(":")[0]]
    assert job.status["download"]["attempt"] == 1
    assert job.termination_message.startswith("downloaded (exit status 0)")


def test_a_second_pod_leaves_everything_as_it_is(place: Place, job: Job) -> None:
    job.run(place.uri, place.extra)
    before = identities(job.volume)
    assert job.run(place.uri, place.extra).status == 0
    assert identities(job.volume) == before


def identities(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return what changes when a file is written or replaced."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("protocol", ["XET", "HF_TRANSFER"])
def test_a_model_larger_than_the_memory_limit_is_brought(protocol: str, hub: Hub, job: Job) -> None:
    content = Noise(300 << 20, seed=4)
    hub.create("org/model").commit({"model.safetensors": content})
    result = job.run("hf://org/model", {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": protocol})
    assert result.status == 0, result.stderr
    subprocess.run(["sha256sum", "-c", "--quiet", ".artifact.sha256"], cwd=job.volume, check=True)
    digest = hashlib.sha256()
    for piece in content.pieces():
        digest.update(piece)
    assert f"{digest.hexdigest()}  model.safetensors" in (job.volume / ".artifact.sha256").read_text()


@pytest.mark.parametrize("protocol", ["XET", "HF_TRANSFER", "HTTP"])
def test_many_small_files_need_few_processes(protocol: str, hub: Hub, job: Job) -> None:
    files = {f"part-{number:03}.json": b"%d" % number for number in range(300)}
    hub.create("org/many").commit(files)
    result = job.run("hf://org/many", {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": protocol})
    assert result.status == 0, result.stderr
    assert model(job.volume) == files


@dataclass
class Failure:
    """A way to fail, and what the pod must end with."""

    uri: str
    extra: Mapping[str, str]
    status: int
    category: Category


FAILURES = {
    "no such model": Failure("hf://org/nothing", {}, 66, Category.NOT_FOUND),
    "no such bucket": Failure("s3://nothing-is-here/model", {}, 66, Category.NOT_FOUND),
    "gated model": Failure("hf://org/gated", {}, 77, Category.DENIED),
    "wrong keys": Failure("s3://private/model", {"AWS_SECRET_ACCESS_KEY": "wrong"}, 77, Category.DENIED),
    "not a URI": Failure("ftp://host/model", {}, 64, Category.OTHER),
    "not an environment": Failure("hf://org/model", {"STALL_TIMEOUT": "soon"}, 78, Category.OTHER),
    "no server": Failure("hf://org/model", {"HF_ENDPOINT": "http://127.0.0.1:1"}, 69, Category.OTHER),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failed_pod_says_why_in_status_log_and_termination_message(
    name: str, hub: Hub, s3: S3Server, job: Job
) -> None:
    failure = FAILURES[name]
    hub.create("org/model").commit(FILES)
    hub.create("org/gated", gated=True).commit(FILES)
    pod = job.start(
        failure.uri, {"HF_ENDPOINT": hub.endpoint, **s3.environment(), "STALL_TIMEOUT": "4", **failure.extra}
    )
    assert pod.result().status == failure.status
    for newest in BOTH_STATES:
        assert filed(pod.log(), newest=newest) is failure.category, pod.log()
    if failure.status != 78:
        assert f"failed (exit status {failure.status})" in job.termination_message
    assert not model(job.volume).keys() & FILES.keys()


def test_a_volume_without_room_ends_as_storage_full(hub: Hub, containers: Containers) -> None:
    hub.create("org/model").commit(FILES)
    environment = {"HF_ENDPOINT": hub.endpoint, "TARGET_DIR": "/small"}
    pod = containers.start("hf://org/model", environment=environment, options=["--tmpfs=/small:size=8m,mode=0777"])
    assert pod.result().status == 73
    assert filed(pod.log(), newest=True) is Category.STORAGE_FULL


def test_what_is_on_a_volume_is_verified_without_a_network(hub: Hub, containers: Containers, tmp_path: Path) -> None:
    hub.create("org/model").commit(FILES)
    mounts = {volume(tmp_path / "volume"): "/cache"}
    assert containers.run("hf://org/model", environment={"HF_ENDPOINT": hub.endpoint}, mounts=mounts).status == 0
    hub.close()
    assert containers.run("verify", mounts=mounts).status == 0
    (tmp_path / "volume/config.json").write_bytes(b'{"model_type": "tset"}')
    assert containers.run("verify", mounts=mounts).status == 65
