"""What an object is: a HEAD is believed only where nothing speaks against it, and GET has the last word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from downloader.errors import AccessDenied, SourceChanged, SourceNotFound, SourceUnavailable, Throttled
from tests.servers.bucket import Bucket
from tests.servers.faults import FOREVER, Answer, Fault, HangUp, Headers, Length
from tests.sources.reading import read, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from downloader.sources.s3 import S3Source
    from tests.servers.messages import Record

    Maker = Callable[..., S3Source]

CONTENT = {"a.bin": b"0123456789" * 30, "sub/b.bin": b"abc", "__init__.py": b""}
KMS = {"x-amz-server-side-encryption": "aws:kms", "ETag": '"opaque"'}


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with Bucket() as bucket:
        for path, content in CONTENT.items():
            bucket.put(f"m/{path}", content)
        yield bucket


def asked(bucket: Bucket, path: str) -> list[tuple[str, str | None]]:
    """Return method and range of each request for an object."""
    records: list[Record] = bucket.log.records(path=f"/bucket/m/{path}")
    return [(record.request.method, record.range) for record in records]


BENT: dict[str, Fault] = {
    "without a length": Length(None),
    "with the length 0": Length(0),
    "with another length": Length(7),
    "with an internal error": Answer(500),
    "with a bad gateway": Answer(502),
    "with a busy server": Answer(503),
    "with a server that knows no HEAD": Answer(501),
    "with a method that is not allowed": Answer(405),
    "with a denial": Answer(403),
    "with a closed connection": HangUp(),
    "with a broken connection": HangUp(reset=True),
}


@pytest.mark.parametrize("fault", BENT.values(), ids=BENT)
def test_objects_are_brought_whatever_head_answers(bucket: Bucket, s3_source: Maker, fault: Fault) -> None:
    bucket.faults.add(fault, method="HEAD", path="/bucket/m/*", times=FOREVER)
    source = s3_source("s3://bucket/m", bucket.environment)
    assert whole(source) == CONTENT
    assert all(file.digests for file in source.manifest().files)
    source = s3_source("s3://bucket/m/a.bin", bucket.environment)
    if fault == Length(7):
        with pytest.raises(SourceChanged):  # then the run lists again
            whole(source)
    assert whole(source) == {"a.bin": CONTENT["a.bin"]}


def test_a_head_that_is_plausible_costs_no_get(bucket: Bucket, s3_source: Maker) -> None:
    s3_source("s3://bucket/m", bucket.environment).manifest()
    assert [asked(bucket, path) for path in CONTENT] == [[("HEAD", None)]] * 3


def test_where_head_fails_it_is_not_asked_again_for_each_object(bucket: Bucket, s3_source: Maker) -> None:
    for number in range(20):
        bucket.put(f"m/{number}", b"x")
    bucket.faults.add(Answer(500), method="HEAD", times=FOREVER)
    environ = {**bucket.environment, "AIM_S3_MAX_WORKERS": "1"}
    assert len(s3_source("s3://bucket/m/", environ).manifest().files) == 23
    assert len(bucket.log.records(method="HEAD")) == 1


def test_that_an_object_is_empty_is_seen_with_get_where_no_digest_says_so(bucket: Bucket, s3_source: Maker) -> None:
    bucket.put("m/secret", b"", KMS)
    assert whole(s3_source("s3://bucket/m", bucket.environment))["secret"] == b""
    assert asked(bucket, "secret") == [("HEAD", None), ("GET", "bytes=0-0")]
    assert asked(bucket, "__init__.py") == [("HEAD", None)]
    bucket.put("m/single", b"", KMS)
    assert whole(s3_source("s3://bucket/m/single", bucket.environment)) == {"single": b""}
    assert ("GET", "bytes=0-0") in asked(bucket, "single")


@pytest.mark.parametrize("path", ["m", "m/secret"])
def test_an_object_that_listing_and_head_call_empty_is_not_if_get_has_bytes(
    bucket: Bucket, s3_source: Maker, path: str
) -> None:
    bucket.put("m/secret", b"not empty at all", KMS)
    bucket.faults.add(Length(0), method="HEAD", times=FOREVER)
    bucket.sizes = {"m/secret": 0}
    assert whole(s3_source(f"s3://bucket/{path}", bucket.environment))["secret"] == b"not empty at all"


@pytest.mark.parametrize("uri", ["s3://bucket/m", "s3://bucket/m/a.bin"])
def test_an_object_that_get_alone_calls_empty_is_not_taken_for_empty(
    bucket: Bucket, s3_source: Maker, uri: str
) -> None:
    source = s3_source(uri, bucket.environment)
    bucket.faults.add(Answer(200), route="object", method="GET", path="*/a.bin", times=FOREVER)
    with pytest.raises(SourceChanged):
        whole(source)
    with pytest.raises(SourceUnavailable, match=r"300 bytes by .*, and none by GET"):
        source.manifest()


def test_an_empty_object_is_empty_also_where_ranges_are_ignored(bucket: Bucket, s3_source: Maker) -> None:
    bucket.put("m/secret", b"", KMS)
    for length in (0, None):
        bucket.faults.add(Answer(200), path="*/secret", method="GET")
        bucket.faults.add(Length(length), path="*/secret", method="HEAD")
        assert whole(s3_source("s3://bucket/m/", bucket.environment))["secret"] == b""


def test_without_any_length_the_listing_s_counts_and_the_body_is_read_to_its_end(
    bucket: Bucket, s3_source: Maker
) -> None:
    bucket.put("m/large", b"x" * 100_000)
    bucket.faults.add(Length(None), method="HEAD", times=FOREVER)
    bucket.faults.add(Headers({"Content-Range": "bytes 0-0/*"}), method="GET", path="*/large")
    assert whole(s3_source("s3://bucket/m", bucket.environment))["large"] == b"x" * 100_000


def test_a_single_object_without_any_length_is_read_to_its_end(bucket: Bucket, s3_source: Maker) -> None:
    bucket.put("m/large", b"x" * 100_000)
    bucket.faults.add(Length(None), method="HEAD", times=FOREVER)
    bucket.faults.add(Headers({"Content-Range": "bytes 0-0/*"}), method="GET")
    source = s3_source("s3://bucket/m/large", bucket.environment)
    (file,) = source.manifest().files
    assert not file.sized
    assert file.digests
    assert read(source, file, file.span) == b"x" * 100_000


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Answer(403, {}, b"<Error><Code>AccessDenied</Code></Error>"), AccessDenied),
        (Answer(500), SourceUnavailable),
        (Answer(503, {"Retry-After": "7"}), Throttled),
    ],
)
def test_what_get_refuses_as_well_is_refused(
    bucket: Bucket, s3_source: Maker, fault: Fault, expected: type[Exception]
) -> None:
    bucket.faults.add(fault, path="*/a.bin", times=FOREVER)
    with pytest.raises(expected):
        s3_source("s3://bucket/m", bucket.environment).manifest()


def test_a_pause_that_a_server_asks_for_is_not_answered_with_another_request(bucket: Bucket, s3_source: Maker) -> None:
    bucket.faults.add(Answer(503, {"Retry-After": "7"}), path="*/a.bin", times=FOREVER)
    with pytest.raises(Throttled):
        s3_source("s3://bucket/m", bucket.environment).manifest()
    assert asked(bucket, "a.bin") == [("HEAD", None)]


def test_an_object_that_vanishes_after_it_was_listed_is_listed_again(bucket: Bucket, s3_source: Maker) -> None:
    bucket.put("m/going", b"going")
    source = s3_source("s3://bucket/m", bucket.environment)
    assert source.version()
    bucket.remove("m/going")
    assert {file.path for file in source.manifest().files} == set(CONTENT)


def test_an_object_that_is_listed_again_and_again_but_never_there_is_not_found(
    bucket: Bucket, s3_source: Maker
) -> None:
    bucket.faults.add(Answer(404, {}, b"<Error><Code>NoSuchKey</Code></Error>"), path="*/a.bin", times=FOREVER)
    with pytest.raises(SourceNotFound, match=r"s3://bucket/m/a\.bin"):
        s3_source("s3://bucket/m", bucket.environment).manifest()
    assert len(bucket.log.records("listing")) == 3
