"""Pages of listings are read by the short way just as botocore reads them, or are left to it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError, create_parser
from hypothesis import given
from hypothesis import strategies as st

from downloader.config.s3 import S3Settings
from downloader.sources.s3.answers import Identity
from downloader.sources.s3.list_parser import read_contents
from downloader.sources.s3.session import new_client, new_session

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<Name>b</Name><IsTruncated>true</IsTruncated>"
)
TAIL = "<NextContinuationToken>more</NextContinuationToken></ListBucketResult>"
OBJECT = "<Contents><Key>a</Key><Size>1</Size><ETag>&quot;t&quot;</ETag></Contents>"
SHAPE: Any = botocore.session.get_session().get_service_model("s3").operation_model("ListObjectsV2").output_shape
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
OBJECTS = st.lists(st.tuples(TEXT, st.integers(0, 1 << 63), st.none() | TEXT, st.none() | TEXT), max_size=5)


def parsed(body: bytes, status: int = 200) -> tuple[Any, bool]:
    """Return what botocore makes of a page, and whether the objects came by the short way."""
    response: dict[str, Any] = {"status_code": status, "headers": {}, "body": body}
    handed: dict[str, Any] = {}
    read_contents(response, handed)
    found = create_parser("rest-xml").parse(response, SHAPE)
    return {**found, **handed}, bool(handed)


def by_botocore(body: bytes) -> Any:
    return create_parser("rest-xml").parse({"status_code": 200, "headers": {}, "body": body}, SHAPE)


def page(*objects: str) -> bytes:
    return (HEAD + "".join(objects) + TAIL).encode()


@given(OBJECTS, st.sampled_from(["", "\n  "]))
def test_a_page_says_the_same_by_either_way(objects: list[tuple[str, int, str | None, str | None]], space: str) -> None:
    lines = [
        f"<Contents>{space}<Key>{escape(key)}</Key>{space}<Size>{size}</Size>"
        + ("" if tag is None else f"<ETag>{escape(tag)}</ETag>{space}")
        + "<Owner><ID>1</ID></Owner><ChecksumAlgorithm>CRC32</ChecksumAlgorithm>"
        + ("" if kind is None else f"<StorageClass>{escape(kind)}</StorageClass>")
        + f"</Contents>{space}"
        for key, size, tag, kind in objects
    ]
    found, short = parsed(page(*lines))
    expected = by_botocore(page(*lines))
    assert short is bool(objects)
    facts = ("Key", "Size", "ETag", "StorageClass")
    assert found.get("Contents", []) == [
        {name: entry[name] for name in facts if name in entry} for entry in expected.pop("Contents", [])
    ]
    found.pop("Contents", None)
    assert found == expected


ODD = {
    "something between the objects": page(OBJECT, "<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>", OBJECT),
    "a name space of its own": page(OBJECT, OBJECT.replace("<Contents>", '<Contents xmlns="x">')),
    "no size": page(OBJECT, "<Contents><Key>b</Key></Contents>"),
    "no key": page(OBJECT, "<Contents><Size>1</Size></Contents>"),
    "two keys": page(OBJECT.replace("<Key>a</Key>", "<Key>a</Key><Key>b</Key>")),
    "a key with something in it": page(OBJECT.replace("<Key>a</Key>", "<Key><b>a</b></Key>")),
    "a malformed size": page(OBJECT.replace("<Size>1", "<Size>one")),
    "an end before the beginning": page("</Contents><Contents>"),
    "a beginning without an end": page("<Contents>" * 1000),
    "a comment": page(f"<!-- {OBJECT}", OBJECT, "-->"),
    "raw text": page(OBJECT.replace("<Key>a", "<Key><![CDATA[a]]>")),
    "an entity of its own": page(OBJECT.replace("<Key>a", "<Key>&b;")),
    "bytes that are no text": page(OBJECT).replace(b"<Key>a", b"<Key>\xff"),
    "nothing": b"",
}


@pytest.mark.parametrize("body", ODD.values(), ids=ODD)
def test_what_is_not_plain_is_left_to_botocore_as_it_is(body: bytes) -> None:
    response: dict[str, Any] = {"status_code": 200, "headers": {}, "body": body}
    handed: dict[str, Any] = {}
    read_contents(response, handed)
    assert (handed, response["body"]) == ({}, body)


def client_that_hears(body: bytes) -> Any:
    """Return our S3 client, to which every request is answered with a body."""
    settings = S3Settings(endpoint="http://localhost", region="us-east-1")
    client: Any = new_client(new_session(settings), settings, Identity(unsigned="test"))
    client.meta.events.register("before-send.s3", lambda **_: AWSResponse("", 200, HTTPHeaders(), _Body(body)))
    return client


class _Body(io.BytesIO):
    def stream(self) -> Iterator[bytes]:
        yield self.read()


def test_what_botocore_reads_to_find_an_error_in_disguise_is_without_the_objects() -> None:
    """Its handler is registered for the same event as this one."""
    seen: list[bytes] = []
    client = client_that_hears(page(OBJECT, OBJECT))
    client.meta.events.register("before-parse.s3.*", lambda response_dict, **_: seen.append(response_dict["body"]))
    found = client.list_objects_v2(Bucket="b")
    assert [entry["Key"] for entry in found["Contents"]] == ["a", "a"]
    assert seen == [page()]


@pytest.mark.parametrize(
    "body",
    [
        page(OBJECT, OBJECT)[:-1],
        page(OBJECT, OBJECT)[: -len(TAIL) - 3],
        page(OBJECT, OBJECT).replace(b"<Name>", b"<Name"),
        f"<Error><Code>SlowDown</Code>{OBJECT}</Error>".encode(),
    ],
    ids=["cut off at its end", "cut off in an object", "malformed before the objects", "an error with an object"],
)
def test_an_error_in_disguise_is_an_error_whatever_was_taken_out_of_it(body: bytes) -> None:
    with pytest.raises((ClientError, ResponseParserError)):
        client_that_hears(body).list_objects_v2(Bucket="b")


def test_an_error_is_left_to_botocore() -> None:
    assert not parsed(page(OBJECT), status=500)[1]


@given(st.binary(max_size=200))
def test_of_any_bytes_only_whole_objects_are_taken(rest: bytes) -> None:
    for body in (rest, page(OBJECT)[:-30] + rest, b"<Contents>" + rest + b"</Contents>"):
        response: dict[str, Any] = {"status_code": 200, "headers": {}, "body": body}
        handed: dict[str, Any] = {}
        read_contents(response, handed)
        assert (response["body"] == body) is (handed == {})
        assert all(isinstance(entry["Key"], str) and entry["Size"] >= 0 for entry in handed.get("Contents", []))
