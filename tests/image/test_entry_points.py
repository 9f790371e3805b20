"""The entry points of KServe and of the adapter Jobs, run on the image as their pods do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.command import content, model
from tests.image.container import OPERATOR, STRANGER, Containers, volume
from tests.servers.s3 import fill_bucket

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server

FILES = {"config.json": b"{}", "model.safetensors": bytes(300_000)}
ADAPTER = {"adapter_config.json": b"{}", "adapter_model.safetensors": bytes(8192)}
USERS = pytest.mark.parametrize("user", [OPERATOR, STRANGER], ids=["operator", "stranger"])


@USERS
def test_the_entry_point_of_kserve_brings_every_pair(
    user: str, hub: Hub, s3: S3Server, containers: Containers, tmp_path: Path
) -> None:
    hub.create("org/model").commit(FILES)
    bucket = f"kserve-{user.partition(':')[0]}"
    fill_bucket(s3.client(), bucket, {f"model/{path}": data for path, data in FILES.items()})
    result = containers.run(
        *("hf://org/model:main", "/mnt/models/hub", f"s3://{bucket}/model", "/mnt/models/bucket"),
        entry_point="/storage-initializer/scripts/initializer-entrypoint",
        user=user,
        environment={"HF_ENDPOINT": hub.endpoint, **s3.environment()},
        mounts={volume(tmp_path / "volume", user): "/mnt/models"},
    )
    assert result.status == 0, result.stderr
    assert model(tmp_path / "volume/hub") == model(tmp_path / "volume/bucket") == FILES


@USERS
def test_an_adapter_is_staged_undeclared_and_reaped(
    user: str, hub: Hub, containers: Containers, tmp_path: Path
) -> None:
    hub.create("org/adapter").commit(ADAPTER)
    disk = volume(tmp_path / "disk", user)

    def run_entry_point(entry_point: str, *arguments: str, **extra: str) -> None:
        environment = {"HF_ENDPOINT": hub.endpoint, "ADAPTER_PVC_ROOT": "/adapter-disk", **extra}
        mounts = {disk: "/adapter-disk"}
        result = containers.run(*arguments, entry_point=entry_point, user=user, environment=environment, mounts=mounts)
        assert result.status == 0, result.stderr

    run_entry_point("/adapter-stage.sh", "hf://org/adapter", SERVICE_ID="service", ADAPTER_PATH="lora", JOB_ID="1")
    assert content(disk / "service/lora").items() >= ADAPTER.items()
    run_entry_point("/adapter-subtree-sync.sh", SERVICE_ID="service", KEEP_ADAPTER_PATHS="")
    assert content(disk) == {}
    assert (disk / "service").is_dir()
    run_entry_point("/adapter-reap.sh", KEEP_SERVICE_IDS="", MIN_AGE_SECONDS="0")
    assert not (disk / "service").exists()
