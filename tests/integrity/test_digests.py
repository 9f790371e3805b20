"""Digests: the right ones, every one that a source publishes counts, and what is in doubt is looked at twice."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.artifact import Algorithm, Digest, Mismatch, RemoteFile
from downloader.cgroups import processors
from downloader.errors import IntegrityError
from downloader.integrity import (
    SIZE_ONLY,
    STRENGTH,
    UNVERIFIABLE,
    Hasher,
    Verifier,
    compare_digests,
    computable,
    hash_file,
    of_nothing,
    proofs_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = b"123456789"
KNOWN = {  # computed by sha256sum, sha512sum, sha1sum, git hash-object, md5sum; the CRCs are the published check values
    Algorithm.SHA256: "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
    Algorithm.SHA512: (
        "d9e6762dd1c8eaf6d61b3c6192fc408d4d6d5f1176d0c29169bc24e71c3f274a"
        "d27fcd5811b313d681f7e55ec02d73d499c95455b6b5bb503acf574fba8ffe85"
    ),
    Algorithm.SHA1: "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
    Algorithm.GIT_SHA1: "e2e107ac61ac259b87c544f6e7a4eb03422c6c21",
    Algorithm.MD5: "25f9e794323b453885f5181f1b624d0b",
    Algorithm.CRC32: "cbf43926",
    Algorithm.CRC32C: "e3069283",
    Algorithm.CRC64NVME: "ae8b14860a799888",
    # Of the parts 1234, 5678 and 9: the digests of each in a row, digested once more by the same programs (CRCs: zlib).
    Algorithm.ETAG: "393e928fcf5925fcbd3a06aaf20b2d38-3",
    Algorithm.SHA256_PARTS: "456b4905101d610f58eab1132f26b924c91aa7c7c00c9a396e24ac741590e741-3",
    Algorithm.SHA1_PARTS: "75370a763626d53cd039124eb422356a34dae34c-3",
    Algorithm.CRC32C_PARTS: "b9256a70-3",
    Algorithm.CRC32_PARTS: "faf128e9-3",
}
HASHED = (Algorithm.SHA256, Algorithm.SHA512, Algorithm.SHA1, Algorithm.MD5)
"""Those that hashlib knows by the same names."""
OF_PARTS = [algorithm for algorithm in Algorithm if KNOWN[algorithm].endswith("-3")]
PARTS_OF_FOUR = ((4,),)


def digests(*algorithms: Algorithm, wrong: Algorithm | None = None) -> tuple[Digest, ...]:
    return tuple(
        Digest(algorithm, "0" * len(KNOWN[algorithm]) if algorithm is wrong else KNOWN[algorithm], PARTS_OF_FOUR)
        for algorithm in algorithms
    )


def computed(data: bytes, *algorithms: Algorithm) -> dict[Algorithm, str]:
    hasher = Hasher(len(data), [Digest(algorithm, "", PARTS_OF_FOUR) for algorithm in algorithms])
    hasher.update(memoryview(data))
    return hasher.results()


def file(*published: Digest) -> RemoteFile:
    return RemoteFile("model.bin", len(DATA), published)


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_each_digest_is_the_one_that_the_world_knows(algorithm: Algorithm) -> None:
    assert computed(DATA, algorithm)[algorithm] == KNOWN[algorithm]


def test_every_file_gets_a_sha256_and_only_what_it_needs_besides() -> None:
    assert computed(DATA).keys() == {Algorithm.SHA256}
    assert computed(DATA, Algorithm.MD5, Algorithm.SHA256).keys() == {Algorithm.SHA256, Algorithm.MD5}


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_the_pieces_that_bytes_come_in_do_not_matter(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    hasher = Hasher(len(whole), digests(*Algorithm))
    for piece in pieces:
        hasher.update(memoryview(piece))
    assert hasher.results() == computed(whole, *Algorithm)
    assert hasher.position == len(whole)


def test_the_strongest_digest_is_named_as_the_proof() -> None:
    for number, algorithm in enumerate(STRENGTH):
        weaker = STRENGTH[number:]
        assert compare_digests(file(*digests(*reversed(weaker))), KNOWN).proof == algorithm


def test_every_algorithm_has_its_strength() -> None:
    assert set(STRENGTH) == set(Algorithm)


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_one_wrong_digest_among_right_ones_is_enough_to_refuse(algorithm: Algorithm) -> None:
    with pytest.raises(IntegrityError) as caught:
        compare_digests(file(*digests(*Algorithm, wrong=algorithm)), KNOWN)
    for part in ("model.bin", str(algorithm), KNOWN[algorithm], "0" * len(KNOWN[algorithm])):
        assert part in str(caught.value)


def test_a_file_without_published_digests_is_proved_by_nothing() -> None:
    assert compare_digests(file(), computed(DATA)).proof == SIZE_ONLY


def test_digests_that_cannot_be_computed_here_prove_nothing() -> None:
    published = digests(Algorithm.CRC64NVME)
    assert compare_digests(file(*published), {Algorithm.SHA256: KNOWN[Algorithm.SHA256]}).proof == SIZE_ONLY


def test_without_awscrt_its_checksums_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(computable(algorithm) for algorithm in Algorithm)
    monkeypatch.setitem(sys.modules, "awscrt.checksums", None)
    lacking = {Algorithm.CRC32C, Algorithm.CRC64NVME, Algorithm.CRC32C_PARTS}
    assert computed(DATA, *Algorithm).keys() == set(Algorithm) - lacking
    assert {algorithm for algorithm in Algorithm if not computable(algorithm)} == lacking


def test_awscrt_is_not_imported_before_it_is_needed() -> None:
    program = "import sys, downloader.integrity as i; i.Hasher(1); print('awscrt' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def of_parts(algorithm: Algorithm, pieces: list[bytes], *layouts: tuple[int, ...]) -> str:
    data = b"".join(pieces)
    wanted = Digest(algorithm, "wanted", layouts)
    hasher = Hasher(len(data), [wanted])
    for piece in pieces:
        hasher.update(memoryview(piece))
    return hasher.results()[algorithm]


@pytest.mark.parametrize("algorithm", OF_PARTS)
@pytest.mark.parametrize("layout", [(4,), (4, 4, 1), (4, 4), (4, 4, 100)])
def test_parts_of_one_size_or_of_several_give_the_same_digest(algorithm: Algorithm, layout: tuple[int, ...]) -> None:
    assert of_parts(algorithm, [DATA], layout) == KNOWN[algorithm]


@given(st.lists(st.binary(max_size=9), max_size=9), st.lists(st.integers(1, 7), min_size=1, max_size=4))
def test_the_digest_of_parts_does_not_depend_on_how_the_bytes_come(pieces: list[bytes], sizes: list[int]) -> None:
    data, position = b"".join(pieces), 0
    remaining, size = iter(sizes), sizes[0]
    parts: list[bytes] = []
    while position < len(data) or not parts:
        size = next(remaining, size)
        parts.append(hashlib.md5(data[position : position + size]).digest())  # noqa: S324
        position += size
    expected = hashlib.md5(b"".join(parts)).hexdigest()  # noqa: S324
    assert of_parts(Algorithm.ETAG, pieces, tuple(sizes)) == f"{expected}-{len(parts)}"


def test_of_several_layouts_the_one_that_gives_the_published_digest_counts() -> None:
    right = Digest(Algorithm.ETAG, KNOWN[Algorithm.ETAG], ((2,), (5,), (4,), (8,)))
    hasher = Hasher(len(DATA), [right])
    hasher.update(memoryview(DATA))
    assert compare_digests(file(right), hasher.results()).proof == "etag"
    wrong = Digest(Algorithm.ETAG, KNOWN[Algorithm.ETAG], ((2,), (5,)), Mismatch.NOTHING)
    hasher = Hasher(len(DATA), [wrong])
    hasher.update(memoryview(DATA))
    assert compare_digests(file(wrong), hasher.results()).proof == SIZE_ONLY


def test_digests_of_large_pieces_are_computed_side_by_side_and_are_right() -> None:
    pieces = [bytes([number]) * (1 << 19) for number in range(8)]
    data = b"".join(pieces)
    right = f"{hashlib.md5(b''.join(hashlib.md5(piece).digest() for piece in pieces)).hexdigest()}-8"  # noqa: S324
    layouts = tuple((size << 19,) for size in (3, 2, 1, 7, 5, 4))  # the right one among those that a server leaves open
    wanted = [*(Digest(algorithm, "") for algorithm in HASHED), Digest(Algorithm.ETAG, right, layouts)]
    hasher = Hasher(len(data), wanted)
    for piece in pieces:
        hasher.update(memoryview(piece))
    expected = {algorithm: hashlib.new(str(algorithm), data).hexdigest() for algorithm in HASHED}
    assert hasher.results() == {**expected, Algorithm.ETAG: right}
    helped = any(thread.name.startswith("digest") for thread in threading.enumerate())
    assert helped is (processors() > 1)


def test_a_digest_of_parts_of_unknown_sizes_is_not_computed() -> None:
    hasher = Hasher(len(DATA), [Digest(Algorithm.ETAG, KNOWN[Algorithm.ETAG])])
    hasher.update(memoryview(DATA))
    assert hasher.results().keys() == {Algorithm.SHA256}


RIGHT_CRC = Digest(Algorithm.CRC32, KNOWN[Algorithm.CRC32])
DOUBTFUL = Digest(Algorithm.MD5, "0" * 32, mismatch=Mismatch.AMBIGUOUS)


def test_a_doubtful_digest_counts_for_nothing_beside_one_that_is_right() -> None:
    result = compare_digests(file(DOUBTFUL, RIGHT_CRC), KNOWN)
    assert (result.proof, result.doubted) == ("crc32", None)


def test_a_doubtful_digest_that_is_right_proves_as_much_as_any() -> None:
    assert (
        compare_digests(file(Digest(Algorithm.MD5, KNOWN[Algorithm.MD5], mismatch=Mismatch.AMBIGUOUS)), KNOWN).proof
        == "md5"
    )


def test_a_doubtful_digest_beside_one_that_is_wrong_saves_nothing() -> None:
    with pytest.raises(IntegrityError):
        compare_digests(file(DOUBTFUL, Digest(Algorithm.CRC32, "00000000")), KNOWN)


def test_what_is_in_doubt_is_believed_when_the_same_bytes_come_again() -> None:
    for other in ("a", "b"):
        verifier = Verifier()
        with pytest.raises(IntegrityError, match="may not mean"):
            verifier.proof(file(DOUBTFUL), KNOWN)
        assert verifier.proof(file(DOUBTFUL), KNOWN) == UNVERIFIABLE
        # That says nothing of another file: its digest may be one, and its bytes may be wrong.
        with pytest.raises(IntegrityError, match="may not mean"):
            verifier.proof(RemoteFile(other, len(DATA), (DOUBTFUL,)), KNOWN | {Algorithm.SHA256: other})


def test_bytes_that_come_differently_each_time_are_never_believed() -> None:
    verifier = Verifier()
    for sha256 in ("a", "b", "a", "b"):
        with pytest.raises(IntegrityError):
            verifier.proof(file(DOUBTFUL), KNOWN | {Algorithm.SHA256: sha256})


def test_a_file_that_was_damaged_on_its_way_leaves_no_doubt_once_it_comes_whole() -> None:
    verifier, doubtful = Verifier(), Digest(Algorithm.MD5, KNOWN[Algorithm.MD5], mismatch=Mismatch.AMBIGUOUS)
    damaged = KNOWN | {Algorithm.MD5: "1" * 32, Algorithm.SHA256: "1" * 64}
    with pytest.raises(IntegrityError):
        verifier.proof(file(doubtful), damaged)
    assert verifier.proof(file(doubtful), KNOWN) == "md5"


def test_nothing_has_a_digest_of_its_own() -> None:
    md5 = "d41d8cd98f00b204e9800998ecf8427e"
    assert of_nothing([Digest(Algorithm.CRC32, "ffffffff"), Digest(Algorithm.MD5, md5)])
    assert not of_nothing([Digest(Algorithm.MD5, KNOWN[Algorithm.MD5])])
    assert not of_nothing([])


def test_proofs_are_told_by_their_number() -> None:
    told = proofs_text({"a": "sha256", "b": SIZE_ONLY, "c": "sha256"})
    assert told == "2 verified by sha256; 1 downloaded, not verified (the source publishes no checksum)"
    assert proofs_text({}) == "no files"


def reader(data: bytes) -> Callable[[int, memoryview], int]:
    def readinto(offset: int, view: memoryview) -> int:
        piece = data[offset : offset + len(view)]
        view[: len(piece)] = piece
        return len(piece)

    return readinto


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (5 << 20) + 17])
def test_a_file_is_hashed_in_pieces_that_add_up(size: int) -> None:
    data = bytes(size)
    pieces: list[int] = []
    results = hash_file(reader(data), size, digests(Algorithm.CRC32), pieces.append).results()
    assert results == {Algorithm.SHA256: hashlib.sha256(data).hexdigest(), Algorithm.CRC32: f"{zlib.crc32(data):08x}"}
    assert sum(pieces) == size


def test_a_file_that_ends_early_is_no_file() -> None:
    with pytest.raises(IntegrityError, match="ends after 100"):
        hash_file(reader(bytes(100)), 101)
