"""Digests: the right ones, and every one that a source publishes counts."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.artifact import Algorithm, Digest, RemoteFile
from downloader.errors import IntegrityError
from downloader.integrity import STRENGTH, Hasher, combine, hash_file, judge

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
}
CRCS = [Algorithm.CRC32, Algorithm.CRC32C, Algorithm.CRC64NVME]


def digests(*algorithms: Algorithm, wrong: Algorithm | None = None) -> tuple[Digest, ...]:
    return tuple(
        Digest(algorithm, "0" * len(KNOWN[algorithm]) if algorithm is wrong else KNOWN[algorithm])
        for algorithm in algorithms
    )


def computed(data: bytes, *algorithms: Algorithm) -> dict[Algorithm, str]:
    hasher = Hasher(len(data), [Digest(algorithm, "") for algorithm in algorithms])
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
        assert judge(file(*digests(*reversed(weaker))), KNOWN) == Digest(algorithm, KNOWN[algorithm])


def test_every_algorithm_has_its_strength() -> None:
    assert set(STRENGTH) == set(Algorithm)


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_one_wrong_digest_among_right_ones_is_enough_to_refuse(algorithm: Algorithm) -> None:
    with pytest.raises(IntegrityError) as caught:
        judge(file(*digests(*Algorithm, wrong=algorithm)), KNOWN)
    for part in ("model.bin", str(algorithm), KNOWN[algorithm], "0" * len(KNOWN[algorithm])):
        assert part in str(caught.value)


def test_a_file_without_published_digests_is_proved_by_nothing() -> None:
    assert judge(file(), computed(DATA)) is None


def test_digests_that_cannot_be_computed_here_prove_nothing() -> None:
    published = digests(Algorithm.CRC64NVME)
    assert judge(file(*published), {Algorithm.SHA256: KNOWN[Algorithm.SHA256]}) is None


def test_without_awscrt_its_checksums_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "awscrt.checksums", None)
    assert computed(DATA, *Algorithm).keys() == set(Algorithm) - {Algorithm.CRC32C, Algorithm.CRC64NVME}
    assert combine(Algorithm.CRC32C, "00000000", "00000000", 0) is None


def test_awscrt_is_not_imported_before_it_is_needed() -> None:
    program = "import sys, downloader.integrity as i; i.Hasher(1); print('awscrt' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


@pytest.mark.parametrize("algorithm", CRCS)
@given(first=st.binary(max_size=60), second=st.binary(max_size=60))
def test_crcs_of_neighbours_combine(algorithm: Algorithm, first: bytes, second: bytes) -> None:
    left, right = computed(first, algorithm)[algorithm], computed(second, algorithm)[algorithm]
    assert combine(algorithm, left, right, len(second)) == computed(first + second, algorithm)[algorithm]


def test_other_digests_do_not_combine() -> None:
    with pytest.raises(ValueError, match="sha256"):
        combine(Algorithm.SHA256, "", "", 0)


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
    results = hash_file(reader(data), size, digests(Algorithm.CRC32), pieces.append)
    assert results == {Algorithm.SHA256: hashlib.sha256(data).hexdigest(), Algorithm.CRC32: f"{zlib.crc32(data):08x}"}
    assert sum(pieces) == size


def test_a_file_that_ends_early_is_no_file() -> None:
    with pytest.raises(IntegrityError, match="ends after 100"):
        hash_file(reader(bytes(100)), 101)
