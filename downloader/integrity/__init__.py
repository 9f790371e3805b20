"""Digests: computed while bytes arrive, and compared with the published ones.

Every file gets a sha256, because that is what `.artifact.sha256` promises, and besides it each digest that its source
publishes. **All** of those must be right, not only the strongest: two digests that disagree about the same bytes mean
that the source contradicts itself, and a file that nothing verifies is worth nothing. Only where it is not certain what
a server publishes (S3's entity tags), a digest that is right proves the file and one that is not leaves a doubt.

CRC32C and CRC64NVME come from the `awscrt` wheel, which not every platform has; without it they are skipped, and a
file that has nothing else is proved by nothing.
"""

from downloader.integrity.algorithms import (
    DIGEST_FIELDS,
    FRAGMENTS,
    GOOGLE_NAMES,
    OF_PARTS,
    S3_HEADERS,
    SPECS,
    STRENGTH,
    computable,
    is_hexadecimal,
)
from downloader.integrity.artifact import artifact_digest
from downloader.integrity.checksum_file import (
    MARKER,
    MAX_LIST_SIZE,
    MAX_ORIGINS,
    RECORD,
    Checksums,
    Origin,
    header,
    parse_checksums,
    parse_header,
    render_checksums,
    render_comments,
    rendered_lines,
    seal_line,
    sha256_of,
)
from downloader.integrity.content import HEAD, HINT, ContentCheck, contradiction, is_suspicious
from downloader.integrity.ends import end_of
from downloader.integrity.expectation import Expectation
from downloader.integrity.hashing import Digests, Hasher, hash_file, of_nothing
from downloader.integrity.verify import (
    SIZE_ONLY,
    UNKNOWN,
    UNVERIFIABLE,
    UNVERIFIED,
    VerificationResult,
    Verifier,
    compare_digests,
    has_cryptographic_digest,
    may_combine,
    proofs_text,
    proves_itself,
)

__all__ = [
    "DIGEST_FIELDS",
    "FRAGMENTS",
    "GOOGLE_NAMES",
    "HEAD",
    "HINT",
    "MARKER",
    "MAX_LIST_SIZE",
    "MAX_ORIGINS",
    "OF_PARTS",
    "RECORD",
    "S3_HEADERS",
    "SIZE_ONLY",
    "SPECS",
    "STRENGTH",
    "UNKNOWN",
    "UNVERIFIABLE",
    "UNVERIFIED",
    "Checksums",
    "ContentCheck",
    "Digests",
    "Expectation",
    "Hasher",
    "Origin",
    "VerificationResult",
    "Verifier",
    "artifact_digest",
    "compare_digests",
    "computable",
    "contradiction",
    "end_of",
    "has_cryptographic_digest",
    "hash_file",
    "header",
    "is_hexadecimal",
    "is_suspicious",
    "may_combine",
    "of_nothing",
    "parse_checksums",
    "parse_header",
    "proofs_text",
    "proves_itself",
    "render_checksums",
    "render_comments",
    "rendered_lines",
    "seal_line",
    "sha256_of",
]
