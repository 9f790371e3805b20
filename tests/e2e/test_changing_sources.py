"""The source changes under us: what lands is one version or the other, never a mixture.

A file of a web server that is replaced half-way is in tests/faults/test_web_servers.py.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.command import content, finish, model, run, start
from tests.servers.blobs import Noise
from tests.servers.broken import Meanwhile
from tests.servers.faults import FOREVER
from tests.servers.relay import Relay
from tests.servers.s3 import new_bucket
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server

MIB = 1 << 20
SIZE = 16 * MIB
OLD = {"config.json": b"old", "model.safetensors": Noise(SIZE, seed=61).bytes(), "same.bin": b"same"}
NEW = {"config.json": b"new", "model.safetensors": Noise(SIZE, seed=62).bytes(), "same.bin": b"same"}
KEY = "m/model.safetensors"
ONE_BY_ONE = {"AIM_CONNECTIONS": "1", "AIM_S3_MULTIPART_CHUNKSIZE_MB": "5", "STALL_TIMEOUT": "30"}
"""One range after the other, with long timeouts for a server that is slow to store."""


@pytest.mark.parametrize("protocol", ["XET", "HF_TRANSFER", "HTTP"])
def test_a_commit_during_the_run_has_no_effect_on_it(protocol: str, hub: Hub, tmp_path: Path) -> None:
    repository = hub.create("org/model")
    first = repository.commit(OLD)
    extra = {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "h"),
        "AIM_DOWNLOADER_PROTOCOL": protocol,
        "AIM_BANDWIDTH": "20M",
    }
    process = start("download", "hf://org/model", tmp_path / "t", extra=extra)
    assert eventually(lambda: bool(hub.log.records("cdn") or hub.log.records("xorb")))
    second = repository.commit(NEW)
    assert finish(process).status == 0
    assert model(tmp_path / "t") == OLD
    assert first in (tmp_path / "t" / ".artifact.sha256").read_text()
    hub.log.clear()
    result = run("download", "hf://org/model", tmp_path / "t", extra={**extra, "AIM_BANDWIDTH": ""})
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == NEW
    assert second in (tmp_path / "t" / ".artifact.sha256").read_text()
    assert hub.log.records("resolve", path="*/same.bin") == []


def test_a_run_that_was_killed_before_a_commit_is_finished_at_the_new_one(hub: Hub, tmp_path: Path) -> None:
    repository = hub.create("org/model")
    repository.commit(OLD)
    extra = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER", "AIM_BANDWIDTH": "20M"}
    process = start("download", "hf://org/model", tmp_path, extra=extra)
    assert eventually(lambda: hub.log.sent("cdn") > 8 * MIB)
    os.killpg(process.pid, 9)
    finish(process)
    repository.commit(NEW)
    assert run("download", "hf://org/model", tmp_path, extra={**extra, "AIM_BANDWIDTH": ""}).status == 0
    assert set(content(tmp_path)) == {*NEW, ".artifact.sha256"}
    assert model(tmp_path) == NEW


@pytest.mark.parametrize("protocol", ["S3", "HTTP"])
@pytest.mark.parametrize("versions", [False, True], ids=["without versions", "with versions"])
def test_an_object_that_is_replaced_half_way_is_never_mixed(
    s3: S3Server, tmp_path: Path, protocol: str, *, versions: bool
) -> None:
    client = s3.client()
    bucket = new_bucket(client)
    if versions:
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    client.put_object(Bucket=bucket, Key=KEY, Body=OLD["model.safetensors"])
    with Relay(s3.endpoint) as relay:
        replace = Meanwhile(lambda: client.put_object(Bucket=bucket, Key=KEY, Body=NEW["model.safetensors"]))
        # The first is one range, or a presigned address, which moto answers with 500 when it checks signatures.
        relay.faults.add(replace, route="object", method="GET", skip=1)
        extra = {**s3.environment(), "AWS_ENDPOINT_URL": relay.endpoint, "AIM_DOWNLOADER_PROTOCOL": protocol}
        result = run("download", f"s3://{bucket}/m", tmp_path, extra={**extra, **ONE_BY_ONE})
    assert result.status == 0, result.stderr
    # A stream that had begun brings the old version to its end, and so does a source that can name the version.
    expected = OLD if versions or protocol == "HTTP" else NEW
    assert (tmp_path / "model.safetensors").read_bytes() == expected["model.safetensors"]
    assert ("changed" in result.stderr) == (expected is NEW)


def test_an_object_that_changes_all_the_time_is_given_up(s3: S3Server, tmp_path: Path) -> None:
    client = s3.client()
    bucket = new_bucket(client)
    client.put_object(Bucket=bucket, Key=KEY, Body=OLD["model.safetensors"])
    turns = iter(range(1000))

    def replace() -> None:
        client.put_object(Bucket=bucket, Key=KEY, Body=Noise(SIZE, seed=next(turns)).bytes())

    with Relay(s3.endpoint) as relay:
        relay.faults.add(Meanwhile(replace), route="object", method="GET", times=FOREVER)
        extra = {**s3.environment(), "AWS_ENDPOINT_URL": relay.endpoint, **ONE_BY_ONE}
        result = run("download", f"s3://{bucket}/m", tmp_path, extra=extra)
    assert result.status == 65, result.stderr
    assert not (tmp_path / "model.safetensors").exists()


def test_an_object_that_is_deleted_half_way_ends_as_missing(s3: S3Server, tmp_path: Path) -> None:
    client = s3.client()
    bucket = new_bucket(client)
    client.put_object(Bucket=bucket, Key=KEY, Body=OLD["model.safetensors"])
    with Relay(s3.endpoint) as relay:
        delete = Meanwhile(lambda: client.delete_object(Bucket=bucket, Key=KEY))
        relay.faults.add(delete, route="object", method="GET", skip=1)
        extra = {**s3.environment(), "AWS_ENDPOINT_URL": relay.endpoint, **ONE_BY_ONE}
        result = run("download", f"s3://{bucket}/m", tmp_path, extra=extra)
    assert result.status == 66, result.stderr
    assert not (tmp_path / "model.safetensors").exists()
