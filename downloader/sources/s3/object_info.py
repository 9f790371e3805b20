"""What a HEAD says about one object, and which of it proves the object's content."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm, Digest, Mismatch
from downloader.errors import ProtocolFailed
from downloader.integrity import OF_PARTS, S3_HEADERS, computable
from downloader.network import content_length, total_length
from downloader.sources.http_digests import digest_from_base64

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from downloader.artifact import FileTable, RemoteFile, Validator

PARTS_OF = {whole: of_parts for of_parts, whole in OF_PARTS.items() if of_parts is not Algorithm.ETAG}
MD5_TAG = re.compile(r'"?([0-9a-fA-F]{32})"?')
"""Some stores write it in capitals."""
PARTS_TAG = re.compile(r'"?([0-9a-f]{32})-([0-9]{1,5})"?')
COUNT = re.compile(r"[0-9]{1,5}")
OF_TAG = frozenset({Algorithm.MD5, Algorithm.ETAG})
"""What an ETag may be."""
ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
RESTORED = 'ongoing-request="false"'
ETAG_IS_MD5 = frozenset({"", "AES256"})
"""The kinds of server-side encryption that leave the MD5 of the content in the ETag."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One version of an object."""

    size: int
    tag: str | None
    version: str | None
    digests: tuple[Digest, ...]
    archived: bool
    """It must be restored before it can be read."""
    sized: bool = True
    """The size is known."""
    plain_tag: bool = True
    """Nothing says that the ETag is of anything but the content: of what lies encrypted, for example."""

    @classmethod
    def of(cls, headers: Mapping[str, str], *, aws: bool = False) -> ObjectInfo:
        """Read the headers (names in lower case) of a HEAD, or of a GET for the first byte. `aws`: as `published`."""
        size = size_of(headers)
        if size is None:
            raise ProtocolFailed("the S3 server does not tell how many bytes an object has")
        version = headers.get("x-amz-version-id")
        return cls(
            size,
            headers.get("etag"),
            None if version == "null" else version,
            published(headers, aws=aws),
            _archived(headers),
            plain_tag=_has_plain_tag(headers),
        )


def size_of(headers: Mapping[str, str]) -> int | None:
    """Return the size of the whole object, None where the answer does not tell."""
    if "content-range" in headers:  # then the length is that of a part
        return total_length(headers)
    return content_length(headers)


def published(headers: Mapping[str, str], *, aws: bool) -> tuple[Digest, ...]:
    """Return the digests of an object's content that suffice to judge it, and cost the least.

    Digests of parts come without layouts: nothing here tells how the object was cut. Where it is not AWS that answers,
    an ETag that looks like an MD5 may be something else.
    """
    tag = headers.get("etag", "")
    cut = PARTS_TAG.fullmatch(tag)
    count = cut.group(2) if cut else ""
    certain, unclear, of_parts = [], [], []
    for name, algorithm in S3_HEADERS.items():
        value, _, number = headers.get(name, "").partition("-")
        digest = digest_from_base64(algorithm, value) if value else None
        if digest is None or not computable(algorithm):
            continue
        kind = headers.get("x-amz-checksum-type", "")
        parts = number or count
        if not number and (kind == "FULL_OBJECT" or not (kind or count)):
            certain.append(digest)
            continue
        if not number and not kind:
            unclear.append(replace(digest, mismatch=Mismatch.AMBIGUOUS))
        if COUNT.fullmatch(parts) and algorithm in PARTS_OF:
            of_parts.append(Digest(PARTS_OF[algorithm], f"{digest.value}-{int(parts)}"))
    if certain:
        return tuple(certain)
    tags = tuple(_of_tag(headers, tag, aws=aws))
    if unclear:
        return (*unclear, *of_parts, *tags)
    return tuple(of_parts[:1]) or tags


def _of_tag(headers: Mapping[str, str], tag: str, *, aws: bool) -> Iterator[Digest]:
    """Return the MD5 that the ETag is, of the content or of the parts' MD5s, unless it is of what lies encrypted."""
    if not _has_plain_tag(headers):
        return
    if md5 := MD5_TAG.fullmatch(tag):
        yield Digest(Algorithm.MD5, md5.group(1).lower(), mismatch=Mismatch.DAMAGE if aws else Mismatch.AMBIGUOUS)
    elif cut := PARTS_TAG.fullmatch(tag):
        yield Digest(Algorithm.ETAG, f"{cut.group(1)}-{int(cut.group(2))}")


def _has_plain_tag(headers: Mapping[str, str]) -> bool:
    with_own_key = "x-amz-server-side-encryption-customer-algorithm" in headers
    return not with_own_key and headers.get("x-amz-server-side-encryption", "") in ETAG_IS_MD5


def tag_digests(tag: str | None) -> tuple[Digest, ...]:
    """Return what an object's ETag in a listing is worth, where others of the bucket have plain ones."""
    md5 = MD5_TAG.fullmatch(tag or "")
    return (Digest(Algorithm.MD5, md5.group(1).lower(), mismatch=Mismatch.AMBIGUOUS),) if md5 else ()


def shared_tags(listed: FileTable) -> frozenset[Validator]:
    """Return the ETags that objects of different sizes have in common: whatever those are, they are not digests."""
    # Most tags occur once. Which ones do not is known from their hashes, which take less memory than the tags.
    hashes = sorted(hash(tag) for tag in listed.validators())
    twice = {one for one, following in pairwise(hashes) if one == following}
    sizes: dict[Validator, int] = {}
    tags = zip(listed.validators(), listed.sizes, strict=True) if twice else ()
    return frozenset(tag for tag, size in tags if tag and hash(tag) in twice and sizes.setdefault(tag, size) != size)


def without_tag_digests(file: RemoteFile) -> RemoteFile:
    """Return a file without what only its ETag says of its content."""
    return replace(file, digests=tuple(digest for digest in file.digests if digest.algorithm not in OF_TAG))


def _archived(headers: Mapping[str, str]) -> bool:
    asleep = headers.get("x-amz-storage-class") in ARCHIVES or "x-amz-archive-status" in headers
    return asleep and RESTORED not in headers.get("x-amz-restore", "")
