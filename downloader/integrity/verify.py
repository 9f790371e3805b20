"""Compares the digests of a file with the published ones, and says which of them verifies it."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from downloader.artifact import Algorithm, Mismatch
from downloader.errors import IntegrityError
from downloader.integrity.algorithms import SPECS, STRENGTH, computable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.artifact import Digest, RemoteFile

SIZE_ONLY = "size only"
"""The proof of a file that has no digest to be judged by."""
UNVERIFIABLE = "etag unverifiable"
"""The proof of a file whose digest is not right but whose bytes came twice the same."""
UNVERIFIED = frozenset({SIZE_ONLY, UNVERIFIABLE})
"""What no digest stands for."""
UNKNOWN = "unknown"
"""The proof of a file that was proved by an earlier run, which did not write down how."""


class VerificationResult(NamedTuple):
    """What the digests say of a file whose bytes are not known to be wrong."""

    proof: str
    """The strongest digest that is right, or SIZE_ONLY."""
    doubted: Digest | None = None
    """The digest that should have been right but may mean something else; None if there is no doubt."""


def compare_digests(file: RemoteFile, results: Mapping[Algorithm, str]) -> VerificationResult:
    """Judge a file by the digests of its bytes.

    Raises IntegrityError if a published digest that can only mean one thing differs from what was computed.
    """
    right, doubted = [], None
    for digest in file.digests:
        actual = results.get(digest.algorithm)
        if actual == digest.value:
            right.append(digest.algorithm)
        elif actual is not None and digest.mismatch is Mismatch.DAMAGE:
            raise IntegrityError(
                f"{file.path}: the bytes have {digest.algorithm} {actual}, {_who(digest)} says {digest.value}",
                hint="they are discarded; if it happens again, the source or the way to it damages them",
            )
        elif actual is not None and digest.mismatch is Mismatch.AMBIGUOUS:
            doubted = doubted or digest
    if right:
        return VerificationResult(right[0] if len(right) == 1 else min(right, key=STRENGTH.index))
    return VerificationResult(SIZE_ONLY, doubted)


def _who(digest: Digest) -> str:
    return "the expected list" if digest.expected else "the source"


def proves_itself(file: RemoteFile) -> bool:
    """Tell whether a published digest can only mean the bytes of the whole file, and can be computed here."""
    # No generator: this is asked several times of each file, and the first digest mostly is the answer.
    for digest in file.digests:  # noqa: SIM110
        if digest.mismatch is Mismatch.DAMAGE and computable(digest.algorithm):
            return True
    return False


def has_cryptographic_digest(file: RemoteFile) -> bool:
    """Tell whether a published digest proves the file also where its bytes come from an attacker."""
    return any(digest.mismatch is Mismatch.DAMAGE and SPECS[digest.algorithm].cryptographic for digest in file.digests)


def may_combine(file: RemoteFile) -> bool:
    """Tell whether bytes of several answers may be put together.

    A digest proves the whole, or each answer says which version it is of. Else the file may be replaced between two
    responses, which would not be noticed.
    """
    return file.validator is not None or file.version is not None or proves_itself(file)


class Verifier:
    """Judges the files of one run, and remembers what was doubtful. For many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, set[str]] = {}

    def proof(self, file: RemoteFile, results: Mapping[Algorithm, str]) -> str:
        """Return what proves the file: an algorithm, SIZE_ONLY or UNVERIFIABLE.

        Raises IntegrityError if the bytes are wrong, and if they may be: then a second look is wanted. The same bytes
        twice and never others are believed. What that says of one file it says of no other.
        """
        result = compare_digests(file, results)
        if result.doubted is None:
            return result.proof
        sha256 = results[Algorithm.SHA256]
        with self._lock:
            seen = self._seen.setdefault(file.path, set())
            if seen == {sha256}:
                return UNVERIFIABLE
            seen.add(sha256)
        raise IntegrityError(
            f"{file.path}: the bytes do not have {result.doubted}, which this server may not mean as a digest",
            hint="if the same bytes come again they are kept",
        )


_SENTENCES = {
    SIZE_ONLY: "downloaded, not verified (the source publishes no checksum)",
    UNVERIFIABLE: "downloaded, not verified (the server's ETag is not a checksum of the content)",
    UNKNOWN: "verified by an earlier run",
}


def proofs_text(proofs: Mapping[str, str]) -> str:
    """Say what is known of how many files: `3 verified by sha256; 1 downloaded, not verified (…)`."""
    counted = Counter(proofs.values()).most_common()
    told = (f"{count} {_SENTENCES.get(proof, f'verified by {proof}')}" for proof, count in counted)
    return "; ".join(told) or "no files"
