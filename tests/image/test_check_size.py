"""The entry point that the operator reads a size from: the last line of both streams merged, or no such line at all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.image.container import OPERATOR, STRANGER, Containers, volume
from tests.servers.s3 import fill_bucket

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server

ENTRY_POINT = "/check-size.sh"
FILES = {"config.json": b"{}", "model.safetensors": bytes(3_000_000), "onnx/model.onnx": bytes(500_000)}


@pytest.mark.parametrize("user", [OPERATOR, STRANGER], ids=["operator", "stranger"])
def test_the_last_line_of_the_merged_log_is_the_size(hub: Hub, containers: Containers, user: str) -> None:
    hub.create("org/model").commit(FILES)
    # No HOME that can be written, as in the operator's pod.
    environment = {"HF_ENDPOINT": hub.endpoint, "HOME": "/", "AIM_LOG_LEVEL": "debug"}
    pod = containers.start("hf://org/model", entry_point=ENTRY_POINT, user=user, environment=environment)
    assert pod.result().status == 0
    lines = pod.log().splitlines()
    assert json.loads(lines[-1]) == {"url": "hf://org/model", "sizeBytes": 3_500_002}
    assert len(lines) > 1


def test_both_streams_are_one_so_that_nothing_can_overtake_the_size(hub: Hub, containers: Containers) -> None:
    hub.create("org/model").commit(FILES)
    result = containers.run("hf://org/model", entry_point=ENTRY_POINT, environment={"HF_ENDPOINT": hub.endpoint})
    assert len(result.stdout.splitlines()) > 1
    assert result.stderr == ""


def test_the_size_is_what_a_download_with_the_same_filters_brings(
    hub: Hub, s3: S3Server, containers: Containers, tmp_path: Path
) -> None:
    hub.create("org/model").commit(FILES)
    fill_bucket(s3.client(), "check-size", {f"model/{path}": data for path, data in FILES.items()})
    for number, uri in enumerate(["hf://org/model", "s3://check-size/model"]):
        environment = {"HF_ENDPOINT": hub.endpoint, **s3.environment(), "AIM_HF_EXCLUDE": "*/*"}
        size = json.loads(
            containers.run(uri, entry_point=ENTRY_POINT, environment=environment).stdout.splitlines()[-1]
        )["sizeBytes"]
        folder = volume(tmp_path / str(number))
        containers.run(uri, environment=environment, mounts={folder: "/cache"})
        assert size == 3_000_002
        assert size == sum(path.stat().st_size for path in folder.glob("*") if path.name != ".artifact.sha256")


@pytest.mark.parametrize(
    ("uri", "status"), [("hf://org/nothing", 66), ("s3://nothing-is-here/m", 66), ("nonsense", 64)]
)
def test_a_failure_prints_no_size(hub: Hub, s3: S3Server, containers: Containers, uri: str, status: int) -> None:
    pod = containers.start(uri, entry_point=ENTRY_POINT, environment={"HF_ENDPOINT": hub.endpoint, **s3.environment()})
    assert pod.result().status == status
    assert "sizeBytes" not in pod.log()
    assert "{" not in pod.log().splitlines()[-1]
