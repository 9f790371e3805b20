"""`/adapter-stage.sh`: every row of the contract, from each source, with every way to fail."""

from __future__ import annotations

import json
import os
import stat
import time
from typing import TYPE_CHECKING

import pytest

from downloader.adapters.paths import AdapterPaths
from downloader.adapters.promote import restore
from downloader.filesystem import Disk
from tests.adapters.jobs import FILES, SERVICE, AdapterJobs, whole
from tests.adapters.killed import Ext4, Nfs, stage
from tests.command import content, finish, model
from tests.needs import PRIVILEGES, able
from tests.servers.faults import Stall
from tests.servers.s3 import new_bucket, upload
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.certificates import Authority
    from tests.servers.hub import Hub
    from tests.servers.kubernetes import KubernetesServer
    from tests.servers.s3 import S3Server
    from tests.servers.web import WebServer


def test_an_adapter_of_the_hub_becomes_live_with_its_checksums_and_nothing_else(source: str, jobs: AdapterJobs) -> None:
    result = jobs.stage(source)
    assert result.status == 0, result.stderr
    assert model(jobs.live / "lora") == FILES
    assert whole(jobs.live / "lora")
    assert jobs.remains() == []


def test_an_adapter_of_a_bucket_becomes_live(s3: S3Server, jobs: AdapterJobs) -> None:
    bucket = new_bucket(s3.client())
    for path, data in FILES.items():
        upload(s3.client(), bucket, f"loras/x/{path}", data)
    result = jobs.stage(f"s3://{bucket}/loras/x", **s3.environment())
    assert result.status == 0, result.stderr
    assert model(jobs.live / "lora") == FILES


def test_an_adapter_of_a_web_server_becomes_live(
    web: WebServer, web_root: Path, authority: Authority, jobs: AdapterJobs
) -> None:
    folder = web_root / f"lora-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir()
    (folder / "adapter.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")
    result = jobs.stage(f"{web.secure_url}/{folder.name}/adapter.safetensors", AIM_CA_BUNDLE=str(authority.bundle))
    assert result.status == 0, result.stderr
    assert model(jobs.live / "lora") == {"adapter.safetensors": b"\x02" + bytes(7) + b"{}"}


def test_restaging_replaces_the_adapter_as_a_whole(source: str, hub: Hub, jobs: AdapterJobs) -> None:
    jobs.stage(source)
    repository = next(iter(hub.repositories.values()))
    repository.commit({"adapter_config.json": b'{"r": 32}', "tokenizer/added_tokens.json": None, "new.txt": b"new"})
    result = jobs.stage(source, job="job-2")
    assert result.status == 0, result.stderr
    assert model(jobs.live / "lora") == {
        "adapter_config.json": b'{"r": 32}',
        "adapter_model.safetensors": FILES["adapter_model.safetensors"],
        ".hidden": FILES[".hidden"],
        "new.txt": b"new",
    }
    assert jobs.remains() == []


@pytest.mark.parametrize("kind", [Ext4, Nfs])
@pytest.mark.parametrize("there", ["nothing", "folder", "file", "symlink", "empty folder"])
def test_whatever_is_in_the_adapters_place_is_replaced_and_not_followed(
    jobs: AdapterJobs, kind: type[Disk], there: str
) -> None:
    place = jobs.disk / "service/lora"
    jobs.plant("elsewhere/precious", "service/other/file")
    if there == "folder":
        jobs.plant("service/lora/old/file")
    elif there == "file":
        jobs.plant("service/lora")
    elif there == "symlink":
        place.symlink_to("../elsewhere")
    elif there == "empty folder":
        place.mkdir()
    stage(kind, jobs.disk, "base", "job-1")
    assert sorted(content(place)) == ["adapter_config.json", "adapter_model.safetensors"]
    assert not place.is_symlink()
    assert (jobs.disk / "elsewhere/precious").is_file()
    assert jobs.remains() == []


def test_nothing_is_under_the_service_until_the_adapter_is_complete(source: str, hub: Hub, jobs: AdapterJobs) -> None:
    hub.faults.add(Stall(seconds=1.5), route="cdn", offset=1 << 20)
    process = jobs.start_stage(source)
    seen: set[str] = set()
    while process.poll() is None:
        seen |= {path.name for path in jobs.disk.iterdir()}
        assert not (jobs.live / "lora").exists() or whole(jobs.live / "lora")
    assert finish(process).status == 0
    assert ".staging" in seen


def test_the_service_folder_stays_the_very_same_one(source: str, jobs: AdapterJobs) -> None:
    jobs.sync("")
    before = jobs.live.stat().st_ino
    jobs.stage(source)
    jobs.stage(source, job="job-2")
    jobs.sync("other")
    assert jobs.live.stat().st_ino == before


def test_all_users_may_read_what_is_promoted_whatever_the_umask(source: str, jobs: AdapterJobs) -> None:
    before = os.umask(0o077)
    try:
        process = jobs.start_stage(source)
    finally:
        os.umask(before)
    assert finish(process).status == 0
    for path in [jobs.live, *jobs.live.rglob("*")]:
        wanted = 0o755 if path.is_dir() else 0o644
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_what_the_hub_tool_leaves_in_folders_does_not_belong_to_an_adapter(s3: S3Server, jobs: AdapterJobs) -> None:
    bucket = new_bucket(s3.client())
    for path in ("adapter.safetensors", ".cache/huggingface/download/adapter.safetensors.metadata"):
        upload(s3.client(), bucket, f"x/{path}", path.encode())
    result = jobs.stage(f"s3://{bucket}/x", **s3.environment())
    assert result.status == 0, result.stderr
    assert sorted(content(jobs.live / "lora")) == [".artifact.sha256", "adapter.safetensors"]


def test_a_staged_symlink_is_refused(source: str, hub: Hub, jobs: AdapterJobs) -> None:
    hub.faults.add(Stall(seconds=2), route="cdn", offset=1 << 20)
    process = jobs.start_stage(source)
    assert eventually(lambda: bool(list(jobs.disk.glob(".staging/*/*/adapter.*/.downloading"))))
    (next(jobs.disk.glob(".staging/*/*/adapter.*")) / "sneaky").symlink_to("/etc/passwd")
    result = finish(process)
    assert result.status == 74
    assert "symlink" in result.last_line
    assert "refusing to promote" in result.last_line
    assert not (jobs.live / "lora").exists()
    assert jobs.remains() == []


def test_a_replaced_adapter_that_cannot_be_removed_is_left_to_the_reaper(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = AdapterJobs(tmp_path / "pod")
    jobs.plant("service/lora/stuck")

    def fault(doing: str) -> None:
        if doing.startswith("removing") and doing.endswith("stuck"):
            raise OSError(16, "busy")

    stage(Disk, jobs.disk, "base", "job-1", fault)
    assert "the reaper will retry" in caplog.text
    assert not list(jobs.disk.glob(".staging/*"))
    assert jobs.reap("service").status == 0
    assert jobs.remains() == []


def test_what_is_half_removed_is_not_put_back(jobs: AdapterJobs) -> None:
    place = AdapterPaths(SERVICE, "lora-a", "job", "token")
    jobs.plant(f"{place.aside}/.gone.1/file")
    with Disk(jobs.disk, create=False) as disk:
        restore(disk, place)
        assert disk.stat(place.live) is None
        jobs.plant(f"{place.aside}/1/file")
        restore(disk, place)
    assert [path.name for path in (jobs.disk / place.live).iterdir()] == ["file"]
    assert (jobs.disk / place.aside / ".gone.1").is_dir()


def test_a_service_folder_on_another_file_system_is_named_before_anything_is_fetched(jobs: AdapterJobs) -> None:
    able("unshare", "-rm", "sh", "-c", f"mount -t tmpfs none '{jobs.disk}'", get=PRIVILEGES)
    for folder in (".staging", SERVICE):
        (jobs.disk / folder).mkdir()
    mount = f'mount -t tmpfs none "$ADAPTER_PVC_ROOT/{SERVICE}" && exec "{jobs.folder}/adapter-stage.sh" hf://a/b'
    (jobs.folder / "mounted.sh").write_text(f"#!/bin/sh\nexec unshare --user --map-root-user --mount sh -c '{mount}'\n")
    (jobs.folder / "mounted.sh").chmod(0o755)
    result = finish(jobs.start("mounted.sh", SERVICE_ID=SERVICE, ADAPTER_PATH="lora", HF_ENDPOINT="http://127.0.0.1:9"))
    assert result.status == 74, result.stderr
    assert "different file systems" in result.last_line
    assert "mount the whole adapter disk" in result.last_line


def test_no_status_is_patched(source: str, jobs: AdapterJobs, kubernetes: KubernetesServer) -> None:
    kubernetes.create_artifact("default", "lora")
    result = jobs.stage(
        source,
        ARTIFACT_NAME="lora",
        ARTIFACT_NAMESPACE="default",
        KUBERNETES_SERVICE_HOST="127.0.0.1",
        KUBERNETES_SERVICE_PORT="1",
    )
    assert result.status == 0, result.stderr
    assert kubernetes.exchanges == []
    assert "warning" not in result.stderr


def test_the_termination_message_tells_how_far_it_came(source: str, jobs: AdapterJobs) -> None:
    message = jobs.folder / "termination"
    message.touch()
    result = jobs.stage(source + "-nowhere", AIM_TERMINATION_LOG=str(message))
    assert result.status == 66, result.stderr
    assert f": {source}-nowhere: not listed, " in message.read_text()


def test_a_simulated_adapter_needs_no_network(jobs: AdapterJobs) -> None:
    started = time.monotonic()
    result = jobs.stage(
        "hf://org/lora",
        HF_ENDPOINT="http://127.0.0.1:9",
        AIM_DEBUG_SIMULATE_PROMOTE="yes",
        AIM_DEBUG_DOWNLOAD_DURATION="1",
        ADAPTER_BASE_MODEL_ID="org/base",
        ADAPTER_RANK="8",
    )
    assert result.status == 0, result.stderr
    assert time.monotonic() - started >= 1
    files = content(jobs.live / "lora")
    assert sorted(files) == ["adapter_config.json", "adapter_model.safetensors"]
    assert json.loads(files["adapter_config.json"]) == {"base_model_name_or_path": "org/base", "r": 8}
    assert len(files["adapter_model.safetensors"]) == 8 << 10


def test_a_simulation_has_the_contracts_defaults(jobs: AdapterJobs) -> None:
    started = time.monotonic()
    result = jobs.stage("hf://org/lora", AIM_DEBUG_SIMULATE_PROMOTE="1", ADAPTER_RANK="no number", JOB_ID="")
    assert result.status == 0, result.stderr
    assert time.monotonic() - started >= 2
    config = json.loads((jobs.live / "lora/adapter_config.json").read_text())
    assert config == {"base_model_name_or_path": "unknown", "r": 16}


def test_the_longest_names_of_kubernetes_fit(jobs: AdapterJobs) -> None:
    name = "a" * 253
    result = jobs.stage(
        "hf://o/l", adapter=name, job="j" * 63, AIM_DEBUG_SIMULATE_PROMOTE="1", AIM_DEBUG_DOWNLOAD_DURATION="0"
    )
    assert result.status == 0, result.stderr
    assert (jobs.live / name / "adapter_config.json").is_file()
