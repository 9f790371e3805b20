"""Listing and reading, on three real S3 services."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Algorithm, Digest, Span
from downloader.errors import AccessDenied, ConfigurationError, SourceChanged, SourceNotFound, UsageError
from downloader.sources.s3.address import S3Address
from tests.servers.blobs import Noise
from tests.servers.s3 import MIB, SMALLEST_PART, Account, new_bucket, upload, upload_in_parts
from tests.sources.reading import read, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.sources.s3 import S3Source
    from tests.servers.rclone import Rclone
    from tests.servers.s3 import S3Server

    Maker = Callable[..., S3Source]

ODD = "a b+c%41%2F ä日 ?#&='()!*~@,;$[]{}.bin"


def put(server: S3Server, *keys: str) -> str:
    client = server.client()
    bucket = new_bucket(client)
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    return bucket


def test_a_folder_ends_at_its_boundary_and_its_files_are_relative(any_s3: S3Server, s3_source: Maker) -> None:
    bucket = put(
        any_s3, "m/model/config.json", "m/model/sub/.hidden", "m/model-v2/config.json", "m/mod/x", f"m/model/{ODD}"
    )
    for uri in (f"s3://{bucket}/m/model", f"s3://{bucket}/m/model/"):
        found = whole(s3_source(uri, any_s3.environment()))
        assert found == {path: f"m/model/{path}".encode() for path in ("config.json", "sub/.hidden", ODD)}


def test_a_whole_bucket_is_listed(any_s3: S3Server, s3_source: Maker) -> None:
    bucket = put(any_s3, "a", "b/c")
    for uri in (f"s3://{bucket}", f"s3://{bucket}/"):
        assert whole(s3_source(uri, any_s3.environment())) == {"a": b"a", "b/c": b"b/c"}


def test_a_single_object_lands_under_its_last_name(any_s3: S3Server, s3_source: Maker) -> None:
    bucket = put(any_s3, "m/model.safetensors", f"m/{ODD}")
    assert whole(s3_source(f"s3://{bucket}/m/model.safetensors", any_s3.environment())) == {
        "model.safetensors": b"m/model.safetensors"
    }
    assert whole(s3_source(f"s3://{bucket}/m/{ODD}", any_s3.environment())) == {ODD: f"m/{ODD}".encode()}


def test_empty_objects_are_files_and_folder_markers_are_not(strict_s3: S3Server, s3_source: Maker) -> None:
    client = strict_s3.client()
    bucket = put(strict_s3, "m/file")
    for key in ("m/", "m/sub/", "m/empty"):
        client.put_object(Bucket=bucket, Key=key, Body=b"")
    assert whole(s3_source(f"s3://{bucket}/m", strict_s3.environment())) == {"empty": b"", "file": b"m/file"}


@pytest.mark.parametrize("path", ["misspelt", "misspelt/", "model/config.jso", "mode"])
def test_what_is_not_there_is_an_error(any_s3: S3Server, s3_source: Maker, path: str) -> None:
    bucket = put(any_s3, "model/config.json")
    with pytest.raises(SourceNotFound, match="no objects found"):
        s3_source(f"s3://{bucket}/{path}", any_s3.environment()).manifest()


def test_a_bucket_that_is_not_there_is_an_error(any_s3: S3Server, s3_source: Maker) -> None:
    with pytest.raises(SourceNotFound, match="S3 404 NoSuchBucket"):
        s3_source("s3://no-such-bucket-here/model", any_s3.environment()).manifest()


def test_any_span_can_be_read_of_objects_in_one_piece_and_in_parts(any_s3: S3Server, s3_source: Maker) -> None:
    client, content = any_s3.client(), Noise(2 * SMALLEST_PART + MIB).bytes()
    bucket = new_bucket(client)
    upload(client, bucket, "one", content)
    upload_in_parts(client, bucket, "parts", content)
    source = s3_source(f"s3://{bucket}", any_s3.environment())
    for file in source.manifest().files:
        assert file.size == len(content)
        for span in (Span(0, 1), Span(SMALLEST_PART - 1, SMALLEST_PART + 1), Span(file.size - 10, file.size)):
            assert read(source, file, span) == content[span.start : span.stop]
        assert read(source, file) == content


def test_a_replaced_object_is_noticed(any_s3: S3Server, s3_source: Maker) -> None:
    bucket = put(any_s3, "m/a")
    source = s3_source(f"s3://{bucket}/m", any_s3.environment())
    file = source.manifest().files[0]
    any_s3.client().put_object(Bucket=bucket, Key="m/a", Body=b"new")
    with pytest.raises(SourceChanged):
        read(source, file)


def test_a_version_stays_readable_when_a_newer_one_arrives(strict_s3: S3Server, s3_source: Maker) -> None:
    client = strict_s3.client()
    bucket = new_bucket(client)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    client.put_object(Bucket=bucket, Key="m/a", Body=b"old")
    source = s3_source(f"s3://{bucket}/m", strict_s3.environment())
    file = source.manifest().files[0]
    client.put_object(Bucket=bucket, Key="m/a", Body=b"new")
    assert file.version
    assert read(source, file) == b"old"


def test_a_long_listing_comes_in_pages(rclone_server: Rclone, s3_source: Maker) -> None:
    bucket = new_bucket(rclone_server.client())
    for number in range(1100):
        (rclone_server.buckets / bucket / f"{number:04}").write_bytes(b"")
    files = s3_source(f"s3://{bucket}", rclone_server.environment()).manifest().files
    assert [file.path for file in files] == [f"{number:04}" for number in range(1100)]


@pytest.mark.parametrize(
    ("keys", "culprit"),
    [
        (["m/../../escape"], "'../../escape'"),
        (["m/a/./b"], "'a/./b'"),
        (["m/a", "m/a/b"], "'a' is a file"),
        (["m/a/b", "m//a//b"], "'a/b' is listed twice"),
        (["m/bell\x07"], "control characters"),
        (["m/" + "x" * 256], "too long"),
        (["m/.downloading/x"], "collides"),
        (["m/folder/"], "'folder/' is a folder's name but holds data"),
    ],
)
def test_a_hostile_name_is_refused_before_the_first_byte(
    strict_s3: S3Server, s3_source: Maker, keys: list[str], culprit: str
) -> None:
    bucket = put(strict_s3, *keys)
    with pytest.raises(ConfigurationError, match="refused") as refusal:
        s3_source(f"s3://{bucket}/m", strict_s3.environment()).manifest()
    assert culprit in str(refusal.value)


def test_runs_of_slashes_become_one(strict_s3: S3Server, s3_source: Maker) -> None:
    bucket = put(strict_s3, "m//a", "m/b//c")
    assert whole(s3_source(f"s3://{bucket}/m", strict_s3.environment())) == {"a": b"m//a", "b/c": b"m/b//c"}


@pytest.mark.parametrize("secret", ["wrong", None])
def test_wrong_keys_are_told_apart(any_s3: S3Server, s3_source: Maker, secret: str | None) -> None:
    bucket = put(any_s3, "m/a")
    known = any_s3.account.access_key_id
    account = Account(known, secret) if secret else Account("UNKNOWNUNKNOWN", "secret")
    expected = "SignatureDoesNotMatch" if secret else "InvalidAccessKeyId"
    for path in ("m", "m/a"):
        with pytest.raises(AccessDenied, match=f"S3 403 {expected}"):
            s3_source(f"s3://{bucket}/{path}", any_s3.environment(account)).manifest()


def test_a_user_without_permissions_is_denied(strict_s3: S3Server, s3_source: Maker) -> None:
    bucket = put(strict_s3, "m/a")
    with pytest.raises(AccessDenied, match="S3 403 AccessDenied"):
        s3_source(f"s3://{bucket}/m", strict_s3.environment(strict_s3.stranger)).manifest()


def test_keys_that_lose_their_rights_midway_are_named(strict_s3: S3Server, s3_source: Maker) -> None:
    bucket = put(strict_s3, "m/a")
    file = s3_source(f"s3://{bucket}/m", strict_s3.environment()).manifest().files[0]
    with pytest.raises(AccessDenied, match=f"AccessDenied.*s3://{bucket}/m/a"):
        read(s3_source(f"s3://{bucket}/m", strict_s3.environment(strict_s3.stranger)), file)


@pytest.mark.parametrize("how", [{"AIM_S3_ANONYMOUS": "true"}, {"AWS_ACCESS_KEY_ID": ""}])
def test_a_public_bucket_is_read_unsigned(ceph: S3Server, s3_source: Maker, how: dict[str, str]) -> None:
    bucket = put(ceph, "m/a")
    ceph.make_public(bucket)
    assert whole(s3_source(f"s3://{bucket}/m", {"AWS_ENDPOINT_URL": ceph.endpoint, **how})) == {"a": b"m/a"}


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"AIM_S3_ANONYMOUS": "true"}, "unsigned requests were asked for"),
        ({"AWS_ACCESS_KEY_ID": ""}, "AWS_ACCESS_KEY_ID is set to nothing"),
        ({}, "Unable to locate credentials"),
        ({"AIM_S3_AUTH_MODE": "chain"}, "Unable to locate credentials"),
    ],
)
def test_a_private_bucket_says_why_no_provider_was_asked_for_credentials(
    ceph: S3Server, s3_source: Maker, how: dict[str, str], why: str
) -> None:
    bucket = put(ceph, "m/a")
    with pytest.raises(AccessDenied, match=why):
        s3_source(f"s3://{bucket}/m", {"AWS_ENDPOINT_URL": ceph.endpoint, **how}).manifest()


def test_a_public_object_is_read_where_listing_is_denied(ceph: S3Server, s3_source: Maker) -> None:
    bucket = put(ceph, "m/a")
    ceph.make_public(bucket, listing=False)
    environ = {"AWS_ENDPOINT_URL": ceph.endpoint, "AIM_S3_ANONYMOUS": "true"}
    assert whole(s3_source(f"s3://{bucket}/m/a", environ)) == {"a": b"m/a"}
    with pytest.raises(AccessDenied):
        s3_source(f"s3://{bucket}/m", environ).manifest()


def test_the_bucket_s_own_checksum_list_gives_every_digest(any_s3: S3Server, s3_source: Maker) -> None:
    client, bucket = any_s3.client(), put(any_s3, "m/a", "m/b/c")
    sums = {path: hashlib.sha256(f"m/{path}".encode()).hexdigest() for path in ("a", "b/c")}
    checksums = "".join(f"{digest}  {path}\n" for path, digest in sums.items()).encode()
    client.put_object(Bucket=bucket, Key="m/.artifact.sha256", Body=checksums)
    manifest = s3_source(f"s3://{bucket}/m", any_s3.environment()).manifest()
    assert manifest.checksums == checksums
    assert {file.path: file.digests for file in manifest.files} == {
        path: (Digest(Algorithm.SHA256, digest),) for path, digest in sums.items()
    }


@pytest.mark.parametrize("checksums", [b"0" * 64 + b"  other\n", b"nonsense\n"])
def test_a_checksum_list_of_other_files_is_left_out(
    s3: S3Server, s3_source: Maker, caplog: pytest.LogCaptureFixture, checksums: bytes
) -> None:
    bucket = put(s3, "m/a")
    s3.client().put_object(Bucket=bucket, Key="m/.artifact.sha256", Body=checksums)
    manifest = s3_source(f"s3://{bucket}/m", s3.environment()).manifest()
    assert [file.path for file in manifest.files] == ["a"]
    assert manifest.checksums is None
    md5 = hashlib.md5(b"m/a").hexdigest()  # noqa: S324
    assert [str(digest) for digest in manifest.files[0].digests] == [f"md5:{md5}"]
    assert ".artifact.sha256" in caplog.text


def test_an_archived_object_is_refused_before_the_first_byte(s3: S3Server, s3_source: Maker) -> None:
    bucket = put(s3, "m/a")
    s3.client().put_object(Bucket=bucket, Key="m/cold", Body=b"cold", StorageClass="GLACIER")
    for path in ("m", "m/cold"):
        with pytest.raises(Exception, match=f"s3://{bucket}/m/cold lies in an archive"):
            s3_source(f"s3://{bucket}/{path}", s3.environment()).manifest()


def test_it_says_where_and_as_whom_it_asks_and_no_secret(
    s3: S3Server, s3_source: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    bucket = put(s3, "m/a")
    with caplog.at_level(logging.DEBUG, logger="downloader"):
        s3_source(f"s3://{bucket}/m", s3.environment()).manifest()
    assert f"S3 at {s3.endpoint}, region us-east-1, path style, with the keys of the environment" in caplog.text
    assert s3.account.secret_access_key not in caplog.text


@pytest.mark.parametrize("uri", ["s3://", "s3:///key", "s3://id:secret@bucket/key", "s3://b/a/../c", "s3://b/./c"])
def test_a_uri_that_names_nothing_is_a_usage_error_without_secrets(uri: str) -> None:
    with pytest.raises(UsageError) as refusal:
        S3Address.parse(uri)
    assert "secret" not in str(refusal.value)


def test_letters_with_a_meaning_in_urls_are_letters_of_a_key() -> None:
    address = S3Address.parse("s3://bucket/a?versionId=1#x%20/y")
    assert (address.bucket, address.key) == ("bucket", "a?versionId=1#x%20/y")


def test_a_version_names_keys_sizes_and_tags_on_every_server(any_s3: S3Server, s3_source: Maker) -> None:
    client, bucket = any_s3.client(), put(any_s3, "m/a", "m/b/c")
    environ = any_s3.environment()
    source = s3_source(f"s3://{bucket}/m", environ)
    seen = [source.version()]
    assert seen[0]
    assert source.manifest().version == s3_source(f"s3://{bucket}/m", environ).version() == seen[0]
    client.put_object(Bucket=bucket, Key="m/a", Body=b"a/m")
    seen.append(source.version())
    client.put_object(Bucket=bucket, Key="m/more", Body=b"")
    seen.append(source.version())
    client.delete_object(Bucket=bucket, Key="m/b/c")
    seen.append(source.version())
    assert len(set(seen)) == 4
    client.put_object(Bucket=bucket, Key="elsewhere", Body=b"")
    assert source.version() == seen[-1]
    assert s3_source(f"s3://{bucket}/m/a", environ).version() is None
    assert s3_source(f"s3://{bucket}", environ).version() not in seen
