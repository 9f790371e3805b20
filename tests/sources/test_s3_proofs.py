"""The table of `docs/s3.md`: what a bucket offers, what is verified, and what becomes of bytes that are wrong."""

from __future__ import annotations

import base64
import hashlib
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from awscrt import checksums

from downloader.errors import IntegrityError
from downloader.integrity import SIZE_ONLY, UNVERIFIABLE, Hasher, Verifier
from tests.servers.blobs import Noise
from tests.servers.broken import digest_headers
from tests.servers.bucket import Bucket, parts_of, tag_of
from tests.sources.reading import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from downloader.sources.s3 import S3Source

    Maker = Callable[..., S3Source]

CONTENT = Noise(3_000_001, seed=41).bytes()
DAMAGED = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
PART = 1_234_567
"""Of no usual size."""
USUAL_PART = 1 << 20
REFUSED = "refused"
FULL = {"x-amz-checksum-type": "FULL_OBJECT"}
KMS = {"x-amz-server-side-encryption": "aws:kms"}
OWN_KEY = {"x-amz-server-side-encryption-customer-algorithm": "AES256"}
FOREIGN = {"ETag": '"0x8DC3A5F1B2C4D5E"'}
SUMS: dict[str, Callable[[bytes], bytes]] = {
    "crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "crc32c": lambda data: checksums.crc32c(data).to_bytes(4, "big"),
    "sha1": lambda data: hashlib.sha1(data).digest(),  # noqa: S324
    "sha256": lambda data: hashlib.sha256(data).digest(),
}


def whole(name: str) -> dict[str, str]:
    header = f"x-amz-checksum-{name}"
    return {header: digest_headers(CONTENT)[header]}


def composite(name: str) -> dict[str, str]:
    digests = [SUMS[name](part) for part in parts_of(CONTENT, PART)]
    value = base64.b64encode(SUMS[name](b"".join(digests))).decode()
    return {f"x-amz-checksum-{name}": f"{value}-{len(digests)}", "x-amz-checksum-type": "COMPOSITE"}


@dataclass(frozen=True)
class Offer:
    """What a bucket says of an object, what that proves, and what is found when the bytes are others."""

    proof: str
    damaged: str
    headers: Mapping[str, str] = field(default_factory=dict)
    part_size: int | None = None
    aws: bool = False
    tells_parts: bool = True


OFFERS = {
    "CRC64NVME of the whole": Offer("crc64nvme", REFUSED, {**whole("crc64nvme"), **FULL}, PART),
    "CRC32C of the whole": Offer("crc32c", REFUSED, {**whole("crc32c"), **FULL}, PART),
    "CRC32 of the whole": Offer("crc32", REFUSED, {**whole("crc32"), **FULL}, PART),
    "SHA256 of the whole": Offer("sha256", REFUSED, whole("sha256")),
    "SHA512 of the whole": Offer("sha512", REFUSED, whole("sha512")),
    "SHA1 of the whole": Offer("sha1", REFUSED, whole("sha1")),
    "CRC64NVME, encrypted with KMS": Offer("crc64nvme", REFUSED, {**whole("crc64nvme"), **FULL, **KMS}, PART),
    "CRC32C of parts": Offer("crc32c-parts", UNVERIFIABLE, composite("crc32c"), PART),
    "CRC32 of parts": Offer("crc32-parts", UNVERIFIABLE, composite("crc32"), PART),
    "SHA256 of parts": Offer("sha256-parts", UNVERIFIABLE, composite("sha256"), PART),
    "SHA1 of parts": Offer("sha1-parts", UNVERIFIABLE, composite("sha1"), PART),
    "SHA256 of parts, encrypted with KMS": Offer("sha256-parts", UNVERIFIABLE, {**composite("sha256"), **KMS}, PART),
    "CRC32 of unknown type": Offer("etag", UNVERIFIABLE, whole("crc32"), PART),
    "ETag of one piece, on AWS": Offer("md5", REFUSED, aws=True),
    "ETag of one piece, elsewhere": Offer("md5", UNVERIFIABLE),
    "ETag of one piece, encrypted by the store": Offer("md5", UNVERIFIABLE, {"x-amz-server-side-encryption": "AES256"}),
    "ETag of parts, sizes told": Offer("etag", UNVERIFIABLE, part_size=PART),
    "ETag of parts, sizes listed by AWS": Offer("etag", UNVERIFIABLE, part_size=PART, aws=True, tells_parts=False),
    "ETag of parts, usual sizes": Offer("etag", SIZE_ONLY, part_size=USUAL_PART, tells_parts=False),
    "ETag of parts, unusual sizes not told": Offer(SIZE_ONLY, SIZE_ONLY, part_size=PART, tells_parts=False),
    "ETag that means something else": Offer(UNVERIFIABLE, UNVERIFIABLE, {"ETag": f'"{"0" * 32}"'}),
    "ETag of parts that means something else": Offer(UNVERIFIABLE, UNVERIFIABLE, {"ETag": f'"{"0" * 32}-3"'}, PART),
    "ETag of a KMS key": Offer(SIZE_ONLY, SIZE_ONLY, KMS),
    "ETag of a key of your own": Offer(SIZE_ONLY, SIZE_ONLY, OWN_KEY),
    "ETag of another kind of store": Offer(SIZE_ONLY, SIZE_ONLY, FOREIGN),
}


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with Bucket() as bucket:
        yield bucket


def judged(source: S3Source) -> str:
    """Read twice, as the engine does where there is doubt, and return what proves the bytes, or REFUSED."""
    file, verifier = source.manifest().files[0], Verifier()
    for _ in range(2):
        hasher = Hasher(file.size, file.digests)
        hasher.update(memoryview(read(source, file)))
        try:
            return verifier.proof(file, hasher.results())
        except IntegrityError:
            continue
    return REFUSED


@pytest.mark.parametrize("name", OFFERS)
def test_a_bucket_offers(name: str, bucket: Bucket, s3_source: Maker) -> None:
    offer = OFFERS[name]
    bucket.tells_parts = offer.tells_parts
    environ = bucket.as_aws if offer.aws else bucket.environment
    tag = {"ETag": tag_of(CONTENT, offer.part_size)}
    for content, expected in ((CONTENT, offer.proof), (DAMAGED, offer.damaged)):
        bucket.put("m/model", content, {**tag, **offer.headers}, part_size=offer.part_size)
        assert judged(s3_source("s3://bucket/m", environ)) == expected


def test_the_page_says_of_each_offer_what_is_so() -> None:
    page = (Path(__file__).parents[2] / "docs/s3.md").read_text()
    table = page.partition("| what your bucket offers |")[2].partition("\n\n")[0].splitlines()[2:]
    told = {row[0]: (row[1], row[2]) for row in ([cell.strip() for cell in line.split("|")[1:-1]] for line in table)}
    assert told == {name: (offer.proof, offer.damaged) for name, offer in OFFERS.items()}


@pytest.mark.parametrize("name", OFFERS)
def test_nothing_is_computed_that_is_not_needed(name: str, bucket: Bucket, s3_source: Maker) -> None:
    offer = OFFERS[name]
    bucket.tells_parts = offer.tells_parts
    bucket.put("m/model", CONTENT, offer.headers, part_size=offer.part_size)
    file = s3_source("s3://bucket/m", bucket.as_aws if offer.aws else bucket.environment).manifest().files[0]
    expensive = [digest for digest in file.digests if digest.algorithm in ("md5", "etag")]
    if offer.proof in ("crc64nvme", "crc32c", "sha256", "sha512", "sha1") or offer.proof.endswith("-parts"):
        assert not expensive
    assert len(expensive) <= 1


def test_parts_of_different_sizes_are_asked_for_one_by_one(bucket: Bucket, s3_source: Maker) -> None:
    sizes = [1_000_000, 500_000, 1_500_001]
    tag, position = hashlib.md5(usedforsecurity=False), 0
    for size in sizes:
        tag.update(hashlib.md5(CONTENT[position : position + size]).digest())  # noqa: S324
        position += size
    bucket.put("m/model", CONTENT, {"ETag": f'"{tag.hexdigest()}-3"'}, part_size=sizes)
    source = s3_source("s3://bucket/m", bucket.environment)
    assert judged(source) == "etag"
    assert source.manifest().files[0].digests[0].layouts == (tuple(sizes),)


def test_attributes_are_asked_of_aws_only(bucket: Bucket, s3_source: Maker) -> None:
    bucket.tells_parts = False
    bucket.put("m/model", CONTENT, part_size=PART)
    s3_source("s3://bucket/m", bucket.environment).manifest()
    assert not bucket.log.records("attributes")
    s3_source("s3://bucket/m", bucket.as_aws).manifest()
    assert bucket.log.records("attributes")
