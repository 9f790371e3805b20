"""The digests that an HTTP answer carries, in the order in which they are believed."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm, Digest
from downloader.integrity import DIGEST_FIELDS, GOOGLE_NAMES, S3_HEADERS, SPECS, STRENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FIELD_ITEM = re.compile(r"(?<![a-z0-9-])([a-z0-9-]{1,40})\s{0,8}=\s{0,8}:?([A-Za-z0-9+/=]+):?", re.IGNORECASE)
FIELDS = frozenset({"content-digest", "repr-digest", "digest", "x-goog-hash", "content-md5", *S3_HEADERS})


def published(headers: Mapping[str, str], *, whole: bool) -> tuple[Digest, ...]:
    """Return the digests of the whole file. `Content-*` fields count only for answers that are the `whole` file."""
    if FIELDS.isdisjoint(headers):
        return ()
    return tuple(dict.fromkeys(digest for digest in _all(headers, whole=whole) if digest is not None))


def _all(headers: Mapping[str, str], *, whole: bool) -> Iterator[Digest | None]:
    if whole:
        yield from _field(headers.get("content-digest", ""))
    yield from _field(headers.get("repr-digest", ""))
    yield from _field(headers.get("digest", ""))
    for name, algorithm in sorted(S3_HEADERS.items(), key=lambda item: STRENGTH.index(item[1])):
        value = headers.get(name, "")
        # A value with "-N" is a digest of the parts' digests, not of the file.
        if value and "-" not in value and headers.get("x-amz-checksum-type", "FULL_OBJECT") == "FULL_OBJECT":
            yield digest_from_base64(algorithm, value)
    # GCS decompresses objects for clients that do not accept gzip, but sends the digests of the stored bytes.
    unpacked = "content-encoding" not in headers and headers.get("x-goog-stored-content-encoding") == "gzip"
    for item in headers.get("x-goog-hash", "").split(",") if not unpacked else ():
        name, _, value = item.strip().partition("=")
        if name in GOOGLE_NAMES:
            yield digest_from_base64(GOOGLE_NAMES[name], value)
    if whole and "content-md5" in headers:
        yield digest_from_base64(Algorithm.MD5, headers["content-md5"])


def _field(value: str) -> Iterator[Digest | None]:
    for match in FIELD_ITEM.finditer(value):
        algorithm = DIGEST_FIELDS.get(match.group(1).lower())
        if algorithm is not None:
            yield digest_from_base64(algorithm, match.group(2))


def digest_from_base64(algorithm: Algorithm, value: str) -> Digest | None:
    """Return a digest given in base64; None if it is not of the algorithm's length."""
    try:
        raw = base64.b64decode(value.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return Digest(algorithm, raw.hex()) if len(raw) == SPECS[algorithm].length else None
