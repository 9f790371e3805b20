"""A listing is whole only when the server says so: what is missing in a page proves nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from downloader.errors import ConfigurationError, ProtocolFailed, SourceUnavailable, Verdict
from downloader.filters import FileFilter
from tests.servers.bucket import Bucket
from tests.servers.faults import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from downloader.sources.s3 import S3Source

    Maker = Callable[..., S3Source]

NAMES = [f"file-{number}" for number in range(5)]


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with Bucket() as bucket:
        bucket.page_size = 2
        for name in NAMES:
            bucket.put(f"m/{name}", name.encode())
        yield bucket


def listed(bucket: Bucket, s3_source: Maker) -> list[str]:
    return [file.path for file in s3_source("s3://bucket/m", bucket.environment).manifest().files]


def page_of(names: list[str], more: str = "") -> bytes:
    objects = "".join(
        f"<Contents><Key>m/{name}</Key><Size>{len(name)}</Size><ETag>t</ETag></Contents>" for name in names
    )
    page = f"<ListBucketResult><IsTruncated>false</IsTruncated>{more}{objects}</ListBucketResult>"
    return page.encode()


@pytest.mark.parametrize("names_next", [True, False], ids=["next place named", "next place not named"])
@pytest.mark.parametrize(
    ("older", "known"),
    [(True, "marker"), (False, "marker"), (False, "start-after")],  # the older form knows no start-after
    ids=["older form, marker", "newer form, marker", "newer form, start-after"],
)
def test_a_truncated_page_is_followed_by_the_rest(
    bucket: Bucket, s3_source: Maker, known: str, *, names_next: bool, older: bool
) -> None:
    bucket.names_next, bucket.ignores_list_type = names_next, older
    bucket.knows_marker, bucket.knows_start_after = known == "marker", known == "start-after"
    assert listed(bucket, s3_source) == NAMES


def test_a_truncated_page_whose_rest_never_comes_is_an_error(bucket: Bucket, s3_source: Maker) -> None:
    bucket.names_next = bucket.knows_marker = bucket.knows_start_after = False
    with pytest.raises(ProtocolFailed, match="says that more follows, and does not send it"):
        listed(bucket, s3_source)


@pytest.mark.parametrize(
    ("more", "end"), [("True", "False"), ("1", "0"), (" true ", " false "), ("", ""), ("perhaps", "perhaps")]
)
@pytest.mark.parametrize("names_next", [True, False])
def test_whatever_does_not_say_that_it_is_the_last_page_is_not(
    bucket: Bucket, s3_source: Maker, more: str, end: str, *, names_next: bool
) -> None:
    bucket.truncated, bucket.names_next = {True: more, False: end}, names_next
    assert listed(bucket, s3_source) == NAMES


def test_a_last_page_that_names_a_next_place_all_the_same_ends_the_listing(bucket: Bucket, s3_source: Maker) -> None:
    page = page_of(NAMES, "<NextContinuationToken>m/file-4</NextContinuationToken>")
    bucket.faults.add(Answer(200, {}, page), route="listing", times=2)
    assert listed(bucket, s3_source) == NAMES


def test_pages_that_overlap_name_each_object_once(bucket: Bucket, s3_source: Maker) -> None:
    bucket.listed_twice = {"m/file-1": '"5e1b3e2a9d3ee4ce2a9ff6be5e9bb8a0"'}
    with pytest.raises(SourceUnavailable, match="'file-1' twice, with different sizes or tags") as caught:
        listed(bucket, s3_source)
    assert caught.value.verdict is Verdict.RETRY
    bucket.listed_twice = dict.fromkeys([f"m/{name}" for name in NAMES], "")
    assert listed(bucket, s3_source) == NAMES


def test_a_page_that_has_fewer_objects_than_it_says_is_followed_by_the_rest(bucket: Bucket, s3_source: Maker) -> None:
    bucket.faults.add(Answer(200, {}, page_of(NAMES[:2], "<KeyCount>5</KeyCount>")), route="listing")
    assert listed(bucket, s3_source) == NAMES


def test_a_server_that_miscounts_is_asked_once_whether_more_follows(bucket: Bucket, s3_source: Maker) -> None:
    bucket.faults.add(Answer(200, {}, page_of(NAMES, "<KeyCount>1000</KeyCount>")), route="listing")
    assert listed(bucket, s3_source) == NAMES
    assert len(bucket.log.records("listing")) == 2


def test_folders_are_not_taken_for_what_is_in_them(bucket: Bucket, s3_source: Maker) -> None:
    page = page_of(NAMES[:2], "<CommonPrefixes><Prefix>m/folder/</Prefix></CommonPrefixes>")
    bucket.faults.add(Answer(200, {}, page), route="listing")
    with pytest.raises(ProtocolFailed, match="lists folders of s3://bucket/m/ instead of what is in them"):
        listed(bucket, s3_source)


@pytest.mark.parametrize("size", ["1000.0", "9" * 5000, "many", "0x10"])
@pytest.mark.parametrize("field", ["Size", "MaxKeys"])
def test_an_invalid_number_is_told_without_python(bucket: Bucket, s3_source: Maker, field: str, size: str) -> None:
    page = page_of(NAMES, "<MaxKeys>7</MaxKeys>").replace(b"<Size>6<", b"<Size>7<", 1)
    page = page.replace(f"<{field}>7<".encode(), f"<{field}>{size}<".encode())
    bucket.faults.add(Answer(200, {}, page), route="listing")
    with pytest.raises(ProtocolFailed, match=r"s3://bucket/m/ has something else where a number belongs") as caught:
        listed(bucket, s3_source)
    assert "literal" not in str(caught.value)


def test_an_object_of_another_folder_does_not_belong_to_this_one(bucket: Bucket, s3_source: Maker) -> None:
    page = b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>n/a</Key><Size>1</Size></Contents>"
    bucket.faults.add(Answer(200, {}, page + b"</ListBucketResult>"), route="listing")
    with pytest.raises(ProtocolFailed, match="'n/a'"):
        listed(bucket, s3_source)


@pytest.mark.parametrize(
    ("key", "exclude"),
    [
        ("m/x/", "x/*"),
        ("m/.downloading/old", ".downloading/*"),
        ("m/file-0/part", "file-0/*"),
        ("m/../b", "../*"),
        ("m/a/./b", "a/*"),
        ("m//file-0", "nothing"),
        ("m/" + "x" * 256, "x*"),
    ],
)
def test_filters_choose_before_names_are_judged(bucket: Bucket, s3_source: Maker, key: str, exclude: str) -> None:
    bucket.put(key, b"data")
    source = s3_source("s3://bucket/m", bucket.environment)
    with pytest.raises(ConfigurationError):
        source.manifest()
    file_filter = FileFilter(exclude=(exclude if exclude != "nothing" else "file-0",))
    source = s3_source("s3://bucket/m", bucket.environment, file_filter)
    left = [name for name in NAMES if file_filter.wants(name)]
    assert [file.path for file in source.manifest().files] == left
    asked = {record.request.path for record in bucket.log.records("object")}
    assert "/bucket/" + key not in asked - {f"/bucket/m/{name}" for name in NAMES}
