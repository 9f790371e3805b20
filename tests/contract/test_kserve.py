"""KServe's entry point: what its storage initializer is told, and what it leaves."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from downloader.config import Settings
from downloader.config.env import documented
from downloader.config.warnings import SECTIONS
from tests.command import TIMEOUT, content, environment, model, run
from tests.servers.s3 import fill_bucket, new_bucket

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.servers.broken import BrokenWeb
    from tests.servers.certificates import Authority
    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server
    from tests.servers.web import WebServer

ROOT = Path(__file__).parents[2]
ENTRY_POINT = "/storage-initializer/scripts/initializer-entrypoint"
FILES = {"config.json": b"{}", "weights/model.bin": os.urandom(100_000)}
WORD = "word-of-mine"


def packed(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


ARCHIVE = packed(FILES)


def test_a_revision_of_the_hub_goes_into_its_folder_beside_what_is_there(hub: Hub, tmp_path: Path) -> None:
    repository = hub.create("org/model")
    sha = repository.commit(FILES)
    repository.commit({**FILES, "config.json": b'{"newer": true}'})
    (tmp_path / "mine.txt").write_bytes(b"mine")
    result = run("kserve", f"hf://org/model:{sha}", f"{tmp_path}/", extra={"HF_ENDPOINT": hub.endpoint})
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {**FILES, "mine.txt": b"mine"}


def test_pairs_are_brought_one_after_the_other_each_into_its_own_folder(
    hub: Hub, own_web: BrokenWeb, tmp_path: Path
) -> None:
    hub.create("org/model").commit(FILES)
    url = own_web.put("adapter.tar.gz", packed({"adapter.bin": b"small"}))
    first, second = tmp_path / "models/base", tmp_path / "models/adapter"
    result = run("kserve", "hf://org/model", first, url, second, extra={"HF_ENDPOINT": hub.endpoint})
    assert result.status == 0, result.stderr
    assert model(first) == FILES
    assert model(second) == {"adapter.bin": b"small"}


def test_the_first_pair_that_fails_ends_it(own_web: BrokenWeb, tmp_path: Path) -> None:
    good = own_web.put("good.bin", b"bytes")
    pairs = (good, tmp_path / "a", own_web.url("nowhere.bin"), tmp_path / "b", good, tmp_path / "c")
    result = run("kserve", *pairs)
    assert result.status == 66, result.stderr
    assert "nowhere.bin" in result.last_line
    assert model(tmp_path / "a") == {"good.bin": b"bytes"}
    assert not (tmp_path / "c").exists()


def test_the_termination_message_tells_how_far_it_came(own_web: BrokenWeb, tmp_path: Path) -> None:
    message = tmp_path / "termination"
    message.touch()
    run("kserve", own_web.url("nowhere.bin"), tmp_path / "a", extra={"AIM_TERMINATION_LOG": str(message)})
    assert re.fullmatch(
        rf"failed \(exit status 66\): .*: {own_web.url('nowhere.bin')}: not listed, [0-9.]+ s", message.read_text()
    )


@pytest.mark.parametrize(
    "arguments",
    [(), ("hf://org/model",), ("hf://org/model", "a", "s3://bucket/model"), ("hf://org/model", "a", "ftp://b/m", "c")],
)
def test_what_are_no_pairs_of_known_sources_is_told_before_anything_is_done(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    places = [argument if "://" in argument else str(tmp_path / argument) for argument in arguments]
    result = run("kserve", *places, extra={"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert result.status == 64
    assert content(tmp_path) == {}


@pytest.fixture(params=["https", "s3"])
def archive(
    request: pytest.FixtureRequest, s3: S3Server, web: WebServer, web_root: Path, authority: Authority
) -> tuple[str, dict[str, str]]:
    """The URI of an archive, and how to be let in."""
    if request.param == "s3":
        bucket = new_bucket(s3.client())
        s3.client().put_object(Bucket=bucket, Key="models/m.tar.gz", Body=ARCHIVE)
        return f"s3://{bucket}/models/m.tar.gz", s3.environment()
    (web_root / "m.tgz").write_bytes(ARCHIVE)
    return f"{web.secure_url}/m.tgz", {"AIM_CA_BUNDLE": str(authority.bundle)}


def test_a_single_archive_is_unpacked_once(archive: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    uri, extra = archive
    result = run("kserve", uri, tmp_path, extra=extra)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == FILES
    subprocess.run(["sha256sum", "-c", "--quiet", ".artifact.sha256"], cwd=tmp_path, check=True)
    assert run("verify", tmp_path).status == 0
    again = run("kserve", uri, tmp_path, extra=extra)
    assert again.status == 0
    assert "nothing had to be fetched" in again.stderr
    assert model(tmp_path) == FILES


@pytest.mark.parametrize("completion", ["file", "xattr"])
def test_what_is_gone_of_an_archive_is_unpacked_again(
    archive: tuple[str, dict[str, str]], tmp_path: Path, completion: str
) -> None:
    uri, extra = archive
    for _ in range(2):
        result = run("kserve", uri, tmp_path, extra={**extra, "AIM_COMPLETION": completion})
        assert result.status == 0, result.stderr
        assert model(tmp_path) == FILES
        (tmp_path / min(FILES)).unlink()


def test_an_archive_among_other_files_stays_one(s3: S3Server, tmp_path: Path) -> None:
    bucket = f"several-{os.getpid()}"
    fill_bucket(s3.client(), bucket, {"m/model.tar.gz": ARCHIVE, "m/config.json": b"{}"})
    result = run("kserve", f"s3://{bucket}/m", tmp_path, extra=s3.environment())
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"model.tar.gz": ARCHIVE, "config.json": b"{}"}


def test_an_archive_that_another_entry_point_has_finished_with_is_unpacked_all_the_same(
    hub: Hub, tmp_path: Path
) -> None:
    hub.create("org/model").commit({"model.tar.gz": ARCHIVE})
    extra = {"HF_ENDPOINT": hub.endpoint}
    assert run("download", "hf://org/model", tmp_path, extra=extra).status == 0
    assert model(tmp_path) == {"model.tar.gz": ARCHIVE}
    for _ in range(2):
        result = run("kserve", "hf://org/model", tmp_path, extra=extra)
        assert result.status == 0, result.stderr
        assert model(tmp_path) == FILES


def test_no_other_entry_point_unpacks_anything_and_kserve_unpacks_what_they_left(
    own_web: BrokenWeb, tmp_path: Path
) -> None:
    url = own_web.put("model.tar.gz", ARCHIVE)
    assert run("download", url, tmp_path).status == 0
    assert model(tmp_path) == {"model.tar.gz": ARCHIVE}
    fetched = len(own_web.log.records(method="GET"))
    assert run("kserve", url, tmp_path).status == 0
    assert model(tmp_path) == FILES
    assert len(own_web.log.records(method="GET")) == fetched


def test_a_hostile_archive_ends_the_run_and_leaves_no_file_of_its_own(own_web: BrokenWeb, tmp_path: Path) -> None:
    url = own_web.put("model.tar.gz", packed({"ok.txt": b"", "../evil.txt": b"evil"}))
    result = run("kserve", url, tmp_path / "models")
    assert result.status == 78, result.stderr
    assert "is refused" in result.last_line
    assert not list(tmp_path.rglob("evil.txt"))
    assert not list(tmp_path.rglob("ok.txt"))


@pytest.mark.parametrize("headers", [f'{{"Authorization": "Bearer {WORD}"}}', f'{{"authorization": "Bearer {WORD}"}}'])
def test_the_headers_of_a_host_let_us_in_and_are_never_shown(own_web: BrokenWeb, tmp_path: Path, headers: str) -> None:
    url = own_web.put("model.bin", b"bytes", authorization=f"Bearer {WORD}")
    extra = {"127.0.0.1-headers": headers, "AIM_HTTP_HEADERS": '{"Authorization": "Bearer of-another-user"}'}
    result = run("--log-level", "debug", "kserve", url, tmp_path, extra=extra)
    assert result.status == 0, result.stderr
    assert WORD not in result.stderr + result.stdout
    assert model(tmp_path) == {"model.bin": b"bytes"}


def test_the_headers_of_another_host_are_not_sent(own_web: BrokenWeb, tmp_path: Path) -> None:
    url = own_web.put("model.bin", b"bytes")
    assert run("kserve", url, tmp_path, extra={"localhost-headers": '{"X-Key": "secret"}'}).status == 0
    assert not any("x-key" in record.request.headers for record in own_web.log.records())


def test_malformed_headers_are_named_without_their_value(tmp_path: Path) -> None:
    extra = {"host.invalid-headers": f"Authorization: {WORD}"}
    result = run("kserve", "https://host.invalid/model.bin", tmp_path, extra=extra)
    assert result.status == 78
    assert "host.invalid-headers" in result.last_line
    assert WORD not in result.stderr


REPOSITORY = {
    "config.json": b"{}",
    "model.bin": b"1",
    "model.safetensors": b"2",
    "onnx/model.onnx": b"3",
    "onnx/config.json": b"4",
}


@pytest.mark.parametrize(
    ("patterns", "landed"),
    [
        ({"STORAGE_ALLOW_PATTERNS": '["*.safetensors", "config.json"]'}, ["config.json", "model.safetensors"]),
        ({"STORAGE_ALLOW_PATTERNS": "*.safetensors, *.onnx"}, ["model.safetensors", "onnx/model.onnx"]),
        ({"STORAGE_ALLOW_PATTERNS": '["onnx/"]'}, ["onnx/config.json", "onnx/model.onnx"]),
        ({"STORAGE_IGNORE_PATTERNS": '["*.bin", "onnx/*"]'}, ["config.json", "model.safetensors"]),
        (
            {"STORAGE_ALLOW_PATTERNS": '["onnx/*"]', "STORAGE_IGNORE_PATTERNS": '["*.json"]'},
            ["onnx/model.onnx"],
        ),
        ({"STORAGE_ALLOW_PATTERNS": '["*.bin"]', "AIM_HF_INCLUDE": "*.onnx"}, ["onnx/model.onnx"]),
        ({"STORAGE_IGNORE_PATTERNS": '["*.bin"]', "AIM_HF_EXCLUDE": "*/*"}, ["config.json", "model.safetensors"]),
    ],
)
def test_patterns_choose_files(hub: Hub, tmp_path: Path, patterns: dict[str, str], landed: list[str]) -> None:
    hub.create("org/model").commit(REPOSITORY)
    result = run("kserve", "hf://org/model", tmp_path, extra={"HF_ENDPOINT": hub.endpoint, **patterns})
    assert result.status == 0, result.stderr
    assert sorted(model(tmp_path)) == landed


def test_a_malformed_list_of_patterns_is_named(tmp_path: Path) -> None:
    result = run("kserve", "hf://org/model", tmp_path, extra={"STORAGE_ALLOW_PATTERNS": '["*.bin"'})
    assert result.status == 78
    assert "STORAGE_ALLOW_PATTERNS" in result.last_line


def test_the_mounted_ca_bundle_is_trusted(web: WebServer, web_root: Path, authority: Authority, tmp_path: Path) -> None:
    (web_root / f"{tmp_path.name}.bin").write_bytes(b"bytes")
    mount = tmp_path / "ca"
    mount.mkdir()
    extra = {"CA_BUNDLE_CONFIGMAP_NAME": "cabundle", "CA_BUNDLE_VOLUME_MOUNT_POINT": str(mount)}
    url = f"{web.secure_url}/{tmp_path.name}.bin"
    lost = run("kserve", url, tmp_path / "models", extra=extra)
    assert lost.status == 78
    assert f"no CA bundle at {mount}" in lost.stderr
    (mount / "cabundle.crt").write_bytes(authority.bundle.read_bytes())
    result = run("kserve", url, tmp_path / "models", extra=extra)
    assert result.status == 0, result.stderr
    assert model(tmp_path / "models") == {f"{tmp_path.name}.bin": b"bytes"}


def test_an_s3_service_is_found_by_its_kserve_names(s3: S3Server, tmp_path: Path) -> None:
    bucket = new_bucket(s3.client())
    s3.client().put_object(Bucket=bucket, Key="m/model.bin", Body=b"bytes")
    kserve = {
        "S3_ENDPOINT": s3.endpoint.removeprefix("http://"),
        "S3_USE_HTTPS": "0",
        "S3_VERIFY_SSL": "0",
        "AWS_DEFAULT_REGION": "us-east-1",
        **s3.account.environment,
    }
    result = run("kserve", f"s3://{bucket}/m", tmp_path, extra=kserve)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"model.bin": b"bytes"}


@pytest.mark.parametrize("command", ["kserve", "download"])
def test_an_s3_service_is_found_by_kserve_s_storage_config(s3: S3Server, tmp_path: Path, command: str) -> None:
    bucket = new_bucket(s3.client())
    s3.client().put_object(Bucket=bucket, Key="m/model.bin", Body=b"bytes")
    config = {
        "type": "s3",
        "endpoint_url": "http://wrong.invalid",
        "access_key_id": s3.account.access_key_id,
        "secret_access_key": s3.account.secret_access_key,
        "region": "us-east-1",
        "verify_ssl": False,
        "ca_bundle": "",
    }
    extra = {
        "STORAGE_CONFIG": json.dumps(config),
        "STORAGE_OVERRIDE_CONFIG": json.dumps({"endpoint_url": s3.endpoint}),
        "AWS_ENDPOINT_URL": "http://also-wrong.invalid",
    }
    result = run("--log-level", "debug", command, f"s3://{bucket}/m", tmp_path, extra=extra)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"model.bin": b"bytes"}
    assert s3.account.secret_access_key not in result.stderr


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (f'{{"secret_access_key": "{WORD}"', "STORAGE_CONFIG: its value is not a JSON object"),
        (f'["{WORD}"]', "STORAGE_CONFIG: its value is not a JSON object"),
        (f'{{"secret_access_key": ["{WORD}"]}}', "STORAGE_CONFIG: its value is not a JSON object of strings"),
        ('{"type": "hdfs"}', "STORAGE_CONFIG: its type is 'hdfs', and only s3 is served"),
    ],
)
def test_a_storage_config_that_cannot_be_meant_is_named_without_its_secrets(
    tmp_path: Path, config: str, told: str
) -> None:
    result = run("kserve", "s3://bucket/m", tmp_path, extra={"STORAGE_CONFIG": config})
    assert result.status == 78
    assert told in result.last_line
    assert WORD not in result.stderr


def test_what_kserve_wants_decrypted_is_refused_before_anything_is_done(own_web: BrokenWeb, tmp_path: Path) -> None:
    url = own_web.put("model.bin", b"bytes")
    result = run("kserve", url, tmp_path, extra={"CONFIDENTIAL_ENABLED": "true"})
    assert result.status == 78
    assert "CONFIDENTIAL_ENABLED" in result.last_line
    assert not own_web.log.records()
    assert run("kserve", url, tmp_path, extra={"CONFIDENTIAL_ENABLED": "false"}).status == 0


def test_the_script_behind_every_entry_point_knows_it_by_its_name(own_web: BrokenWeb, tmp_path: Path) -> None:
    script = tmp_path / "initializer-entrypoint"
    script.symlink_to(ROOT / "entrypoint.sh")
    programs = Path(sys.executable).parent
    clean = environment({"PATH": f"{programs}:{os.environ['PATH']}"})
    command: list[str | Path] = [script, own_web.put("model.tgz", ARCHIVE), tmp_path / "models"]
    done = subprocess.run(command, env=clean, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    assert model(tmp_path / "models") == FILES


PAGE = (ROOT / "docs" / "kserve.md").read_text()


def test_the_page_s_manifest_uses_the_entry_point_of_the_image() -> None:
    (manifest,) = [yaml.safe_load(shown) for shown in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
    container = manifest["spec"]["container"]
    assert (manifest["apiVersion"], manifest["kind"]) == ("serving.kserve.io/v1alpha1", "ClusterStorageContainer")
    assert container["command"] == [ENTRY_POINT]
    assert ENTRY_POINT.removeprefix("/") in (ROOT / "Dockerfile").read_text()
    assert manifest["spec"]["supportsMultiModelDownload"] is True
    known = {name for section in SECTIONS for _, variable in documented(section) for name in variable.names}
    assert {entry["name"] for entry in container.get("env", [])} <= known
    prefixes = {entry.get("prefix") for entry in manifest["spec"]["supportedUriFormats"]}
    assert prefixes == {"hf://", "s3://", "https://", "http://"}


def test_the_page_names_only_variables_that_are_read() -> None:
    known = {name for section in SECTIONS for _, variable in documented(section) for name in variable.names}
    table = PAGE.partition("| variable |")[2].partition("\n\n")[0]
    names = {name for row in table.splitlines()[2:] for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
    assert "STORAGE_ALLOW_PATTERNS" in names
    assert names <= known


def test_header_secrets_do_not_print() -> None:
    settings = Settings.from_environment({"host-headers": f'{{"X": "{WORD}"}}'})
    assert WORD not in repr(settings)
