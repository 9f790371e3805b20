"""A listing keeps of each object what it says, also where it is not made as an object of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from hypothesis import example, given
from hypothesis import strategies as st

from downloader.artifact import RemoteFile, Validator
from downloader.sources.base import version_of
from downloader.sources.s3.address import S3Address
from downloader.sources.s3.listing import Listing, relative_path
from downloader.sources.s3.object_info import ARCHIVES, tag_digests
from downloader.sources.s3.page import Page

if TYPE_CHECKING:
    from downloader.sources.s3.client import S3ApiClient

URI = "s3://bucket/m{0}/ab"
PREFIX = S3Address.parse(URI).prefix
MD5 = st.text("0123456789abcdef", min_size=32, max_size=32)
TAGS = st.one_of(
    MD5.map('"{}"'.format), MD5, MD5.map('"{}-2"'.format), MD5.map(str.upper), st.just(""), st.none(), st.just("W/tag")
)
KEYS = st.builds(
    "".join, st.lists(st.sampled_from(["a", "b", "/", "//", "{path}", "{0}", "ab", "0" * 32]), min_size=1, max_size=4)
)
OBJECTS = st.lists(
    st.fixed_dictionaries(
        {"Key": KEYS.map(lambda key: PREFIX + key), "Size": st.integers(1, 9)},
        optional={"ETag": TAGS, "StorageClass": st.sampled_from(["STANDARD", *ARCHIVES])},
    ),
    unique_by=lambda one: relative_path(str(one["Key"]), PREFIX),
    max_size=12,
)


class Pages:
    """A client whose bucket has these objects, three in a page."""

    def __init__(self, objects: list[dict[str, Any]]) -> None:
        self._objects = objects

    def page(self, _bucket: str, _prefix: str, place: dict[str, str], *, newer: bool) -> Page:
        assert newer
        start = int(place.get("ContinuationToken", 0))
        stop = start + 3
        more = stop < len(self._objects)
        return Page(cast("Any", self._objects[start:stop]), more, {"ContinuationToken": str(stop)} if more else {})


def quoted(tag: str | None) -> str | None:
    bare = (tag or "").strip('"')
    return f'"{bare}"' if bare else None


def item(key: str, digit: str) -> dict[str, Any]:
    return {"Key": PREFIX + key, "Size": 1, "ETag": f'"{digit * 32}"'}


@given(OBJECTS)
@example([item("a//b", "1"), item("a/a", "2")])
def test_every_object_is_kept_as_it_was_listed(objects: list[dict[str, Any]]) -> None:
    listing = Listing(URI, S3Address.parse(URI), lambda _: False, skip_unsafe=False)
    listing.read(cast("S3ApiClient", Pages(objects)))
    expected = {}
    for one in objects:
        path, tag = relative_path(one["Key"], PREFIX), quoted(one.get("ETag"))
        expected[path] = RemoteFile(path, one["Size"], tag_digests(tag), Validator.of(tag), one["Key"])
    assert list(listing.files) == [expected[path] for path in sorted(expected)]
    by_path = sorted(objects, key=lambda one: relative_path(one["Key"], PREFIX))
    assert [listing.is_archived(row) for row in range(len(objects))] == [
        one.get("StorageClass") in ARCHIVES for one in by_path
    ]
    by_key = sorted(objects, key=lambda one: str(one["Key"]))
    lines = [f"{one['Key']}\0{one['Size']}\0{quoted(one.get('ETag'))}" for one in by_key]
    whole = objects and all(quoted(one.get("ETag")) for one in objects)
    assert listing.version == (version_of(URI, lines) if whole else None)
