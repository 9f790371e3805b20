"""Failing well: each failure ends in its own exit status, filed as itself by the operator, with one last line."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from downloader.errors import Category
from tests.command import Result, run
from tests.contract.operator_log import filed
from tests.servers.blobs import Noise
from tests.servers.process import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server
    from tests.servers.web import WebServer

NOT_FOUND, DENIED, FULL, OTHER = Category.NOT_FOUND, Category.DENIED, Category.STORAGE_FULL, Category.OTHER


def ends(result: Result, status: int, category: Category, *words: str) -> None:
    """Assert how a run ended, for people and for both states of the operator."""
    log = result.stderr + result.stdout
    assert result.status == status, result.stderr
    assert filed(log, newest=True) == category, result.stderr
    assert filed(log, newest=False) == category, result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.last_line


@pytest.mark.parametrize(
    ("uri", "word"),
    [
        ("hf:/org/model", "hf:/org/model"),
        ("hf://", "hf://"),
        ("hf://org/model/../..", "org/model"),
        ("org/model", "org/model"),
        ("gopher://bucket/model", "'gopher'"),
        ("s3://", "s3://"),
        ("http://", "http://"),
        ("hf://a/b@", "a/b@"),
    ],
)
def test_a_typo_in_the_uri_is_a_usage_error_that_quotes_it(uri: str, word: str, tmp_path: Path) -> None:
    ends(run("download", uri, tmp_path), 64, OTHER, word)


@pytest.mark.parametrize(
    "arguments", [[], ["fetch"], ["download"], ["download", "hf://a/b", "t", "--deadline", "soon"]]
)
def test_a_command_line_that_cannot_be_understood_says_where_help_is(arguments: list[str]) -> None:
    ends(run(*arguments), 64, OTHER, "--help")


def test_every_malformed_variable_is_named_at_once(tmp_path: Path) -> None:
    extra = {"STALL_TIMEOUT": "soon", "AIM_CONNECTIONS": "1000", "AIM_DOWNLOADER_PROTOCOL": "XET,FTP"}
    result = run("download", "hf://org/model", tmp_path, extra=extra)
    ends(result, 78, OTHER, "STALL_TIMEOUT", "AIM_CONNECTIONS", "FTP", "HF_TRANSFER")


def test_a_repository_that_does_not_exist_is_a_missing_source(hub: Hub, tmp_path: Path) -> None:
    result = run("download", "hf://org/nothing", tmp_path, extra={"HF_ENDPOINT": hub.endpoint})
    ends(result, 66, NOT_FOUND, "org/nothing")


@pytest.mark.parametrize(
    ("uri", "filters", "named"),
    [
        ("hf://org/model@v9", [], "v9"),
        ("hf://org/model/gguf", [], "gguf"),
        ("hf://org/model", ["--include", "*.gguf"], "--include"),
    ],
    ids=["a revision", "a path", "a filter"],
)
def test_what_a_repository_does_not_have_is_named(
    hub: Hub, tmp_path: Path, uri: str, filters: list[str], named: str
) -> None:
    hub.create("org/model").commit({"a": b"a"})
    result = run("download", uri, tmp_path, *filters, extra={"HF_ENDPOINT": hub.endpoint})
    ends(result, 66, NOT_FOUND, named)


@pytest.mark.parametrize("token", ["", "hf_stranger"])
def test_a_gated_repository_is_denied_and_said_to_be_gated(hub: Hub, tmp_path: Path, token: str) -> None:
    hub.tokens["hf_stranger"] = "stranger"
    hub.create("org/model", gated=True, members={"alice"}).commit({"model-00403-of-01000.safetensors": Noise(9 << 20)})
    result = run("download", "hf://org/model", tmp_path, extra={"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": token})
    ends(result, 77, DENIED, "gated", "org/model")


def test_a_private_repository_looks_missing_without_a_token_and_is_read_with_it(hub: Hub, tmp_path: Path) -> None:
    hub.tokens["hf_alice"] = "alice"
    hub.create("org/model", private=True, members={"alice"}).commit({"a.bin": Noise(9 << 20)})
    ends(run("download", "hf://org/model", tmp_path, extra={"HF_ENDPOINT": hub.endpoint}), 66, NOT_FOUND, "HF_TOKEN")
    result = run("download", "hf://org/model", tmp_path, extra={"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_alice"})
    assert result.status == 0, result.stderr
    assert not hub.leaks


def test_a_token_that_is_not_accepted_is_denied_and_not_shown(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit({"a": b"a"})
    result = run("download", "hf://org/model", tmp_path, extra={"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_wrong"})
    ends(result, 77, DENIED, "HF_TOKEN")
    assert "hf_wrong" not in result.stderr


def test_a_disabled_repository_is_denied(hub: Hub, tmp_path: Path) -> None:
    repository = hub.create("org/model")
    repository.commit({"a": b"a"})
    repository.disabled = True
    result = run("download", "hf://org/model", tmp_path, extra={"HF_ENDPOINT": hub.endpoint})
    ends(result, 77, DENIED, "disabled")


def test_a_host_that_refuses_connections_is_unavailable(tmp_path: Path) -> None:
    extra = {"HF_ENDPOINT": f"http://127.0.0.1:{free_port()}", "STALL_TIMEOUT": "5"}
    ends(run("download", "hf://org/model", tmp_path, extra=extra), 69, OTHER, "cannot connect")


def test_a_host_that_has_no_address_is_unavailable(tmp_path: Path) -> None:
    result = run("download", "https://nowhere.invalid/model.bin", tmp_path, extra={"STALL_TIMEOUT": "5"})
    ends(result, 69, OTHER, "nowhere.invalid")


def test_a_certificate_that_no_ca_has_signed_is_refused_with_the_remedy(
    web: WebServer, web_root: Path, tmp_path: Path
) -> None:
    (web_root / "model.bin").write_bytes(b"model")
    result = run("download", f"{web.secure_url}/model.bin", tmp_path)
    ends(result, 78, OTHER, "certificate", "AIM_CA_BUNDLE")


def test_a_web_folder_without_a_checksum_file_is_a_missing_source(
    web: WebServer, web_root: Path, tmp_path: Path
) -> None:
    (web_root / "folder").mkdir(exist_ok=True)
    ends(run("download", f"{web.url}/folder/", tmp_path), 66, NOT_FOUND, "SHA256SUMS")


def test_a_file_that_a_web_server_does_not_have_is_a_missing_source(web: WebServer, tmp_path: Path) -> None:
    ends(run("download", f"{web.url}/nothing.bin", tmp_path), 66, NOT_FOUND, "nothing.bin")


@pytest.mark.parametrize(
    ("uri", "who", "status", "category"),
    [
        ("s3://no-such-bucket/model", "owner", 66, NOT_FOUND),
        ("s3://failures/no-such-prefix", "owner", 66, NOT_FOUND),
        ("s3://failures/model", "stranger", 77, DENIED),
        ("s3://failures/model", "unknown", 77, DENIED),
        ("s3://failures/model", "liar", 77, DENIED),
    ],
)
def test_what_s3_refuses_is_missing_or_denied(
    s3: S3Server, tmp_path: Path, *, uri: str, who: str, status: int, category: Category
) -> None:
    client = s3.client()
    client.create_bucket(Bucket="failures")
    client.put_object(Bucket="failures", Key="model/a-403-of-404.bin", Body=b"a")
    extra = s3.environment(s3.stranger if who == "stranger" else None)
    if who == "unknown":
        extra["AWS_ACCESS_KEY_ID"] = "AKIAUNKNOWNKEYXXXX01"
    if who == "liar":
        extra["AWS_SECRET_ACCESS_KEY"] = "wrong-secret-key-of-a-user"
    result = run("download", uri, tmp_path, extra=extra)
    ends(result, status, category, uri.split("/")[2])
    assert extra["AWS_SECRET_ACCESS_KEY"] not in result.stderr


def test_a_target_that_is_a_file_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit({"a": b"a"})
    (tmp_path / "file").write_text("here")
    result = run("download", "hf://org/model", tmp_path / "file", extra={"HF_ENDPOINT": hub.endpoint})
    ends(result, 74, OTHER, str(tmp_path / "file"))


@pytest.mark.root
def test_a_volume_that_is_too_small_is_refused_before_the_first_byte(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit({"model.safetensors": Noise(20 << 20)})
    mount(tmp_path, "size=8m")
    try:
        result = run("download", "hf://org/model", tmp_path, extra={"HF_ENDPOINT": hub.endpoint})
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    ends(result, 73, FULL, "20", str(tmp_path))
    assert hub.log.sent("cdn") == 0


@pytest.mark.root
def test_a_read_only_volume_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit({"a": b"a"})
    mount(tmp_path, "ro")
    try:
        result = run("download", "hf://org/model", tmp_path, extra={"HF_ENDPOINT": hub.endpoint})
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    ends(result, 74, OTHER, str(tmp_path))


def mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], check=True)


@pytest.mark.parametrize("name", ["../escape", "a/../../b", "\t", ".downloading/x", "n" * 300])
def test_hostile_names_are_refused_before_the_first_byte(s3: S3Server, tmp_path: Path, name: str) -> None:
    client = s3.client()
    bucket = f"hostile-{abs(hash(name)) % 10**8}"
    client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key="m/good.bin", Body=b"good")
    client.put_object(Bucket=bucket, Key=f"m/{name}", Body=b"bad")
    extra = {**s3.environment(), "AIM_UNSAFE_NAMES": "refuse"}
    result = run("download", f"s3://{bucket}/m", tmp_path / "target", extra=extra)
    ends(result, 78, OTHER, "refused")
    assert not (tmp_path / "target" / "good.bin").exists()
    assert not (tmp_path / "escape").exists()
