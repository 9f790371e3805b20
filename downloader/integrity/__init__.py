"""Digests: computed while the bytes pass, and the judgement which of them proves a file.

Every file gets a sha256, because that is what `.artifact.sha256` promises, and besides it each digest that its source
publishes. **All** of those must be right, not only the strongest: two digests that disagree about the same bytes mean
that the source contradicts itself, and a file nobody can vouch for is worth nothing. Only where it is not certain what
a server publishes (S3's entity tags), a digest that is right proves the file and one that is not leaves a doubt.

CRC32C and CRC64NVME come from the `awscrt` wheel, which not every platform has; without it they are skipped, and a
file that has nothing else is proved by nothing.
"""

from downloader.integrity.content import HEAD, ContentCheck, instead
from downloader.integrity.hashing import OF_PARTS, Digests, Hasher, computable, hash_file, of_nothing
from downloader.integrity.judgement import (
    SIZE_ONLY,
    STRENGTH,
    UNKNOWN,
    UNPROVED,
    UNVERIFIABLE,
    Judge,
    Judgement,
    judge,
    may_combine,
    proofs_text,
    proves_itself,
)

__all__ = [
    "HEAD",
    "OF_PARTS",
    "SIZE_ONLY",
    "STRENGTH",
    "UNKNOWN",
    "UNPROVED",
    "UNVERIFIABLE",
    "ContentCheck",
    "Digests",
    "Hasher",
    "Judge",
    "Judgement",
    "computable",
    "hash_file",
    "instead",
    "judge",
    "may_combine",
    "of_nothing",
    "proofs_text",
    "proves_itself",
]
