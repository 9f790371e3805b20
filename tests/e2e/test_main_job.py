"""The command as a process, from each source onto a folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.command import PEOPLE, finish, model, run, start
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Stall
from tests.servers.published import Place, in_a_bucket, in_a_web_folder, on_the_hub
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.certificates import Authority
    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server
    from tests.servers.web import WebServer

FILES = {
    "config.json": b'{"model_type": "test"}',
    "empty.txt": b"",
    "model-00001-of-00002.safetensors": Noise(20 << 20, seed=1).bytes(),
    "model-00002-of-00002.safetensors": Noise(9_000_001, seed=2).bytes(),
    ".hidden/notes.txt": b"hidden files are files",
    "tokenizer/tokenizer.json": Noise(300_000, seed=3).bytes(),
}
SIZE = sum(map(len, FILES.values()))


@pytest.fixture(params=["hf", "s3", "https"])
def place(  # noqa: PLR0917 - pytest passes them by name
    request: pytest.FixtureRequest, hub: Hub, s3: S3Server, web: WebServer, web_root: Path, authority: Authority
) -> Place:
    """The same artifact behind each scheme."""
    name = f"{request.param}-{abs(hash(request.node.name)) % 10**8}"
    if request.param == "hf":
        return on_the_hub(hub, FILES)
    if request.param == "s3":
        place = in_a_bucket(s3, name, FILES)
        return replace(place, extra={**PEOPLE, **place.extra})
    return in_a_web_folder(web, web_root / name, FILES, str(authority.bundle))


def test_every_source_lands_whole_with_a_checksum_list_and_nothing_else(place: Place, tmp_path: Path) -> None:
    result = run("download", place.uri, tmp_path, extra=place.extra)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == FILES
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == [
        ".artifact.sha256",
        ".hidden",
    ]
    subprocess.run(["sha256sum", "-c", "--quiet", ".artifact.sha256"], cwd=tmp_path, check=True)


def test_a_second_run_downloads_nothing(place: Place, tmp_path: Path) -> None:
    assert run("download", place.uri, tmp_path, extra=place.extra).status == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    result = run("download", place.uri, tmp_path, extra=place.extra)
    assert result.status == 0
    assert "nothing had to be fetched" in result.stderr
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == {
        path: time_ns for path, time_ns in before.items() if path.is_file()
    }


@pytest.mark.parametrize("damage", ["flip", "truncate", "extend", "remove", "symlink"])
def test_a_damaged_file_is_fetched_again_alone(place: Place, tmp_path: Path, damage: str) -> None:
    assert run("download", place.uri, tmp_path, extra=place.extra).status == 0
    victim = tmp_path / "tokenizer/tokenizer.json"
    harm(victim, damage)
    result = run("download", place.uri, tmp_path, extra=place.extra)
    assert result.status == 0, result.stderr
    assert {path: data for path, data in model(tmp_path).items() if path != "elsewhere"} == FILES
    assert not victim.is_symlink()
    assert "293 KiB received" in result.stderr


def harm(victim: Path, damage: str) -> None:
    data = bytearray(victim.read_bytes())
    if damage == "flip":
        data[1000] ^= 1
        victim.write_bytes(data)
    elif damage == "truncate":
        os.truncate(victim, 500)
    elif damage == "extend":
        victim.write_bytes(data + b"!")
    elif damage == "symlink":
        victim.rename(victim.parent.parent / "elsewhere")
        victim.symlink_to("../elsewhere")
        return
    else:
        victim.unlink()


def test_the_next_run_removes_the_empty_folder_that_a_kill_in_the_last_moment_leaves(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit(FILES)
    extra = {"HF_ENDPOINT": hub.endpoint}
    assert run("download", "hf://org/model", tmp_path, extra=extra).status == 0
    (tmp_path / ".downloading").mkdir()
    assert run("download", "hf://org/model", tmp_path, extra=extra).status == 0
    assert not (tmp_path / ".downloading").exists()
    assert model(tmp_path) == FILES


def test_verify_finds_what_is_damaged_without_any_network(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit(FILES)
    assert run("download", "hf://org/model", tmp_path, extra={"HF_ENDPOINT": hub.endpoint}).status == 0
    hub.server.refuse()
    assert run("verify", tmp_path).status == 0
    harm(tmp_path / "tokenizer/tokenizer.json", "flip")
    harm(tmp_path / "config.json", "remove")
    result = run("verify", tmp_path)
    assert result.status == 65
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [
        ["damaged", "config.json:"],
        ["damaged", "tokenizer/tokenizer.json:"],
    ]
    assert "run the download again" in result.last_line


def test_the_entrypoint_needs_nothing_but_the_uri_and_the_environment(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit(FILES)
    extra = {"HF_ENDPOINT": hub.endpoint, "TARGET_DIR": str(tmp_path / "cache")}
    result = run("download", "hf://org/model", extra=extra)
    assert result.status == 0, result.stderr
    assert model(tmp_path / "cache") == FILES


def test_size_is_what_a_download_fetches_with_the_same_filters(place: Place, tmp_path: Path) -> None:
    filters = {**place.extra, "AIM_HF_EXCLUDE": "*/*, *.txt"}
    result = run("size", place.uri, extra=filters)
    assert result.status == 0, result.stderr
    answer = json.loads(result.stdout.splitlines()[-1])
    assert run("download", place.uri, tmp_path, extra=filters).status == 0
    landed = model(tmp_path)
    assert sorted(landed) == ["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert answer["sizeBytes"] == sum(map(len, landed.values()))


def test_after_kill_9_only_what_was_in_flight_is_fetched_again(hub: Hub, tmp_path: Path) -> None:
    size = 200 << 20
    content = Noise(size, seed=5)
    hub.create("org/big").commit({"model.safetensors": content})
    extra = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER"}
    hub.faults.add(Stall(), route="cdn", offset=size // 2 + (8 << 20), times=FOREVER)
    process = start("download", "hf://org/big", tmp_path, extra=extra)
    assert eventually(lambda: hub.log.sent("cdn") >= size // 2)
    os.killpg(process.pid, signal.SIGKILL)
    finish(process)
    hub.faults.clear()
    served = hub.log.sent("cdn")
    result = run("download", "hf://org/big", tmp_path, extra=extra)
    assert result.status == 0, result.stderr
    assert (tmp_path / "model.safetensors").read_bytes() == content.bytes()
    assert served < size
    assert hub.log.sent("cdn") - size <= 64 << 20


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_at_once_and_leaves_a_volume_that_can_be_resumed(
    hub: Hub, tmp_path: Path, signum: signal.Signals, status: int
) -> None:
    size = 100 << 20
    hub.create("org/big").commit({"model.safetensors": Noise(size, seed=6)})
    extra = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HTTP"}
    hub.faults.add(Stall(), route="cdn", offset=size // 2)
    process = start("download", "hf://org/big", tmp_path, extra={**extra, "STALL_TIMEOUT": "600"})
    assert eventually(lambda: hub.log.sent("cdn") >= size // 4)
    process.send_signal(signum)
    result = finish(process)
    assert result.status == status
    assert "resume" in result.last_line
    assert not list(tmp_path.glob(".downloading/lease*"))
    assert run("download", "hf://org/big", tmp_path, extra=extra).status == 0


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_whose_streams_are_closed_gets_the_same_files_and_status(hub: Hub, tmp_path: Path, closed: str) -> None:
    hub.create("org/model").commit(FILES)
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh"]
    extra = {"HF_ENDPOINT": hub.endpoint}
    assert finish(start("download", "hf://org/model", tmp_path, extra=extra, through=shell)).status == 0
    assert model(tmp_path) == FILES
    (tmp_path / next(iter(FILES))).unlink()
    assert finish(start("verify", tmp_path, through=shell)).status == 65
