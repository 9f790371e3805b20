"""Which of an object's headers prove its content: one row per kind of bucket."""

from __future__ import annotations

import base64
import hashlib
import sys
import zlib
from typing import TYPE_CHECKING

import pytest
from awscrt import checksums

from downloader.artifact import Algorithm, Digest, Mismatch
from downloader.errors import ProtocolFailed
from downloader.sources.s3.object_info import ObjectInfo, published
from tests.servers.blobs import Noise
from tests.servers.s3 import new_bucket, upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.sources.s3 import S3Source
    from tests.servers.s3 import S3Server

MD5 = "0123456789abcdef0123456789abcdef"
CRC = base64.b64encode(bytes.fromhex("00112233")).decode()
CRC64 = base64.b64encode(bytes.fromhex("0011223344556677")).decode()
SHA256 = base64.b64encode(bytes(range(32))).decode()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"etag": f'"{MD5}"'}, [f"md5:{MD5}"]),
        ({"etag": f'"{MD5}"', "x-amz-server-side-encryption": "AES256"}, [f"md5:{MD5}"]),
        ({"etag": f'"{MD5}"', "x-amz-server-side-encryption": "aws:kms"}, []),
        ({"etag": f'"{MD5}"', "x-amz-server-side-encryption": "aws:kms:dsse"}, []),
        ({"etag": f'"{MD5}"', "x-amz-server-side-encryption-customer-algorithm": "AES256"}, []),
        ({"etag": f'"{MD5}-3"'}, [f"etag:{MD5}-3"]),
        ({"etag": f'"{MD5}-3"', "x-amz-server-side-encryption": "AES256"}, [f"etag:{MD5}-3"]),
        ({"etag": f'"{MD5}-3"', "x-amz-server-side-encryption": "aws:kms"}, []),
        ({"etag": f'"{MD5}-3"', "x-amz-server-side-encryption-customer-algorithm": "AES256"}, []),
        ({"etag": f'"{MD5}-999999"'}, []),
        ({"etag": '"-334f0000000000000000000000000000"'}, []),
        ({"etag": '"0x8DC1234"'}, []),
        ({}, []),
        ({"etag": f'"{MD5}"', "x-amz-checksum-crc32": CRC}, ["crc32:00112233"]),
        (
            {"etag": f'"{MD5}-3"', "x-amz-checksum-crc64nvme": CRC64, "x-amz-checksum-type": "FULL_OBJECT"},
            ["crc64nvme:0011223344556677"],
        ),
        (
            {"etag": f'"{MD5}-3"', "x-amz-checksum-crc32c": CRC, "x-amz-checksum-type": "COMPOSITE"},
            ["crc32c-parts:00112233-3"],
        ),
        ({"etag": f'"{MD5}-3"', "x-amz-checksum-crc32c": f"{CRC}-3"}, ["crc32c-parts:00112233-3"]),
        (
            {"etag": '"foreign"', "x-amz-checksum-sha256": f"{SHA256}-3", "x-amz-server-side-encryption": "aws:kms"},
            [f"sha256-parts:{bytes(range(32)).hex()}-3"],
        ),
        (
            {"etag": f'"{MD5}-3"', "x-amz-checksum-crc32c": f"{CRC}-3", "x-amz-checksum-sha256": f"{SHA256}-3"},
            ["crc32c-parts:00112233-3"],
        ),
        (
            {"etag": f'"{MD5}-3"', "x-amz-checksum-crc32c": CRC},
            ["crc32c:00112233", "crc32c-parts:00112233-3", f"etag:{MD5}-3"],
        ),
        ({"etag": '"foreign"', "x-amz-checksum-crc32c": CRC, "x-amz-checksum-type": "COMPOSITE"}, []),
        ({"etag": f'"{MD5}"', "x-amz-checksum-sha256": SHA256}, [f"sha256:{bytes(range(32)).hex()}"]),
        ({"etag": f'"{MD5}"', "x-amz-checksum-sha256": "nonsense"}, [f"md5:{MD5}"]),
        ({"etag": f'"{MD5.upper()}"'}, [f"md5:{MD5}"]),
    ],
)
def test_an_object_is_proved_by(headers: dict[str, str], expected: list[str]) -> None:
    assert [str(digest) for digest in published(headers, aws=True)] == expected


@pytest.mark.parametrize(
    ("headers", "aws", "mismatch"),
    [
        ({"etag": f'"{MD5}"'}, True, Mismatch.DAMAGE),
        ({"etag": f'"{MD5}"'}, False, Mismatch.AMBIGUOUS),
        ({"etag": f'"{MD5}"', "x-amz-checksum-crc32": CRC}, False, Mismatch.DAMAGE),
        ({"etag": f'"{MD5}-3"', "x-amz-checksum-crc32": CRC}, True, Mismatch.AMBIGUOUS),
    ],
)
def test_a_digest_that_is_wrong_means(headers: dict[str, str], aws: bool, mismatch: Mismatch) -> None:  # noqa: FBT001
    assert published(headers, aws=aws)[0].mismatch is mismatch


def test_where_a_crc_cannot_be_computed_the_next_best_digest_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "awscrt.checksums", None)
    headers = {"etag": f'"{MD5}"', "x-amz-checksum-crc64nvme": CRC64}
    assert [str(digest) for digest in published(headers, aws=True)] == [f"md5:{MD5}"]


@pytest.mark.parametrize(
    ("headers", "archived"),
    [
        ({}, False),
        ({"x-amz-storage-class": "GLACIER_IR"}, False),
        ({"x-amz-storage-class": "GLACIER"}, True),
        ({"x-amz-storage-class": "DEEP_ARCHIVE", "x-amz-restore": 'ongoing-request="true"'}, True),
        (
            {"x-amz-storage-class": "DEEP_ARCHIVE", "x-amz-restore": 'ongoing-request="false", expiry-date="later"'},
            False,
        ),
        ({"x-amz-storage-class": "INTELLIGENT_TIERING", "x-amz-archive-status": "ARCHIVE_ACCESS"}, True),
    ],
)
def test_an_archived_object_is_known_by(headers: dict[str, str], *, archived: bool) -> None:
    assert ObjectInfo.of({"content-length": "1", **headers}).archived is archived


def test_an_invalid_version_and_a_missing_size_are_understood() -> None:
    assert ObjectInfo.of({"content-length": "1", "x-amz-version-id": "null"}).version is None
    assert ObjectInfo.of({"content-length": "1", "content-range": "bytes 0-0/77"}).size == 77
    with pytest.raises(ProtocolFailed):
        ObjectInfo.of({})


def expected_digest(content: bytes, algorithm: str) -> str:
    computed = {
        "CRC32": lambda: f"{zlib.crc32(content):08x}",
        "CRC32C": lambda: f"{checksums.crc32c(content):08x}",
        "CRC64NVME": lambda: f"{checksums.crc64nvme(content):016x}",
        "SHA1": lambda: hashlib.sha1(content).hexdigest(),  # noqa: S324
        "SHA256": lambda: hashlib.sha256(content).hexdigest(),
    }
    return computed[algorithm]()


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_a_real_upload_in_one_piece_is_proved_by_its_checksum(
    s3: S3Server, s3_source: Callable[..., S3Source], algorithm: str
) -> None:
    content = Noise(100_000).bytes()
    bucket = new_bucket(s3.client())
    upload(s3.client(), bucket, "m/a", content, checksum=algorithm)
    file = s3_source(f"s3://{bucket}/m", s3.environment()).manifest().files[0]
    assert file.digests == (Digest(Algorithm[algorithm], expected_digest(content, algorithm)),)


def test_an_older_server_proves_by_the_tag(ceph: S3Server, s3_source: Callable[..., S3Source]) -> None:
    bucket = new_bucket(ceph.client())
    upload(ceph.client(), bucket, "m/a", b"content")
    file = s3_source(f"s3://{bucket}/m", ceph.environment()).manifest().files[0]
    assert file.digests == (
        Digest(Algorithm.MD5, hashlib.md5(b"content").hexdigest(), mismatch=Mismatch.AMBIGUOUS),  # noqa: S324
    )


@pytest.mark.parametrize("length", ["²", "٣", "5_0", "+5", "", "9" * 5000])
@pytest.mark.parametrize("header", ["content-length", "content-range"])
def test_a_length_that_is_no_number_is_ignored(header: str, length: str) -> None:
    value = length if header == "content-length" else f"bytes 0-0/{length}"
    with pytest.raises(ProtocolFailed, match="does not tell how many bytes"):
        ObjectInfo.of({header: value})


@pytest.mark.parametrize("count", ["²", "٣", "9" * 5000])
def test_an_invalid_number_of_parts_makes_no_digest(count: str) -> None:
    assert published({"etag": f'"{MD5}-{count}"', "x-amz-checksum-sha256": f"{SHA256}-{count}"}, aws=True) == ()
