"""A bucket that says of its objects whatever a test wants it to say, and that can be broken as no real one can.

    with Bucket() as bucket:
        bucket.put("m/model", content, {"ETag": '"…-3"', "x-amz-server-side-encryption": "aws:kms"})
        bucket.faults.add(IgnoreRange(), route="object", method="GET", times=FOREVER)

It knows both listings, parts of objects and their attributes as AWS tells them, and looks at no signature.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field
from itertools import accumulate, takewhile
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from tests.servers.closable import Closable
from tests.servers.faults import Faults
from tests.servers.messages import Log, Reply, Request
from tests.servers.origin import Server

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NAME = "bucket"
PAGE = 1000
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDAKIDAKID", "AWS_SECRET_ACCESS_KEY": "hush-hush", "AWS_REGION": "us-east-1"}


@dataclass(frozen=True)
class _Object:
    content: bytes
    headers: Mapping[str, str]
    part_size: int | list[int] | None


@dataclass
class Bucket(Closable):
    """A running service with one bucket, called `bucket`."""

    tells_parts: bool = True
    """HEAD with a part number describes that part, as on AWS, and not the whole object."""
    presigned: bool = True
    """Whether addresses that carry their signature are taken."""
    knows_newer_listing: bool = True
    ignores_list_type: bool = False
    """Answers `list-type=2` in the form of S3's first version, as old gateways do."""
    page_size: int = PAGE
    names_next: bool = True
    """A truncated page names the place where the next one begins."""
    truncated: Mapping[bool, str] = field(default_factory=lambda: {True: "true", False: "false"})
    """How `IsTruncated` is written; empty: the element is missing."""
    knows_marker: bool = True
    knows_start_after: bool = True
    sizes: Mapping[str, int] = field(default_factory=dict)
    """What listings say instead of the right size."""
    listed_twice: Mapping[str, str] = field(default_factory=dict)
    """Keys that each page which has them names twice, and the ETag that it has the second time."""
    faults: Faults = field(default_factory=Faults)
    log: Log = field(default_factory=Log)

    def __post_init__(self) -> None:
        self._objects: dict[str, _Object] = {}
        self._keys: list[str] = []
        self.server = Server(self._answer, self.faults, self.log)

    @property
    def environment(self) -> dict[str, str]:
        """What a download Job would have to be told to use it."""
        return {"AWS_ENDPOINT_URL": self.server.origin, **KEYS}

    @property
    def as_aws(self) -> dict[str, str]:
        """The same, for a client that must take it for AWS itself: it is reached as a proxy."""
        return {"AWS_ENDPOINT_URL": "http://s3.us-east-1.amazonaws.com", "HTTP_PROXY": self.server.origin, **KEYS}

    def put(
        self,
        key: str,
        content: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        part_size: int | list[int] | None = None,
    ) -> None:
        """Keep an object. Its ETag is its MD5, or that of its parts, if `headers` have no other."""
        if key not in self._objects:
            insort(self._keys, key)
        self._objects[key] = _Object(content, {"ETag": tag_of(content, part_size), **(headers or {})}, part_size)

    def remove(self, key: str) -> None:
        """Forget an object."""
        del self._objects[key]
        self._keys.remove(key)

    def close(self) -> None:
        self.server.close()

    def _answer(self, request: Request) -> Reply:
        bucket, _, key = request.path.removeprefix("/").partition("/")
        if bucket != NAME:
            return _refuse(404, "NoSuchBucket")
        if not key:
            return self._list(request.query)
        found = self._objects.get(key)
        return self._describe(found, request) if found is not None else _refuse(404, "NoSuchKey")

    def _describe(self, found: _Object, request: Request) -> Reply:
        if "X-Amz-Signature" in request.query and not self.presigned:
            return _refuse(400, "InvalidArgument")
        if "attributes" in request.query:
            return Reply("attributes", 200, {}, _attributes(found))
        number = request.query.get("partNumber")
        if number is not None and self.tells_parts and found.part_size:
            return _part(found, int(number))
        return Reply("object", 200, dict(found.headers), found.content)

    def _list(self, query: Mapping[str, str]) -> Reply:
        newer = query.get("list-type") == "2"
        if newer and not self.knows_newer_listing:
            return _refuse(501, "NotImplemented")
        newer = newer and not self.ignores_list_type
        prefix = query.get("prefix", "")
        start = max(bisect_left(self._keys, prefix), bisect_right(self._keys, self._after(query, newer=newer)))
        page = list(takewhile(lambda key: key.startswith(prefix), self._keys[start : start + self.page_size + 1]))
        more = len(page) > self.page_size
        page = page[: self.page_size]
        name = "NextContinuationToken" if newer else "NextMarker"
        following = f"<{name}>{escape(page[-1])}</{name}>" if more and self.names_next else ""
        end = f"<IsTruncated>{self.truncated[more]}</IsTruncated>" if self.truncated[more] else ""
        contents = "".join(self._entry(key) for key in page)
        contents += "".join(self._entry(key, self.listed_twice[key]) for key in page if key in self.listed_twice)
        return Reply("listing", 200, {}, f"<ListBucketResult>{end}{following}{contents}</ListBucketResult>".encode())

    def _after(self, query: Mapping[str, str], *, newer: bool) -> str:
        """Return the key behind which a page begins."""
        if not newer:
            return query.get("marker", "") if self.knows_marker else ""
        return query.get("continuation-token") or (query.get("start-after", "") if self.knows_start_after else "")

    def _entry(self, key: str, tag: str | None = None) -> str:
        found = self._objects[key]
        storage_class = found.headers.get("x-amz-storage-class", "STANDARD")
        tag = escape(tag or found.headers["ETag"])
        return (
            f"<Contents><Key>{escape(key)}</Key><Size>{self.sizes.get(key, len(found.content))}</Size>"
            f"<ETag>{tag}</ETag><StorageClass>{storage_class}</StorageClass></Contents>"
        )


def tag_of(content: bytes, part_size: int | list[int] | None = None) -> str:
    """Return the ETag that AWS gives to an object that came in one piece, or in parts."""
    if part_size is None:
        return f'"{hashlib.md5(content).hexdigest()}"'  # noqa: S324
    digests = [hashlib.md5(part).digest() for part in parts_of(content, part_size)]  # noqa: S324
    return f'"{hashlib.md5(b"".join(digests)).hexdigest()}-{len(digests)}"'  # noqa: S324


def parts_of(content: bytes, part_size: int | list[int]) -> list[bytes]:
    """Cut a content as an uploader does: into parts of one size, or of these."""
    sizes = [part_size] * -(-len(content) // part_size) if isinstance(part_size, int) else part_size
    ends = list(accumulate(sizes))
    return [content[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def _part(found: _Object, number: int) -> Reply:
    parts = parts_of(found.content, found.part_size or 1)
    headers = {**found.headers, "x-amz-mp-parts-count": str(len(parts))}
    return Reply("part", 206, headers, parts[number - 1], divisible=False)


def _attributes(found: _Object) -> bytes:
    parts = parts_of(found.content, found.part_size) if found.part_size else []
    listed: Iterable[str] = (
        f"<Part><PartNumber>{number}</PartNumber><Size>{len(part)}</Size></Part>"
        for number, part in enumerate(parts, 1)
    )
    return (
        f"<GetObjectAttributesResponse><ObjectParts><PartsCount>{len(parts)}</PartsCount>{''.join(listed)}"
        "</ObjectParts></GetObjectAttributesResponse>"
    ).encode()


def _refuse(status: int, code: str) -> Reply:
    return Reply("refusal", status, {}, f"<Error><Code>{code}</Code></Error>".encode())
