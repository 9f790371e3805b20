"""The artifact digest: one value for the same bytes, wherever they come from and however they are stored."""

from __future__ import annotations

import hashlib
import json
import subprocess
from typing import TYPE_CHECKING

import pytest

import downloader
from tests.command import PEOPLE, Result, run
from tests.contract.test_kserve import packed
from tests.needs import extended_attributes
from tests.servers.blobs import Noise
from tests.servers.published import checksums
from tests.servers.s3 import fill_bucket, new_bucket

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.broken import BrokenWeb
    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server

FILES = {
    "config.json": b"{}",
    "model.safetensors": Noise(1 << 20, seed=170).bytes(),
    "sub/same.json": b"{}",
    "tokenizer.json": b"t" * 500,
}


def digest_of(files: dict[str, bytes]) -> str:
    lines = sorted(f"{hashlib.sha256(data).hexdigest()}  {path}\n".encode() for path, data in files.items())
    return "sha256:" + hashlib.sha256(b"".join(lines)).hexdigest()


DIGEST = digest_of(FILES)


def told(result: Result) -> str:
    """Return what a successful run says in its last line."""
    assert result.status == 0, result.stderr
    return result.last_line.rpartition("digest ")[2]


def printed(target: Path, *options: str) -> str:
    result = run("digest", target, *options)
    assert result.status == 0, result.stderr
    return result.stdout.strip()


@pytest.fixture
def stocked(hub: Hub) -> dict[str, str]:
    hub.create("org/model").commit(FILES)
    return {"HF_ENDPOINT": hub.endpoint}


def test_a_finished_volume_says_the_same_everywhere(stocked: dict[str, str], tmp_path: Path) -> None:
    target, report = tmp_path / "t", tmp_path / "report.json"
    assert told(run("download", "hf://org/model", target, "--report", report, extra=stocked)) == DIGEST
    assert json.loads(report.read_text())["digest"] == DIGEST
    again = run("download", "hf://org/model", target, "--log-format", "json", extra=stocked)
    events = [json.loads(line) for line in again.stderr.splitlines()]
    assert [event["digest"] for event in events if "digest" in event] == [DIGEST, DIGEST]
    assert told(run("verify", target)) == DIGEST
    assert printed(target) == DIGEST
    assert downloader.digest(target) == downloader.verify(target).digest == DIGEST
    assert downloader.download("hf://org/model", target, environ=stocked).digest == DIGEST
    shell = f"grep -v '^#' {target}/.artifact.sha256 | LC_ALL=C sort | sha256sum"
    assert f"sha256:{subprocess.check_output(['sh', '-c', shell], text=True).split()[0]}" == DIGEST


@pytest.mark.parametrize("completion", ["file", "xattr"])
@pytest.mark.parametrize("scheme", ["hf", "s3", "http"])
def test_it_is_the_same_from_every_source_and_for_every_mark(  # noqa: PLR0917
    hub: Hub, s3: S3Server, own_web: BrokenWeb, tmp_path: Path, scheme: str, completion: str
) -> None:
    extended_attributes(tmp_path)
    if scheme == "hf":
        hub.create("org/model").commit(FILES)
        uri, extra = "hf://org/model", {"HF_ENDPOINT": hub.endpoint}
    elif scheme == "s3":
        bucket = new_bucket(s3.client())
        fill_bucket(s3.client(), bucket, {f"m/{path}": data for path, data in FILES.items()})
        uri, extra = f"s3://{bucket}/m", s3.environment()
    else:
        for path, data in {**FILES, ".artifact.sha256": checksums(FILES)}.items():
            own_web.put(f"m/{path}", data)
        uri, extra = own_web.url("m/"), {}
    extra = {**extra, "AIM_COMPLETION": completion}
    assert told(run("download", uri, tmp_path, extra=extra)) == DIGEST
    assert printed(tmp_path) == DIGEST
    assert told(run("download", uri, tmp_path, extra=extra)) == DIGEST
    assert told(run("verify", tmp_path)) == DIGEST


def test_it_is_the_same_in_a_cache_of_the_hub(stocked: dict[str, str], hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "models--org--model"
    result = run("download", "hf://org/model", "--hub-cache", tmp_path, extra={**stocked, **PEOPLE})
    assert told(result) == printed(folder) == told(run("verify", folder)) == DIGEST
    changed = {**FILES, "config.json": b'{"next": 1}'}
    hub.create("org/model").commit(changed)
    assert told(run("download", "hf://org/model", "--hub-cache", tmp_path, extra={**stocked, **PEOPLE})) != DIGEST
    first = next(path.name for path in (folder / "snapshots").iterdir() if (path / "config.json").read_bytes() == b"{}")
    assert printed(folder) == digest_of(changed)
    assert printed(folder, "--revision", first) == printed(folder / "snapshots" / first) == DIGEST
    assert told(run("verify", folder, "--revision", first)) == DIGEST
    (folder / "snapshots" / first / "theirs.json").write_bytes(b"")
    assert run("digest", folder, "--revision", first).status == 65


def test_of_an_unpacked_archive_it_is_that_of_the_contents(own_web: BrokenWeb, tmp_path: Path) -> None:
    url = own_web.put("model.tar.gz", packed(FILES))
    assert told(run("kserve", url, tmp_path)) == printed(tmp_path) == DIGEST
    assert told(run("kserve", url, tmp_path)) == DIGEST


def test_it_leaves_out_what_earlier_runs_have_left(stocked: dict[str, str], hub: Hub, tmp_path: Path) -> None:
    hub.create("org/other").commit({"other.json": b"other"})
    assert told(run("download", "hf://org/other", tmp_path, extra=stocked)) == digest_of({"other.json": b"other"})
    assert told(run("download", "hf://org/model", tmp_path, extra=stocked)) == printed(tmp_path) == DIGEST
    assert told(run("verify", tmp_path)) == DIGEST
    assert DIGEST not in run("verify", tmp_path, "--include", "config.json").stderr


def test_without_a_mark_it_is_unknown(stocked: dict[str, str], tmp_path: Path) -> None:
    for path, data in FILES.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
    result = run("digest", tmp_path)
    assert (result.status, result.stdout) == (65, "")
    assert ".artifact.sha256" in result.last_line
    (tmp_path / ".artifact.sha256").write_bytes(checksums(FILES))
    assert printed(tmp_path) == DIGEST
    (tmp_path / "config.json").write_bytes(b"[]")
    assert printed(tmp_path) == DIGEST  # it reads the list, as its help says
    assert DIGEST not in run("verify", tmp_path).stderr
    assert told(run("download", "hf://org/model", tmp_path, extra=stocked)) == DIGEST
