"""How an object was cut into parts: what servers say about it, what can be guessed, and what it proves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.artifact import Algorithm, Mismatch
from downloader.integrity import Hasher, compare_digests
from downloader.sources.s3.multipart import GIB, MAX_GUESSES, MAX_GUESSES_OF_LARGE, MB, MIB, guesses
from tests.servers.blobs import Noise
from tests.servers.bucket import Bucket
from tests.servers.s3 import SMALLEST_PART, new_bucket, upload_in_parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.sources.s3 import S3Source
    from tests.servers.s3 import S3Server

    Maker = Callable[..., S3Source]

CONTENT = Noise(2 * SMALLEST_PART + 4321, seed=7).bytes()


def proof_of(source: S3Source) -> str:
    """Return what proves CONTENT to be what the source lists."""
    file = source.manifest().files[0]
    hasher = Hasher(file.size, file.digests)
    hasher.update(memoryview(CONTENT))
    return compare_digests(file, hasher.results()).proof


@pytest.mark.parametrize(
    ("checksum", "proof"),
    [
        (None, "etag"),
        # This server does not say that a checksum is one of parts, so the tag is looked at as well, and is stronger.
        ("CRC32", "etag"),
        ("CRC32C", "etag"),
        ("SHA1", "sha1-parts"),
        ("SHA256", "sha256-parts"),
    ],
)
def test_an_upload_in_parts_is_proved_by(s3: S3Server, s3_source: Maker, checksum: str | None, proof: str) -> None:
    bucket = new_bucket(s3.client())
    upload_in_parts(s3.client(), bucket, "m/a", CONTENT, checksum=checksum)
    assert proof_of(s3_source(f"s3://{bucket}/m", s3.environment())) == proof


@pytest.mark.parametrize("part_size", [5 * MIB, 6 * MIB, 8 * MB])
def test_sizes_that_are_usual_or_round_are_guessed_where_the_server_does_not_tell(
    ceph: S3Server, s3_source: Maker, part_size: int
) -> None:
    bucket = new_bucket(ceph.client())
    upload_in_parts(ceph.client(), bucket, "m/a", CONTENT, part_size=part_size)
    source = s3_source(f"s3://{bucket}/m", ceph.environment())
    assert proof_of(source) == "etag"
    assert source.manifest().files[0].digests[0].mismatch is Mismatch.NOTHING


def test_an_odd_size_is_not_found_and_nothing_is_claimed(ceph: S3Server, s3_source: Maker) -> None:
    bucket = new_bucket(ceph.client())
    upload_in_parts(ceph.client(), bucket, "m/a", CONTENT, part_size=5 * MIB + 777_777)
    assert proof_of(s3_source(f"s3://{bucket}/m", ceph.environment())) == "size only"


def test_an_odd_size_is_no_problem_where_the_server_tells(s3: S3Server, s3_source: Maker) -> None:
    bucket = new_bucket(s3.client())
    upload_in_parts(s3.client(), bucket, "m/a", CONTENT, part_size=5 * MIB + 777_777)
    assert proof_of(s3_source(f"s3://{bucket}/m", s3.environment())) == "etag"


def test_one_part_needs_no_questions(ceph: S3Server, s3_source: Maker) -> None:
    bucket = new_bucket(ceph.client())
    upload_in_parts(ceph.client(), bucket, "m/a", CONTENT, part_size=len(CONTENT))
    source = s3_source(f"s3://{bucket}/m", ceph.environment())
    assert source.manifest().files[0].digests[0].algorithm is Algorithm.ETAG
    assert proof_of(source) == "etag"


def test_a_tag_of_no_parts_at_all_proves_nothing(s3_source: Maker) -> None:
    with Bucket() as bucket:
        bucket.put("m/a", b"", {"ETag": f'"{"0" * 32}-0"'})
        assert s3_source("s3://bucket/m", bucket.environment).manifest().files[0].digests == ()


@given(st.integers(1, 512 * GIB), st.integers(1, 20_000))
def test_a_guess_always_gives_the_right_number_of_parts_and_there_are_few(size: int, count: int) -> None:
    found = guesses(size, count)
    assert len(found) <= (MAX_GUESSES if size <= GIB else MAX_GUESSES_OF_LARGE)
    assert len(set(found)) == len(found)
    for (part,) in found:
        assert -(-size // part) == count


@pytest.mark.parametrize(
    "part", [5 * MIB, 8 * MIB, 10 * MB, 15 * MIB, 16 * MIB, 50 * MIB, 64 * MIB, 100 * MB, 512 * MIB]
)
@pytest.mark.parametrize("size", [70 * MIB, 777_777_777, 9 * GIB + 1, 250 * GIB])
def test_what_real_uploaders_take_is_among_the_guesses(part: int, size: int) -> None:
    count = -(-size // part)
    if count <= 10_000:
        assert (part,) in guesses(size, count)


@pytest.mark.parametrize("size", [80 * GIB, 400 * GIB, 5000 * GIB])
def test_sizes_that_uploaders_compute_for_the_largest_objects_are_among_the_guesses(size: int) -> None:
    go_library = size // 10_000 + 1
    rclone = (size // 10_000 // MIB + 1) * MIB
    minio = (size // 10_000 // (16 * MIB) + 1) * 16 * MIB
    for part in (go_library, rclone, minio):
        assert (part,) in guesses(size, -(-size // part))
