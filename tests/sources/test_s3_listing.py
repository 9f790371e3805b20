"""Listings of every length, in both of S3's ways, and what is asked about the objects in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Algorithm, Mismatch
from downloader.filters import FileFilter
from downloader.sources.s3.folder import MAX_HEADS, SAMPLE, SMALL
from tests.memory import MIB, run_measured
from tests.servers.bucket import PAGE, Bucket
from tests.servers.faults import FOREVER, Answer
from tests.servers.s3 import new_bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from downloader.sources.s3 import S3Source
    from tests.servers.s3 import S3Server

    Maker = Callable[..., S3Source]

MANY = MAX_HEADS + 50
ASLEEP = {"x-amz-storage-class": "GLACIER"}
RESTORED = {**ASLEEP, "x-amz-restore": 'ongoing-request="false", expiry-date="Fri, 21 Dec 2035 00:00:00 GMT"'}
RESTORING = {**ASLEEP, "x-amz-restore": 'ongoing-request="true"'}


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with Bucket() as bucket:
        yield bucket


@pytest.mark.parametrize("newer", [True, False], ids=["ListObjectsV2", "ListObjects"])
def test_a_listing_of_many_pages_is_complete(bucket: Bucket, s3_source: Maker, *, newer: bool) -> None:
    bucket.knows_newer_listing = newer
    for number in range(2 * PAGE + 1):
        bucket.put(f"m/{number:05}", b"x")
    bucket.put("m-2/other", b"x")
    files = s3_source("s3://bucket/m", bucket.environment).manifest().files
    assert [file.path for file in files] == [f"{number:05}" for number in range(2 * PAGE + 1)]


def test_of_many_objects_the_largest_are_asked_and_the_others_are_judged_by_their_tags(
    bucket: Bucket, s3_source: Maker
) -> None:
    for number in range(MANY):
        bucket.put(f"m/{number:05}", b"small")
    bucket.put("m/large", b"x" * 1000)
    files = {file.path: file for file in s3_source("s3://bucket/m", bucket.environment).manifest().files}
    asked = [record.request.path for record in bucket.log.records("object", method="HEAD")]
    assert len(asked) == len(set(asked)) == SAMPLE
    assert "/bucket/m/large" in asked
    assert {file.digests[0].algorithm for file in files.values()} == {Algorithm.MD5}
    assert {file.digests[0].mismatch for file in files.values()} == {Mismatch.AMBIGUOUS}


def test_of_many_objects_only_those_are_spared_that_are_small_and_have_an_md5_in_the_listing(
    bucket: Bucket, s3_source: Maker
) -> None:
    for number in range(MANY):
        bucket.put(f"m/{number:05}", b"small")
    large = {f"m/large-{number}" for number in range(SAMPLE + 5)}
    for key in large:
        bucket.put(key, bytes(SMALL + 1))
    in_parts = {f"m/parts-{number}" for number in range(5)}
    for key in in_parts:
        bucket.put(key, b"small, though not as small", {"ETag": f'"{"0" * 32}-2"'})
    s3_source("s3://bucket/m", bucket.environment).manifest()
    asked = {record.request.path for record in bucket.log.records("object", method="HEAD")}
    assert asked == {f"/bucket/{key}" for key in large | in_parts}


def test_where_tags_are_of_what_lies_encrypted_none_is_believed(bucket: Bucket, s3_source: Maker) -> None:
    for number in range(MANY):
        bucket.put(f"m/{number:05}", b"small", {"x-amz-server-side-encryption": "aws:kms"})
    files = s3_source("s3://bucket/m", bucket.environment).manifest().files
    assert len(files) == MANY
    assert {file.digests for file in files} == {()}
    # As many as can be are asked for checksums then, which do not depend on how an object is stored.
    assert len(bucket.log.records("object", method="HEAD")) == MAX_HEADS


def test_every_archived_object_is_asked_whether_it_can_be_read(bucket: Bucket, s3_source: Maker) -> None:
    for number in range(MAX_HEADS):
        bucket.put(f"m/{number:05}", b"not so small")
    bucket.put("m/cold", b"tiny", RESTORED)
    assert len(s3_source("s3://bucket/m", bucket.environment).manifest().files) == MAX_HEADS + 1
    bucket.put("m/cold", b"tiny", ASLEEP)
    with pytest.raises(Exception, match="s3://bucket/m/cold lies in an archive"):
        s3_source("s3://bucket/m", bucket.environment).manifest()


@pytest.mark.parametrize(
    ("headers", "readable"),
    [(RESTORED, True), (RESTORING, False), (ASLEEP, False), ({"x-amz-storage-class": "GLACIER_IR"}, True)],
)
def test_a_restored_object_is_as_good_as_any(
    bucket: Bucket, s3_source: Maker, headers: dict[str, str], *, readable: bool
) -> None:
    bucket.put("m/cold", b"cold", headers)
    for uri in ("s3://bucket/m", "s3://bucket/m/cold"):
        source = s3_source(uri, bucket.environment)
        if readable:
            assert [file.path for file in source.manifest().files] == ["cold"]
        else:
            with pytest.raises(Exception, match="restore it first"):
                source.manifest()


def test_a_restored_object_of_a_real_server_is_readable(s3: S3Server, s3_source: Maker) -> None:
    bucket = new_bucket(s3.client())
    s3.client().put_object(Bucket=bucket, Key="m/cold", Body=b"cold", StorageClass="GLACIER")
    s3.client().restore_object(Bucket=bucket, Key="m/cold", RestoreRequest={"Days": 1})
    assert [file.path for file in s3_source(f"s3://{bucket}/m", s3.environment()).manifest().files] == ["cold"]


@pytest.mark.parametrize(
    ("uri", "found", "warning"),
    [
        ("m/model", "model", "is an object and a folder: downloading the object"),
        ("m/model/", "a", ""),
        ("m/other", "b", ""),
        ("m/marked", "c", "is an empty object and a folder with files: downloading the folder"),
        ("m/empty", "empty", ""),
        ("", "d", ""),
    ],
)
def test_an_object_beats_a_folder_of_its_name_unless_it_is_only_a_marker(
    strict_s3: S3Server, s3_source: Maker, caplog: pytest.LogCaptureFixture, *, uri: str, found: str, warning: str
) -> None:
    client = strict_s3.client()
    name = new_bucket(client)
    keys = {"m/model": b"x", "m/model/a": b"x", "m/other/b": b"x", "m/marked": b"", "m/marked/c": b"x", "m/empty": b""}
    for key, body in (keys if uri else {"d": b"x"}).items():
        client.put_object(Bucket=name, Key=key, Body=body)
    manifest = s3_source(f"s3://{name}/{uri}", strict_s3.environment(), FileFilter(("?",))).manifest()
    assert [file.path for file in manifest.files] == [found]
    assert manifest.single is (found in ("model", "empty"))
    assert warning in caplog.text
    assert ("downloading" in caplog.text) is bool(warning)


@pytest.mark.slow
def test_a_hundred_thousand_objects_take_little_memory(bucket: Bucket) -> None:
    for number in range(100_000):
        bucket.put(f"m/shard-{number % 100:03}/file-{number:06}.safetensors", b"x" * 20)
    result, peak = run_measured("size", "s3://bucket/m", extra={**bucket.environment, "STALL_TIMEOUT": "60"})
    assert result.status == 0, result.stderr
    assert '"sizeBytes": 2000000' in result.stdout
    assert 10 * MIB < peak < 200 * MIB


def test_a_list_of_checksums_that_may_not_be_read_is_named_as_that(
    bucket: Bucket, s3_source: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    bucket.put("m/a", b"x")
    bucket.put("m/.artifact.sha256", b"x")
    denial = Answer(403, {}, b"<Error><Code>AccessDenied</Code></Error>")
    bucket.faults.add(denial, path="*.sha256", times=FOREVER)
    manifest = s3_source("s3://bucket/m", bucket.environment).manifest()
    assert ([file.path for file in manifest.files], manifest.checksums) == (["a"], None)
    assert "do not allow it: s3://bucket/m/.artifact.sha256" in caplog.text


def test_a_version_costs_the_listing_and_the_manifest_that_follows_does_not_list_again(
    bucket: Bucket, s3_source: Maker
) -> None:
    for number in range(PAGE + 1):
        bucket.put(f"m/{number:05}", b"x")
    source = s3_source("s3://bucket/m", bucket.environment)
    version = source.version()
    assert [record.route for record in bucket.log.records()] == ["refusal", "listing", "listing"]
    bucket.put("m/more", b"x")
    manifest = source.manifest()
    assert (manifest.version, len(manifest.files)) == (version, PAGE + 1)
    assert len(bucket.log.records("listing")) == 2
    manifest = source.manifest()
    assert (manifest.version, len(manifest.files)) == (source.version(), PAGE + 2)
    assert manifest.version != version


@pytest.mark.parametrize("tag", ["", '""'])
def test_a_listing_without_tags_names_no_version(bucket: Bucket, s3_source: Maker, tag: str) -> None:
    bucket.put("m/a", b"x")
    bucket.put("m/b", b"x", {"ETag": tag})
    source = s3_source("s3://bucket/m", bucket.environment)
    assert source.version() is None
    assert source.manifest().version is None


def test_what_may_not_be_listed_has_no_version(bucket: Bucket, s3_source: Maker) -> None:
    bucket.put("m", b"x")
    source = s3_source("s3://bucket/m", bucket.environment)
    bucket.faults.add(Answer(403, content=b"<Error><Code>AccessDenied</Code></Error>"), route="listing", times=FOREVER)
    assert source.version() is None
    assert source.manifest().single
