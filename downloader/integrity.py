"""Digests: computed while the bytes pass, and the judgement which of them proves a file.

Every file gets a sha256, because that is what `.artifact.sha256` promises, and besides it each digest that its source
publishes. **All** of those must be right, not only the strongest: two digests that disagree about the same bytes mean
that the source contradicts itself, and a file nobody can vouch for is worth nothing.

CRC32C and CRC64NVME come from the `awscrt` wheel, which not every platform has; without it they are skipped, and a
file that has nothing else is proved by nothing.
"""

from __future__ import annotations

import hashlib
import importlib
import zlib
from typing import TYPE_CHECKING, Protocol

from downloader.artifact import Algorithm, Digest
from downloader.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType

    from downloader.artifact import RemoteFile

Digests = dict[Algorithm, str]
"""What was computed: lowercase hexadecimal by algorithm."""

STRENGTH = (
    Algorithm.SHA512,
    Algorithm.SHA256,
    Algorithm.GIT_SHA1,
    Algorithm.SHA1,
    Algorithm.MD5,
    Algorithm.CRC64NVME,
    Algorithm.CRC32C,
    Algorithm.CRC32,
)
"""The strongest first."""

_PIECE = 1 << 20


class _Running(Protocol):
    """A digest on its way."""

    def update(self, data: memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


class _Crc:
    """A CRC with the manners of hashlib."""

    def __init__(self, step: Callable[[memoryview, int], int], digits: int) -> None:
        self._step = step
        self._digits = digits
        self._value = 0

    def update(self, data: memoryview, /) -> None:
        self._value = self._step(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:0{self._digits}x}"


class Hasher:
    """Computes what a file of this size needs, fed with its buffers in order. Not for several threads at once."""

    def __init__(self, size: int, wanted: Iterable[Digest] = ()) -> None:
        self._running: dict[Algorithm, _Running] = {}
        self.position = 0
        """Bytes taken so far."""
        for algorithm in (Algorithm.SHA256, *(digest.algorithm for digest in wanted)):
            if algorithm not in self._running and (running := _start(algorithm, size)) is not None:
                self._running[algorithm] = running

    def update(self, data: memoryview) -> None:
        """Take the next bytes."""
        for running in self._running.values():
            running.update(data)
        self.position += len(data)

    def results(self) -> Digests:
        """Return the digests of the bytes taken so far."""
        return {algorithm: running.hexdigest() for algorithm, running in self._running.items()}


def judge(file: RemoteFile, results: Mapping[Algorithm, str]) -> Digest | None:
    """Return the strongest digest that proves the file; None if its source publishes none that can be computed.

    Raises IntegrityError if any published digest differs from what was computed.
    """
    proofs = [digest for digest in file.digests if digest.algorithm in results]
    for digest in proofs:
        actual = results[digest.algorithm]
        if actual != digest.value:
            raise IntegrityError(
                f"{file.path}: the bytes have {digest.algorithm} {actual}, the source says {digest.value}",
                hint="they are discarded; if it happens again, the source or the way to it damages them",
            )
    return min(proofs, key=lambda digest: STRENGTH.index(digest.algorithm), default=None)


def hash_file(
    readinto: Callable[[int, memoryview], int],
    size: int,
    wanted: Iterable[Digest] = (),
    progress: Callable[[int], None] = lambda _: None,
) -> Digests:
    """Return the digests of a file of `size` bytes.

    `readinto(offset, view)` must fill the view from there and return how many bytes it put, 0 only at the end.
    `progress` hears the size of each piece. Raises IntegrityError if the file ends early.
    """
    hasher = Hasher(size, wanted)
    buffer = memoryview(bytearray(min(_PIECE, size)))
    while hasher.position < size:
        count = readinto(hasher.position, buffer[: size - hasher.position])
        if not count:
            raise IntegrityError(f"a file of {size} bytes ends after {hasher.position}")
        hasher.update(buffer[:count])
        progress(count)
    return hasher.results()


def combine(algorithm: Algorithm, first: str, second: str, second_size: int) -> str | None:
    """Return the CRC of two neighbours from the CRC of each; None where `awscrt` is missing.

    `second_size` is the number of bytes behind `second`. Raises ValueError for an algorithm that is no CRC.
    """
    if algorithm not in _DIGITS:
        raise ValueError(f"{algorithm} digests of parts cannot be combined")
    library = _checksums()
    if library is None:
        return None
    joined = getattr(library, f"combine_{algorithm}")(int(first, 16), int(second, 16), second_size)
    return f"{joined:0{_DIGITS[algorithm]}x}"


_DIGITS = {Algorithm.CRC32: 8, Algorithm.CRC32C: 8, Algorithm.CRC64NVME: 16}


_STARTS: dict[Algorithm, Callable[[], _Running]] = {
    Algorithm.SHA256: hashlib.sha256,
    Algorithm.SHA512: hashlib.sha512,
    Algorithm.SHA1: lambda: hashlib.sha1(usedforsecurity=False),
    Algorithm.MD5: lambda: hashlib.md5(usedforsecurity=False),
    Algorithm.CRC32: lambda: _Crc(zlib.crc32, _DIGITS[Algorithm.CRC32]),
}


def _start(algorithm: Algorithm, size: int) -> _Running | None:
    if algorithm is Algorithm.GIT_SHA1:
        return hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    if algorithm in _STARTS:
        return _STARTS[algorithm]()
    library = _checksums()
    return _Crc(getattr(library, algorithm), _DIGITS[algorithm]) if library else None


def _checksums() -> ModuleType | None:
    """Import awscrt only where a CRC of its is needed: most artifacts never do."""
    try:
        return importlib.import_module("awscrt.checksums")
    except ImportError:
        return None
