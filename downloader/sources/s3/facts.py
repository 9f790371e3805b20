"""What a HEAD says about one object, and which of it proves the object's content."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm, Digest
from downloader.errors import ProtocolFailed
from downloader.sources.digest_fields import digest_from_base64

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKSUMS = {
    "x-amz-checksum-crc64nvme": Algorithm.CRC64NVME,
    "x-amz-checksum-crc32c": Algorithm.CRC32C,
    "x-amz-checksum-crc32": Algorithm.CRC32,
    "x-amz-checksum-sha256": Algorithm.SHA256,
    "x-amz-checksum-sha1": Algorithm.SHA1,
}
MD5_TAG = re.compile(r'"?([0-9a-f]{32})"?')
PARTS_TAG = re.compile(r'"?[0-9a-f]{32}-\d+"?')
TOTAL = re.compile(r"bytes \d+-\d+/(\d+)")
ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
RESTORED = 'ongoing-request="false"'
ETAG_IS_MD5 = frozenset({"", "AES256"})
"""The kinds of server-side encryption that leave the MD5 of the content in the ETag."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One version of an object."""

    size: int
    tag: str | None
    version: str | None
    digests: tuple[Digest, ...]
    archived: bool
    """It must be restored before it can be read."""

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Facts:
        """Read the headers (names in lower case) of a HEAD, or of a GET for the first byte."""
        total = TOTAL.fullmatch(headers.get("content-range", ""))
        length = total.group(1) if total else headers.get("content-length", "")
        if not length.isdigit():
            raise ProtocolFailed("the S3 server does not tell how many bytes an object has")
        version = headers.get("x-amz-version-id")
        return cls(
            int(length),
            headers.get("etag"),
            None if version == "null" else version,
            published(headers),
            _archived(headers),
        )


def published(headers: Mapping[str, str]) -> tuple[Digest, ...]:
    """Return the digests of an object's whole content: its checksums, or else the MD5 that its ETag is."""
    tag = headers.get("etag", "")
    checksums = tuple(
        digest
        for name, algorithm in CHECKSUMS.items()
        if _is_of_the_whole(value := headers.get(name, ""), headers.get("x-amz-checksum-type", ""), tag)
        if (digest := digest_from_base64(algorithm, value)) is not None
    )
    if checksums:
        return checksums
    md5 = MD5_TAG.fullmatch(tag)
    encryption = headers.get("x-amz-server-side-encryption", "")
    with_own_key = "x-amz-server-side-encryption-customer-algorithm" in headers
    if md5 and encryption in ETAG_IS_MD5 and not with_own_key:
        return (Digest(Algorithm.MD5, md5.group(1)),)
    return ()


def _is_of_the_whole(value: str, kind: str, tag: str) -> bool:
    """Tell a checksum of the content from one of its parts' checksums, which servers mark in different ways."""
    if not value or "-" in value:
        return False
    return kind == "FULL_OBJECT" or (not kind and PARTS_TAG.fullmatch(tag) is None)


def _archived(headers: Mapping[str, str]) -> bool:
    asleep = headers.get("x-amz-storage-class") in ARCHIVES or "x-amz-archive-status" in headers
    return asleep and RESTORED not in headers.get("x-amz-restore", "")
