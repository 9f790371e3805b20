"""Where the command marks a finished artifact: what the operator counts on its volumes, and what people find."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from downloader.volume.completion import COMPLETION_ATTRIBUTE, SHA256
from tests.command import PEOPLE, content, run
from tests.needs import extended_attributes
from tests.servers.relay import Relay
from tests.servers.s3 import new_bucket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import Watched
    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server

FILES = {
    "config.json": b"{}",
    ".hidden/notes.txt": b"hidden",
    "model.safetensors": bytes(range(256)) * 800,
    "sub/tokenizer.json": b"t" * 5000,
}


@pytest.fixture(autouse=True)
def _attributes_here(tmp_path: Path) -> None:
    extended_attributes(tmp_path)


@dataclass
class Bucket:
    """An artifact in a bucket, and what was asked for."""

    uri: str
    environment: dict[str, str]
    relay: Relay

    def asked(self) -> list[str]:
        """Return the kinds of requests since the last call."""
        records = self.relay.log.records()
        self.relay.log.clear()
        return [record.route for record in records]


@pytest.fixture
def bucket(s3: S3Server) -> Iterator[Bucket]:
    name = new_bucket(s3.client())
    for path, data in FILES.items():
        s3.client().put_object(Bucket=name, Key=f"m/{path}", Body=data)
    with Relay(s3.endpoint) as relay:
        yield Bucket(f"s3://{name}/m", {**s3.environment(), "AWS_ENDPOINT_URL": relay.endpoint}, relay)


def test_a_volume_of_the_operator_has_the_buckets_files_alone_and_everything_works_on_it(
    bucket: Bucket, watched: Watched, tmp_path: Path
) -> None:
    target, extra = tmp_path / "volume", {**bucket.environment, **watched.environment}
    result = run("download", bucket.uri, target, extra=extra)
    assert result.status == 0, result.stderr
    assert "completion mark: extended attributes, user.aim.sha256 of each file (AIM_COMPLETION=auto)" in result.stderr
    found = subprocess.run(["find", target, "-type", "f"], capture_output=True, text=True, check=True).stdout
    assert len(found.splitlines()) == len(FILES)
    assert content(target) == FILES

    bucket.asked()
    assert run("download", bucket.uri, target, extra=extra).status == 0
    assert bucket.asked() == ["object", "listing"]  # whether the URI names an object, and the folder's version

    data = bytearray(FILES["model.safetensors"])
    data[7] ^= 1
    (target / "model.safetensors").write_bytes(data)
    verified = run("verify", target)
    assert (verified.status, verified.stdout.split(":")[0]) == (65, "damaged model.safetensors")
    assert run("download", bucket.uri, target, extra=extra).status == 0
    assert content(target) == FILES
    assert run("verify", target).status == 0

    (tmp_path / "list").write_text(run("checksums", target).stdout)
    subprocess.run(["sha256sum", "-c", "--strict", "--quiet", str(tmp_path / "list")], cwd=target, check=True)


def test_a_file_that_is_gone_is_fetched_again_although_its_mark_went_with_it(
    bucket: Bucket, watched: Watched, tmp_path: Path
) -> None:
    target, extra = tmp_path / "volume", {**bucket.environment, **watched.environment}
    assert run("download", bucket.uri, target, extra=extra).status == 0
    (target / "sub/tokenizer.json").unlink()
    result = run("download", bucket.uri, target, extra=extra)
    assert result.status == 0, result.stderr
    assert content(target) == FILES


def test_people_find_a_list_beside_what_they_downloaded(bucket: Bucket, tmp_path: Path) -> None:
    result = run("download", bucket.uri, tmp_path, extra={**PEOPLE, **bucket.environment})
    assert "completion mark: .artifact.sha256 (AIM_COMPLETION=auto)" in result.stderr
    assert (tmp_path / ".artifact.sha256").exists()
    assert COMPLETION_ATTRIBUTE not in os.listxattr(tmp_path)
    assert run("checksums", tmp_path).stdout.encode() == (tmp_path / ".artifact.sha256").read_bytes()


@pytest.mark.parametrize(
    ("chosen", "marks"), [("file", (True, False)), ("XATTR", (False, True)), ("none", (False, False))]
)
def test_the_mark_is_where_the_environment_says(
    bucket: Bucket, tmp_path: Path, chosen: str, marks: tuple[bool, bool]
) -> None:
    assert run("download", bucket.uri, tmp_path, extra={**bucket.environment, "AIM_COMPLETION": chosen}).status == 0
    listed, named = (tmp_path / ".artifact.sha256").exists(), SHA256 in os.listxattr(tmp_path / "config.json")
    assert (listed, named) == marks


def test_a_value_that_is_not_among_the_choices_is_named(tmp_path: Path) -> None:
    result = run("download", "hf://org/model", tmp_path, extra={"AIM_COMPLETION": "maybe"})
    assert result.status == 78
    assert "AIM_COMPLETION" in result.last_line


def test_an_artifact_that_went_through_s3_comes_back_the_same(
    hub: Hub, s3: S3Server, watched: Watched, tmp_path: Path
) -> None:
    """As the operator's suite does it: the files, hidden ones too, their checksums, and `du -sb`."""
    hub.create("org/model").commit(FILES)
    first, second = tmp_path / "first", tmp_path / "second"
    assert (
        run("download", "hf://org/model", first, extra={**watched.environment, "HF_ENDPOINT": hub.endpoint}).status == 0
    )
    name = new_bucket(s3.client())
    for path, data in content(first).items():
        s3.client().put_object(Bucket=name, Key=f"m/{path}", Body=data)
    extra = {**watched.environment, **s3.environment()}
    assert run("download", f"s3://{name}/m", second, extra=extra).status == 0
    assert content(first) == content(second)
    assert ".artifact.sha256" in content(second)
    sizes = [subprocess.run(["du", "-sb", str(end)], capture_output=True, check=True).stdout for end in (first, second)]
    assert sizes[0].split()[0] == sizes[1].split()[0]
    subprocess.run(["sha256sum", "-c", "--quiet", ".artifact.sha256"], cwd=second, check=True)
    result = run("download", f"s3://{name}/m", second, extra=extra)
    assert "nothing had to be fetched" in result.stderr
