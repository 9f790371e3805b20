"""`doctor` finds out before a download what would keep it from starting, and says what to do.

The exit status is compared with that of `download` where that fails soon; sources and hosts are in
tests/e2e/test_doctor_hosts.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from downloader.lease.process_id import ProcessIdentity
from tests.command import PEOPLE, finish, run, start
from tests.e2e.doctor import examine, levels
from tests.e2e.test_full_volumes import mounted, use_up
from tests.e2e.test_users import FIRST, user
from tests.lease.contest import elsewhere, lease_file
from tests.servers.faults import FOREVER, Headers, Silence
from tests.servers.published import on_the_hub
from tests.servers.repository import Kind, Storage
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Watched
    from tests.servers.broken import BrokenWeb
    from tests.servers.hub import Hub

FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 800, "sub/tokenizer.json": b"[1]" * 1000}
KUBERNETES = ("kubernetes",)


@pytest.fixture
def environment(hub: Hub) -> dict[str, str]:
    return {**PEOPLE, **on_the_hub(hub, FILES).extra}


def test_where_all_is_well_each_check_is_a_line_with_the_mark_ok(environment: dict[str, str], tmp_path: Path) -> None:
    result = run("doctor", "hf://org/model", tmp_path, extra=environment)
    assert (result.status, result.stderr) == (0, ""), result.stdout
    lines = result.stdout.splitlines()
    assert {line.split()[0] for line in lines} == {"ok"}
    checks = [line.split()[1] for line in lines]
    once = ["environment", "memory", "cpus", "target", "write", "owner", "filesystem", "free", "lease"]
    assert checks[:14] == [*once, "credentials", "source", "bytes", "xet", "space"]
    assert checks[14:] == ["proxy", "dns", "tcp", "tls", "clock"] * 4  # Hub, CDN, CAS and the host of the xorbs
    assert list(tmp_path.iterdir()) == []


def test_without_a_uri_only_this_place_is_examined(tmp_path: Path) -> None:
    for as_target in (True, False):
        result, found = examine(tmp_path, as_target=as_target, extra=PEOPLE)
        assert result.status == 0
        assert "source" not in found
        assert f"{tmp_path} is a folder" in found["target"][0]["text"]
    assert run("doctor", tmp_path, tmp_path, extra=PEOPLE).status == 64


def test_a_target_that_does_not_exist_is_not_made(environment: dict[str, str], tmp_path: Path) -> None:
    result, found = examine("hf://org/model", tmp_path / "a/b", extra=environment)
    assert result.status == 0
    assert f"it will be made in {tmp_path}" in found["target"][0]["text"]
    assert found["space"][0]["level"] == "ok"
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_variable_is_named_with_the_one_that_was_meant(tmp_path: Path) -> None:
    extra = {**PEOPLE, "AIM_CONECTIONS": "4", "HF_TOKN": "hf_secretsecretsecret", "AIM_DOWNLOADER_PROTOCOL": "XET,S3"}
    result, found = examine("hf://org/model", tmp_path, extra=extra | {"HF_ENDPOINT": "http://127.0.0.1:1"})
    notes = [one["text"] for one in found["environment"] if one["level"] == "note"]
    assert any("AIM_CONECTIONS" in text and "AIM_CONNECTIONS" in text for text in notes)
    assert any("HF_TOKN" in text and "HF_TOKEN" in text for text in notes)
    assert any("S3" in text and "XET" in text for text in notes)
    assert "secretsecret" not in result.stdout + result.stderr


def test_an_invalid_variable_ends_it_as_it_ends_a_download_and_the_rest_is_examined(
    environment: dict[str, str], tmp_path: Path
) -> None:
    extra = {**environment, "AIM_CONNECTIONS": "many", "STALL_TIMEOUT": "soon"}
    result, found = examine("hf://org/model", tmp_path, extra=extra)
    assert result.status == run("download", "hf://org/model", tmp_path, extra=extra).status == 78
    assert [one["level"] for one in found["environment"]] == ["problem", "problem"]
    assert found["source"][0]["level"] == "ok"


@pytest.mark.root
def test_a_target_that_we_may_not_write_is_told_with_owner_mode_and_remedy(
    environment: dict[str, str], tmp_path: Path
) -> None:
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    target = tmp_path / "closed"
    target.mkdir(mode=0o755)
    result, found = examine("hf://org/model", target, extra=environment, through=user(FIRST))
    assert result.status == 74, result.stdout
    assert "Permission denied" in result.last_line
    assert found["write"][0]["level"] == "problem"
    assert f"give it to {FIRST}:1000, or run as user 0" in found["write"][0]["remedy"]
    assert f"we are user {FIRST}, group 1000" in found["owner"][0]["text"]
    assert "belongs to 0:0, mode 0755" in found["owner"][0]["text"]
    assert found["source"][0]["level"] == "ok"


def test_a_target_that_is_a_file_ends_it_as_it_ends_a_download(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result, found = examine("hf://org/model", tmp_path / "file", extra=environment)
    download = run("download", "hf://org/model", tmp_path / "file", extra=environment)
    assert (result.status, result.last_line) == (download.status, download.last_line)
    assert "is a file" in found["target"][0]["text"]


@pytest.mark.root
def test_a_read_only_volume_is_told(environment: dict[str, str], tmp_path: Path) -> None:
    with mounted(tmp_path / "t", "ro") as target:
        result, found = examine("hf://org/model", target, extra=environment)
    assert result.status == 74
    assert "read-only" in found["write"][0]["remedy"]


@pytest.mark.root
def test_a_read_only_volume_keeps_only_a_download_from_starting_that_has_to_write(
    hub: Hub, environment: dict[str, str], tmp_path: Path
) -> None:
    command = ("hf://org/model", tmp_path / "t")
    with mounted(tmp_path / "t", "size=1m") as target:
        assert run("download", *command, extra=environment).status == 0
        subprocess.run(["mount", "-o", "remount,ro", str(target)], check=True)
        result, found = examine(*command, extra=environment)
        assert result.status == run("download", *command, extra=environment).status == 0, result.stdout
        assert levels(found, "write") == ["note"]
        hub.repositories[Kind.MODEL, "org/model"].commit({"config.json": b"[]"})
        result, found = examine(*command, extra=environment)
        assert result.status == run("download", *command, extra=environment).status == 74, result.stdout
        assert levels(found, "write") == ["note", "problem"]


@pytest.mark.root
def test_a_full_volume_ends_it_as_it_ends_a_download(environment: dict[str, str], tmp_path: Path) -> None:
    with mounted(tmp_path / "t", "size=64k") as target:
        use_up(target / "theirs")
        result, found = examine("hf://org/model", target, extra=environment)
        assert list(target.iterdir()) == [target / "theirs"]
    assert result.status == 73
    assert levels(found, "write", "space") == ["problem", "problem"]


@pytest.mark.root
def test_a_volume_that_is_too_small_for_the_artifact_is_told(environment: dict[str, str], tmp_path: Path) -> None:
    with mounted(tmp_path / "t", "size=128k") as target:
        result, found = examine("hf://org/model", target, extra=environment)
        assert run("download", "hf://org/model", target, extra=environment).status == result.status == 73
    assert levels(found, "write", "space") == ["ok", "problem"]
    result, found = examine("hf://org/model", tmp_path, extra=environment)
    assert levels(found, "space") == ["ok"]


def test_what_is_there_already_needs_no_space(environment: dict[str, str], tmp_path: Path) -> None:
    assert run("download", "hf://org/model", tmp_path, extra=environment).status == 0
    before = sorted(tmp_path.iterdir())
    result, found = examine("hf://org/model", tmp_path, extra=environment)
    assert result.status == 0
    assert "needs 0 bytes more; 3 of 3 files there" in found["space"][0]["text"]
    assert sorted(tmp_path.iterdir()) == before


def test_the_cache_of_the_hub_is_examined_where_a_download_fills_it(
    environment: dict[str, str], tmp_path: Path
) -> None:
    extra = {**environment, "AIM_LAYOUT": "hub-cache", "HF_HUB_CACHE": str(tmp_path / "hub")}
    result, found = examine("hf://org/model", extra=extra)
    assert result.status == 0, result.stdout
    assert f"{tmp_path}/hub/models--org--model does not exist yet" in found["target"][0]["text"]
    assert not (tmp_path / "hub").exists()
    assert run("download", "hf://org/model", extra=extra).status == 0
    result, found = examine("hf://org/model", extra=extra)
    assert result.status == 0, result.stdout
    assert "needs 0 bytes more; 3 of 3 files there" in found["space"][0]["text"]


def test_a_held_lease_is_told_with_its_holder_and_the_time(
    hub: Hub, environment: dict[str, str], tmp_path: Path
) -> None:
    hub.create("org/large").commit({"model.safetensors": bytes(8 << 20)}, storage=Storage.LFS)
    process = start("download", "hf://org/large", tmp_path, extra={**environment, "AIM_BANDWIDTH": "50K"})
    try:
        assert eventually(lambda: any(path.read_bytes() for path in tmp_path.glob(".downloading/lease.*")))
        result, found = examine("hf://org/model", tmp_path, extra=environment)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert result.status == 0
    (lease,) = found["lease"]
    assert lease["level"] == "note"
    assert f"process {process.pid} on" in lease["text"]
    assert "hf://org/large" in lease["text"]
    assert time.strftime("(since %Y-", time.gmtime()) in lease["text"]
    assert "waits until that process ends" in lease["remedy"]


def test_an_expired_lease_is_told(environment: dict[str, str], tmp_path: Path) -> None:
    path = lease_file(tmp_path, 1, process=elsewhere())
    os.utime(path, (time.time() - 3600,) * 2)
    result, found = examine("hf://org/model", tmp_path, extra=environment)
    assert result.status == 0
    assert "gave no sign of life for 1 h 0 min" in found["lease"][0]["text"]
    assert path.exists()


def test_a_lease_of_a_process_that_has_ended_is_told(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    here = ProcessIdentity.current()
    identity = ProcessIdentity(here.host, here.boot, here.namespace, ended.pid, "1")
    lease_file(tmp_path, 1, process=identity)
    _, found = examine(tmp_path, as_target=True, extra=PEOPLE)
    assert "has ended without giving back the lease" in found["lease"][0]["text"]


def test_the_status_may_be_patched_and_is_not(watched: Watched, environment: dict[str, str], tmp_path: Path) -> None:
    before = watched.api.artifact("models", "llama")
    result, found = examine("hf://org/model", tmp_path, extra={**environment, **watched.environment})
    assert result.status == 0, result.stdout
    assert levels(found, *KUBERNETES) == ["ok"]
    assert watched.api.artifact("models", "llama") == before
    assert [one.request.query["dryRun"] for one in watched.api.exchanges] == ["All"]


def test_a_patch_that_is_refused_is_told_and_keeps_no_download_from_starting(
    watched: Watched, environment: dict[str, str], tmp_path: Path
) -> None:
    watched.api.answer(403)
    result, found = examine("hf://org/model", tmp_path, extra={**environment, **watched.environment})
    assert result.status == 0, result.stdout
    assert levels(found, *KUBERNETES) == ["note"]
    assert "RoleBinding" in found["kubernetes"][0]["text"]


def test_a_failed_diagnosis_leaves_the_status_and_the_termination_message_alone(
    watched: Watched, environment: dict[str, str], tmp_path: Path
) -> None:
    extra = {**environment, **watched.environment, "AIM_TERMINATION_LOG": str(tmp_path / "message")}
    (tmp_path / "message").write_text("of the run")
    result, _ = examine("hf://org/other", tmp_path / "t", extra=extra)
    assert result.status == 66
    assert (tmp_path / "message").read_text() == "of the run"
    assert "status" not in watched.api.artifact("models", "llama")


def test_a_signal_ends_it_and_nothing_stays_on_the_target(
    hub: Hub, environment: dict[str, str], tmp_path: Path
) -> None:
    hub.faults.add(Silence(), route="*", times=FOREVER)
    process = start("doctor", "hf://org/model", tmp_path, extra=environment)
    assert eventually(lambda: bool(hub.log.records()))
    process.send_signal(signal.SIGTERM)
    result = finish(process)
    assert result.status == 143
    assert "SIGTERM" in result.last_line
    assert list(tmp_path.iterdir()) == []


def test_an_api_server_that_hangs_does_not_hold_up_the_rest(
    watched: Watched, environment: dict[str, str], tmp_path: Path
) -> None:
    watched.api.hang()
    result, found = examine(
        "hf://org/model", tmp_path, extra={**environment, **watched.environment, "STALL_TIMEOUT": "12"}
    )
    assert result.status == 0, result.stdout
    assert levels(found, *KUBERNETES) == ["note"]
    assert levels(found, "source", "space") == ["ok", "ok"]


@pytest.mark.parametrize(
    ("date", "words"),
    [
        ("Thu, 01 Jan 2015 00:00:00 GMT", "ahead of"),
        ("Fri, 01 Jan 2100 00:00:00 GMT", "behind"),
        ("yesterday", "does not tell the time"),
    ],
)
def test_a_clock_that_differs_from_a_servers_is_told(own_web: BrokenWeb, tmp_path: Path, date: str, words: str) -> None:
    own_web.faults.add(Headers({"Date": date}), times=FOREVER)
    result, found = examine(own_web.put("model.bin", b"x" * 100), tmp_path / "m", extra={})
    assert result.status == 0, result
    (clock,) = found["clock"]
    assert words in clock["text"]
    assert (clock["level"] == "ok") == (date == "yesterday")
