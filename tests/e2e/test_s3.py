"""The command on S3: the operator's typed connection, the ways round broken ranges, what it says of proofs."""

from __future__ import annotations

import subprocess
import uuid
from typing import TYPE_CHECKING

import pytest

from downloader.sources.retrying import MAX_IGNORED_RANGES
from tests.command import PEOPLE, content, model, run
from tests.servers.blobs import Noise
from tests.servers.broken import LongPart, Meanwhile, ShortPart
from tests.servers.bucket import Bucket
from tests.servers.faults import FOREVER, Answer, Fault, Flip, IgnoreRange, ShiftRange
from tests.servers.moto import Moto
from tests.servers.s3 import fill_bucket, new_bucket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server

MIB = 1 << 20
MODEL = Noise(9 * MIB + 77, seed=51).bytes()
FILES = {
    "config.json": b'{"model_type": "test"}',
    "empty.txt": b"",
    "model.safetensors": MODEL,
    ".hidden/notes.txt": b"hidden files are files",
    "tokenizer/tokenizer.json": Noise(300_000, seed=53).bytes(),
}


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with Bucket() as bucket:
        bucket.put("m/model.safetensors", MODEL)
        yield bucket


@pytest.mark.parametrize(
    "fault", [IgnoreRange(), ShiftRange(by=5), LongPart(by=3)], ids=lambda fault: type(fault).__name__
)
@pytest.mark.parametrize("presigned", [True, False], ids=["presigned", "signed headers"])
def test_where_ranges_do_not_work_one_stream_does(
    bucket: Bucket, tmp_path: Path, fault: Fault, *, presigned: bool
) -> None:
    bucket.presigned = presigned
    bucket.faults.add(fault, route="object", method="GET", times=MAX_IGNORED_RANGES)
    result = run("download", "s3://bucket/m", tmp_path, extra={**bucket.environment, "AIM_CONNECTIONS": "1"})
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"model.safetensors": MODEL}
    assert "switching to HTTP" in result.stderr
    last = bucket.log.records("object", method="GET")[-1].request
    assert ("X-Amz-Signature" in last.query) is presigned
    assert ("authorization" in last.headers) is not presigned
    assert "Signature" not in result.stderr


def test_a_shorter_part_than_was_asked_for_is_taken_and_the_rest_asked_for(bucket: Bucket, tmp_path: Path) -> None:
    bucket.faults.add(ShortPart(by=3), route="object", method="GET", times=2)
    result = run("download", "s3://bucket/m", tmp_path, extra={**bucket.environment, "AIM_CONNECTIONS": "1"})
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"model.safetensors": MODEL}
    assert "switching" not in result.stderr
    assert bucket.log.sent("object") == len(MODEL)


def test_without_http_in_the_sequence_broken_ranges_end_the_run(bucket: Bucket, tmp_path: Path) -> None:
    bucket.faults.add(IgnoreRange(), route="object", method="GET", times=FOREVER)
    result = run("download", "s3://bucket/m", tmp_path, extra={**bucket.environment, "AIM_DOWNLOADER_PROTOCOL": "S3"})
    assert result.status == 69, result.stderr
    assert "model.safetensors" not in model(tmp_path)


def test_one_stream_for_each_object_brings_everything_from_every_server(any_s3: S3Server, tmp_path: Path) -> None:
    name = f"streams-{uuid.uuid4().hex[:8]}"
    fill_bucket(any_s3.client(), name, {f"m/{path}": data for path, data in FILES.items()})
    result = run(
        "download", f"s3://{name}/m", tmp_path, extra={**any_s3.environment(), "AIM_DOWNLOADER_PROTOCOL": "HTTP"}
    )
    assert result.status == 0, result.stderr
    assert model(tmp_path) == FILES
    # moto, which looks at signatures in headers only, fails with status 500.
    assert ("presigned URL rejected" in result.stderr) is isinstance(any_s3, Moto)


def test_a_volume_that_came_from_the_hub_comes_back_identical_from_a_bucket(
    any_s3: S3Server, hub: Hub, tmp_path: Path
) -> None:
    hub.create("org/model").commit(FILES)
    first, second = tmp_path / "first", tmp_path / "second"
    assert run("download", "hf://org/model", first, extra={"HF_ENDPOINT": hub.endpoint}).status == 0
    bucket = new_bucket(any_s3.client())
    for path in first.rglob("*"):
        if path.is_file():
            any_s3.client().upload_file(str(path), bucket, f"tree/model/{path.relative_to(first)}")
    result = run("download", f"s3://{bucket}/tree/model", second, extra=any_s3.environment())
    assert result.status == 0, result.stderr
    assert content(second) == content(first)
    assert "# source: hf://org/model" in (second / ".artifact.sha256").read_text()
    assert _apparent_size(second) == _apparent_size(first)
    assert f"{len(FILES)} verified by sha256" in result.stderr
    verified = run("verify", second)
    assert verified.status == 0
    assert f"source s3://{bucket}/tree/model)" in verified.stderr


def _apparent_size(folder: Path) -> str:
    return subprocess.run(["du", "-sb", "."], cwd=folder, capture_output=True, text=True, check=True).stdout


def test_what_could_be_proved_is_said_at_the_end_and_by_verify(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("m/a", b"one piece")
    bucket.put("m/b", MODEL, part_size=5 * MIB)
    bucket.put("m/kms", b"a secret of the store's", {"x-amz-server-side-encryption": "aws:kms"})
    bucket.remove("m/model.safetensors")
    result = run("download", "s3://bucket/m", tmp_path, extra={**PEOPLE, **bucket.environment})
    assert result.status == 0, result.stderr
    unverified = "1 downloaded, not verified (the source publishes no checksum)"
    for how in ("1 verified by md5", "1 verified by etag", unverified):
        assert how in result.stderr
        assert how in run("verify", tmp_path).stderr
    assert "kms: size only" in run("--log-level", "debug", "verify", tmp_path).stderr
    subprocess.run(["sha256sum", "-c", "--quiet", ".artifact.sha256"], cwd=tmp_path, check=True)
    again = run("download", "s3://bucket/m", tmp_path, extra=bucket.environment)
    assert unverified in again.stderr


@pytest.mark.parametrize(
    ("headers", "fetches"),
    [
        # Nothing could ever prove it: the first byte is not asked for.
        ({"x-amz-server-side-encryption": "aws:kms"}, 0),
        # The server means something else by its tags, which only two looks can tell.
        ({"ETag": f'"{"0" * 32}"'}, 2),
    ],
)
def test_size_only_is_an_error_where_a_digest_is_required(
    bucket: Bucket, tmp_path: Path, headers: dict[str, str], fetches: int
) -> None:
    bucket.put("m/model.safetensors", b"content", headers)
    extra = {**bucket.environment, "AIM_DOWNLOADER_PROTOCOL": "S3"}
    result = run("download", "s3://bucket/m", tmp_path, "--require-digest", extra=extra)
    assert result.status == 65, result.stderr
    assert "not proved by a digest" in result.last_line
    assert len(bucket.log.records("object", method="GET")) == fetches
    assert "model.safetensors" not in model(tmp_path)


def test_a_volume_that_was_filled_without_proof_is_not_enough_where_a_digest_is_required(
    bucket: Bucket, tmp_path: Path
) -> None:
    bucket.put("m/model.safetensors", MODEL, part_size=5 * MIB + 777)
    bucket.tells_parts = False
    assert run("download", "s3://bucket/m", tmp_path, extra=bucket.environment).status == 0
    result = run("download", "s3://bucket/m", tmp_path, "--require-digest", extra=bucket.environment)
    assert result.status == 65, result.stderr


def test_an_object_whose_tag_means_something_else_costs_one_more_look(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("m/a", b"small", {"ETag": f'"{"0" * 32}"'})
    bucket.put("m/b", MODEL, {"ETag": f'"{"1" * 32}"'})
    bucket.put("m/c", MODEL, {"ETag": f'"{"2" * 32}-2"'}, part_size=5 * MIB)
    bucket.remove("m/model.safetensors")
    result = run("download", "s3://bucket/m", tmp_path, extra={**bucket.environment, "AIM_CONNECTIONS": "1"})
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"a": b"small", "b": MODEL, "c": MODEL}
    assert "3 downloaded, not verified (the server's ETag is not a checksum of the content)" in result.stderr
    for path, size in (("a", 5), ("b", len(MODEL)), ("c", len(MODEL))):
        assert bucket.log.sent("object", path=f"*/{path}") == 2 * size
    assert "3 downloaded, not verified" in run("verify", tmp_path).stderr


@pytest.mark.parametrize("odd", [0, 1, 2])
def test_an_odd_tag_of_one_object_makes_no_damage_to_another_acceptable(
    bucket: Bucket, tmp_path: Path, odd: int
) -> None:
    for number in range(odd):
        bucket.put(f"m/a{number}", b"%d" % number * 1000, {"ETag": f'"{number + 1:032x}"'})
    bucket.faults.add(Flip(), route="object", path="*/model.safetensors", method="GET", offset=5 * MIB)
    result = run("download", "s3://bucket/m", tmp_path, extra={**bucket.environment, "AIM_CONNECTIONS": "1"})
    assert result.status == 0, result.stderr
    assert model(tmp_path)["model.safetensors"] == MODEL
    assert "1 verified by md5" in result.stderr


def test_an_object_that_is_deleted_during_the_run_is_left_out_by_a_new_listing(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("m/z.bin", b"soon gone")
    delete = Meanwhile(lambda: bucket.remove("m/z.bin"))
    bucket.faults.add(delete, route="object", path="*/model.safetensors", method="GET")
    result = run("download", "s3://bucket/m", tmp_path, extra={**bucket.environment, "AIM_CONNECTIONS": "1"})
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"model.safetensors": MODEL}
    assert "listing it again" in result.stderr


@pytest.mark.parametrize("tag", ['"opaque"', f'"{"5" * 32}"'])
def test_an_empty_object_needs_a_digest_of_nothing_where_one_is_required(
    bucket: Bucket, tmp_path: Path, tag: str
) -> None:
    bucket.put("m/__init__.py", b"")
    extra = {**bucket.environment, "AIM_REQUIRE_DIGEST": "true", "AIM_DOWNLOADER_PROTOCOL": "S3"}
    result = run("download", "s3://bucket/m", tmp_path / "right", extra=extra)
    assert result.status == 0, result.stderr
    assert "2 verified by md5" in result.stderr
    bucket.put("m/__init__.py", b"", {"ETag": tag})
    result = run("download", "s3://bucket/m", tmp_path / "odd", extra=extra)
    assert result.status == 65, result.stderr
    assert "__init__.py" in result.last_line
    assert run("download", "s3://bucket/m", tmp_path / "odd", extra=bucket.environment).status == 0


def test_filters_choose_from_folders_and_not_a_single_object(s3: S3Server, tmp_path: Path) -> None:
    name = f"filters-{uuid.uuid4().hex[:8]}"
    fill_bucket(s3.client(), name, {f"m/{path}": data for path, data in FILES.items()})
    filters = {**s3.environment(), "AIM_HF_INCLUDE": "*.json", "AIM_HF_EXCLUDE": "*/*"}
    assert run("download", f"s3://{name}/m", tmp_path / "folder", extra=filters).status == 0
    assert model(tmp_path / "folder").keys() == {"config.json"}
    single = f"s3://{name}/m/model.safetensors"
    assert str(len(MODEL)) in run("size", single, extra=filters).stdout
    assert run("download", single, tmp_path / "single", extra=filters).status == 0
    assert model(tmp_path / "single").keys() == {"model.safetensors"}
    verified = run("verify", tmp_path / "single", extra=filters)
    assert "verified 1 file in" in verified.stderr


TYPED = (
    "AWS_PROFILE AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE AWS_ROLE_ARN AWS_WEB_IDENTITY_TOKEN_FILE AWS_SESSION_TOKEN"
    " AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_CA_BUNDLE AWS_ENDPOINT_URL_S3 AWS_ENDPOINT_URL_STS AWS_MAX_ATTEMPTS"
    " AWS_RETRY_MODE AWS_USE_FIPS_ENDPOINT AWS_USE_DUALSTACK_ENDPOINT AWS_STS_REGIONAL_ENDPOINTS AIM_S3_CA_BUNDLE"
    " AIM_S3_ANONYMOUS AIM_S3_ADDRESSING_STYLE AIM_S3_SIGNATURE_VERSION S3_ENDPOINT S3_NO_SSL S3_USE_HTTPS"
)


@pytest.mark.parametrize("mode", ["static", "chain", "anonymous"])
def test_a_typed_connection_works_with_its_twenty_empty_variables(ceph: S3Server, tmp_path: Path, mode: str) -> None:
    name = f"typed-{uuid.uuid4().hex[:8]}"
    fill_bucket(ceph.client(), name, {"m/config.json": b"{}"})
    extra = dict.fromkeys(TYPED.split(), "") | {
        "AWS_ENDPOINT_URL": ceph.endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
        "AIM_S3_AUTH_MODE": mode,
        "AIM_S3_INSECURE_SKIP_VERIFY": "false",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AIM_DOWNLOADER_PROTOCOL": "XET,HF_TRANSFER",
    }
    for variable, value in ceph.account.environment.items():
        (tmp_path / variable).write_text(f"{value}\n")
        extra[f"{variable}_FILE"] = str(tmp_path / variable) if mode == "static" else ""
    if mode == "chain":
        home = tmp_path / "home/.aws"
        home.mkdir(parents=True)
        lines = "\n".join(f"{name.lower()} = {value}" for name, value in ceph.account.environment.items())
        (home / "credentials").write_text(f"[default]\n{lines}\n")
        extra["HOME"] = str(home.parent)
    if mode == "anonymous":
        ceph.make_public(name)
    result = run("download", f"s3://{name}/m", tmp_path / "target", extra=extra)
    assert result.status == 0, result.stderr
    assert model(tmp_path / "target") == {"config.json": b"{}"}
    how = {
        "static": "with the keys",
        "chain": "shared-credentials-file",
        "anonymous": "unsigned requests were asked for",
    }
    assert how[mode] in result.stderr
    assert ceph.account.secret_access_key not in result.stderr


@pytest.mark.parametrize(
    ("levels", "told"),
    [
        ({}, True),
        ({"AIM_S3_LOG_LEVEL": "WARNING"}, False),
        ({"AIM_LOG_LEVEL": "warning"}, False),
        ({"AIM_LOG_LEVEL": "warning", "AIM_S3_LOG_LEVEL": "INFO"}, True),
        ({"AIM_S3_LOG_LEVEL": "whatever"}, True),
    ],
)
def test_the_s3_part_of_the_log_has_a_level_of_its_own(bucket: Bucket, levels: dict[str, str], *, told: bool) -> None:
    result = run("size", "s3://bucket/m", extra={**bucket.environment, **levels})
    assert result.status == 0
    assert ("path style" in result.stderr) is told


def test_a_server_that_asks_for_a_pause_is_asked_by_fewer(bucket: Bucket, tmp_path: Path) -> None:
    files = {f"{number:02}.bin": Noise(5 * MIB, seed=number).bytes() for number in range(6)}
    for path, data in files.items():
        bucket.put(f"m/{path}", data)
    bucket.remove("m/model.safetensors")
    slow_down = Answer(503, {}, b"<Error><Code>SlowDown</Code></Error>")
    bucket.faults.add(slow_down, route="object", method="GET", times=8)
    result = run("download", "s3://bucket/m", tmp_path, extra={**bucket.environment, "STALL_TIMEOUT": "60"})
    assert result.status == 0, result.stderr
    assert model(tmp_path) == files
    assert "reduced to" in result.stderr
    assert "switching" not in result.stderr
