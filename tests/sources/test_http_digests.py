"""The digests that an HTTP answer carries."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.artifact import Algorithm, Digest
from downloader.integrity import DIGEST_FIELDS, GOOGLE_NAMES, S3_HEADERS, SPECS
from downloader.sources.http_digests import digest_from_base64, published
from tests.servers.broken import digest_headers

CONTENT = b"what is served"
SHA256, SHA512 = hashlib.sha256(CONTENT), hashlib.sha512(CONTENT)
MD5 = hashlib.md5(CONTENT)  # noqa: S324


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def found(headers: dict[str, str], *, whole: bool = True) -> list[tuple[str, str]]:
    return [(digest.algorithm, digest.value) for digest in published(headers, whole=whole)]


RIGHT_SHA256 = ("sha256", SHA256.hexdigest())
RIGHT_MD5 = ("md5", MD5.hexdigest())


@pytest.mark.parametrize("name", ["content-digest", "repr-digest", "digest"])
@pytest.mark.parametrize(
    "value",
    [
        f"sha-256=:{b64(SHA256.digest())}:",
        f"SHA-256={b64(SHA256.digest())}",
        f"sha-256 = :{b64(SHA256.digest())}:",
        f"unixsum=30637, sha-256=:{b64(SHA256.digest())}:;x=1",
        f"sha-256=garbage, sha-256=:{b64(SHA256.digest())}:",
        f"id-sha-256={b64(SHA512.digest()[:32])},sha-256={b64(SHA256.digest())}",
    ],
)
def test_a_digest_field_is_read_in_all_its_spellings(name: str, value: str) -> None:
    assert found({name: value}) == [RIGHT_SHA256]


def test_what_gcs_says_about_packed_bytes_does_not_hold_for_unpacked_ones() -> None:
    headers = {"x-goog-hash": f"md5={b64(MD5.digest())}", "x-goog-stored-content-encoding": "gzip"}
    assert found(headers) == []
    assert found({**headers, "content-encoding": "gzip"}) == [RIGHT_MD5]
    assert found({**headers, "x-goog-stored-content-encoding": "identity"}) == [RIGHT_MD5]


def test_a_field_may_hold_several() -> None:
    value = f"sha-512=:{b64(SHA512.digest())}:, md5=:{b64(MD5.digest())}:"
    assert found({"repr-digest": value}) == [("sha512", SHA512.hexdigest()), RIGHT_MD5]


def test_every_kind_of_header_agrees_about_the_same_bytes() -> None:
    headers = {name.lower(): value for name, value in digest_headers(CONTENT).items()}
    digests = published(headers, whole=True)
    assert digests[0] == Digest(Algorithm.SHA256, SHA256.hexdigest())
    assert len(digests) == len({digest.algorithm for digest in digests})
    assert {digest.algorithm for digest in digests} == {
        Algorithm.SHA512,
        Algorithm.SHA256,
        Algorithm.SHA1,
        Algorithm.MD5,
        Algorithm.CRC64NVME,
        Algorithm.CRC32C,
        Algorithm.CRC32,
    }


def test_what_is_about_the_sent_bytes_counts_only_when_they_are_the_file() -> None:
    part = {"content-digest": f"sha-256=:{b64(SHA256.digest())}:", "content-md5": b64(MD5.digest())}
    assert found(part) == [RIGHT_SHA256, RIGHT_MD5]
    assert found(part, whole=False) == []
    assert found({"repr-digest": part["content-digest"]}, whole=False) == [RIGHT_SHA256]
    assert found({"x-goog-hash": f"md5={b64(MD5.digest())}"}, whole=False) == [RIGHT_MD5]


@pytest.mark.parametrize(
    ("headers", "digests"),
    [
        ({"x-amz-checksum-sha256": b64(SHA256.digest())}, [RIGHT_SHA256]),
        ({"x-amz-checksum-sha256": b64(SHA256.digest()), "x-amz-checksum-type": "FULL_OBJECT"}, [RIGHT_SHA256]),
        ({"x-amz-checksum-sha256": b64(SHA256.digest()), "x-amz-checksum-type": "COMPOSITE"}, []),
        ({"x-amz-checksum-sha256": b64(SHA256.digest()) + "-3"}, []),
        ({"x-goog-hash": f"crc32c=AAAAAA==,md5={b64(MD5.digest())}"}, [("crc32c", "00000000"), RIGHT_MD5]),
        ({"x-goog-hash": f"crc32c=AAAAAA==, md5={b64(MD5.digest())}"}, [("crc32c", "00000000"), RIGHT_MD5]),
        ({"x-goog-hash": "sha999=AAAA,md5"}, []),
        ({"content-md5": "not base64"}, []),
        ({"digest": ""}, []),
        ({}, []),
    ],
)
def test_stores_have_headers_of_their_own(headers: dict[str, str], digests: list[tuple[str, str]]) -> None:
    assert found(headers) == digests


def test_the_same_digest_twice_is_one_and_two_that_differ_are_two() -> None:
    right, other = b64(SHA256.digest()), b64(hashlib.sha256(b"other").digest())
    assert found({"digest": f"sha-256={right}", "repr-digest": f"sha-256=:{right}:"}) == [RIGHT_SHA256]
    assert len(found({"digest": f"sha-256={right}", "repr-digest": f"sha-256=:{other}:"})) == 2


@pytest.mark.parametrize("algorithm", sorted({*DIGEST_FIELDS.values(), *GOOGLE_NAMES.values(), *S3_HEADERS.values()}))
def test_a_digest_of_another_length_is_ignored(algorithm: Algorithm) -> None:
    length = SPECS[algorithm].length
    assert digest_from_base64(algorithm, b64(b"x" * length)) == Digest(algorithm, (b"x" * length).hex())
    for wrong in (length - 1, length + 1, 0):
        assert digest_from_base64(algorithm, b64(b"x" * wrong)) is None


NAMES = st.sampled_from([name.lower() for name in digest_headers(b"")])


@given(st.dictionaries(NAMES, st.text(max_size=60)))
def test_whatever_stands_in_the_headers_is_a_digest_or_none(headers: dict[str, str]) -> None:
    for digest in published(headers, whole=True):
        assert len(digest.value) == 2 * SPECS[digest.algorithm].length
