"""The registry of digest algorithms: everything that the program knows about one stands in its entry.

A new algorithm is a member of `Algorithm` and an entry here. Its place in `SPECS` is its strength, the strongest first.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from downloader.artifact import Algorithm

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


_HEXADECIMAL = re.compile(r"[0-9a-f]+")


class Digester(Protocol):
    """A digest that is being computed, as hashlib's objects are."""

    def update(self, data: memoryview, /) -> None:
        """Add the next bytes."""

    def digest(self) -> bytes:
        """Return the digest of the bytes so far."""

    def hexdigest(self) -> str:
        """Return it as lowercase hexadecimal."""


class _Crc:
    """A CRC with hashlib's interface."""

    def __init__(self, step: Callable[[memoryview, int], int], length: int) -> None:
        self._step = step
        self._length = length
        self._value = 0

    def update(self, data: memoryview, /) -> None:
        self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._length, "big")

    def hexdigest(self) -> str:
        return self.digest().hex()


@dataclass(frozen=True, slots=True)
class AlgorithmSpec:
    """What the program knows about one algorithm."""

    length: int
    """Bytes of a digest."""
    start: Callable[[], Digester] | None = None
    """Begin to compute one; None for digests of parts, which need the sizes of the parts."""
    prefix: Callable[[int], bytes] | None = None
    """Bytes that are hashed before those of a file of this size; None for no bytes."""
    digest_field: str = ""
    """The name in HTTP's `Content-Digest`, `Repr-Digest` and `Digest` (RFC 9530 and RFC 3230)."""
    fragment: bool = False
    """It may follow a URL as `#sha256=…`."""
    google_name: str = ""
    """The name in Google's `x-goog-hash`."""
    s3_cost: int | None = None
    """Its rank among the algorithms of S3's `x-amz-checksum-*`, the cheapest to compute first; None: S3 has none."""
    parts_of: Algorithm | None = None
    """A digest of parts: what the parts' digests, and the digest over these, are made with."""
    cryptographic: bool = False
    """No other bytes can be made to have the same digest, so that it proves bytes from anywhere (ADR 84)."""
    slow: bool = False
    """It takes about as long as sha256, or longer: where both are computed, each is worth a processor."""
    from_aws: bool = False
    """It comes from the `awscrt` wheel, which not every platform has."""


def _crc_of_aws(name: str, length: int) -> Callable[[], Digester]:
    def start() -> Digester:
        library = aws_checksums()
        if library is None:
            raise LookupError(name)
        return _Crc(getattr(library, name), length)

    return start


SPECS: dict[Algorithm, AlgorithmSpec] = {
    Algorithm.SHA512: AlgorithmSpec(
        64, hashlib.sha512, digest_field="sha-512", fragment=True, s3_cost=5, cryptographic=True, slow=True
    ),
    Algorithm.SHA256: AlgorithmSpec(
        32, hashlib.sha256, digest_field="sha-256", fragment=True, s3_cost=3, cryptographic=True
    ),
    Algorithm.SHA256_PARTS: AlgorithmSpec(32, parts_of=Algorithm.SHA256, cryptographic=True),
    # The id of a blob in Git, see gitformat-pack(5) and `git hash-object`.
    Algorithm.GIT_SHA1: AlgorithmSpec(
        20,
        lambda: hashlib.sha1(usedforsecurity=False),
        prefix=lambda size: f"blob {size}\0".encode(),
        cryptographic=True,
        slow=True,
    ),
    Algorithm.SHA1: AlgorithmSpec(
        20,
        lambda: hashlib.sha1(usedforsecurity=False),
        digest_field="sha",
        fragment=True,
        s3_cost=4,
        cryptographic=True,
        slow=True,
    ),
    Algorithm.SHA1_PARTS: AlgorithmSpec(20, parts_of=Algorithm.SHA1, cryptographic=True),
    Algorithm.MD5: AlgorithmSpec(
        16, lambda: hashlib.md5(usedforsecurity=False), digest_field="md5", fragment=True, google_name="md5", slow=True
    ),
    Algorithm.ETAG: AlgorithmSpec(16, parts_of=Algorithm.MD5),
    Algorithm.CRC64NVME: AlgorithmSpec(8, _crc_of_aws("crc64nvme", 8), s3_cost=0, from_aws=True),
    Algorithm.CRC32C: AlgorithmSpec(4, _crc_of_aws("crc32c", 4), google_name="crc32c", s3_cost=1, from_aws=True),
    Algorithm.CRC32: AlgorithmSpec(4, lambda: _Crc(zlib.crc32, 4), s3_cost=2),
    Algorithm.CRC32C_PARTS: AlgorithmSpec(4, parts_of=Algorithm.CRC32C),
    Algorithm.CRC32_PARTS: AlgorithmSpec(4, parts_of=Algorithm.CRC32),
}
STRENGTH = tuple(SPECS)
"""The strongest first."""
OF_PARTS = {algorithm: spec.parts_of for algorithm, spec in SPECS.items() if spec.parts_of is not None}
"""Digests of parts' digests → what both are made with."""
_FROM_AWS = frozenset(algorithm for algorithm in SPECS if SPECS[OF_PARTS.get(algorithm, algorithm)].from_aws)
S3_HEADERS = {
    f"x-amz-checksum-{algorithm}": algorithm
    for algorithm in sorted(
        (algorithm for algorithm, spec in SPECS.items() if spec.s3_cost is not None),
        key=lambda algorithm: SPECS[algorithm].s3_cost or 0,
    )
}
"""The cheapest to compute first: any one of them suffices, and S3 stores one."""
DIGEST_FIELDS = {spec.digest_field: algorithm for algorithm, spec in SPECS.items() if spec.digest_field}
GOOGLE_NAMES = {spec.google_name: algorithm for algorithm, spec in SPECS.items() if spec.google_name}
FRAGMENTS = tuple(algorithm for algorithm, spec in SPECS.items() if spec.fragment)


def computable(algorithm: Algorithm) -> bool:
    """Tell whether this platform can compute a digest."""
    return algorithm not in _FROM_AWS or aws_checksums() is not None


def is_hexadecimal(algorithm: Algorithm, text: str) -> bool:
    """Tell whether a text from outside is a digest of this algorithm: lowercase hexadecimal of its length."""
    return len(text) == 2 * SPECS[algorithm].length and _HEXADECIMAL.fullmatch(text) is not None


def aws_checksums() -> ModuleType | None:
    """Import awscrt only where a CRC of its is needed: most artifacts never do."""
    try:
        return importlib.import_module("awscrt.checksums")
    except ImportError:
        return None
