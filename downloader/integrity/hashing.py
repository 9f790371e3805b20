"""Computing digests of bytes that pass once, in order."""

from __future__ import annotations

import hashlib
import importlib
import zlib
from typing import TYPE_CHECKING, Protocol

from downloader.artifact import Algorithm
from downloader.errors import IntegrityError
from downloader.integrity.content import HEAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import ModuleType

    from downloader.artifact import Digest

Digests = dict[Algorithm, str]
"""What was computed: lowercase hexadecimal by algorithm."""

OF_PARTS = {
    Algorithm.ETAG: Algorithm.MD5,
    Algorithm.SHA256_PARTS: Algorithm.SHA256,
    Algorithm.SHA1_PARTS: Algorithm.SHA1,
    Algorithm.CRC32C_PARTS: Algorithm.CRC32C,
    Algorithm.CRC32_PARTS: Algorithm.CRC32,
}
"""Digests of parts' digests → what both are made with."""

_PIECE = 1 << 20


class _Running(Protocol):
    """A digest on its way."""

    def update(self, data: memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


class _Whole(_Running, Protocol):
    """A digest on its way of which others can be made."""

    def digest(self) -> bytes: ...


class _Crc:
    """A CRC with the manners of hashlib."""

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


class _Parts:
    """The digest of the parts' digests, for one way to cut the file."""

    def __init__(self, start: Callable[[], _Whole], layout: tuple[int, ...]) -> None:
        self._start = start
        self._sizes = _repeating(layout)
        self._done: list[bytes] = []
        self._begin()

    def _begin(self) -> None:
        self._part = self._start()
        self._size = self._left = next(self._sizes)

    def update(self, data: memoryview) -> None:
        while data:
            if not self._left:
                self._done.append(self._part.digest())
                self._begin()
            piece = data[: self._left]
            self._part.update(piece)
            self._left -= len(piece)
            data = data[len(piece) :]

    def value(self) -> str:
        parts = [*self._done, self._part.digest()]
        whole = self._start()
        whole.update(memoryview(b"".join(parts)))
        return f"{whole.hexdigest()}-{len(parts)}"


class _AnyLayout:
    """A digest of parts for several ways to cut the file: the value that was published, if one of them gives it."""

    def __init__(self, start: Callable[[], _Whole], wanted: Digest) -> None:
        self._wanted = wanted.value
        self._candidates = [_Parts(start, layout) for layout in wanted.layouts]

    def update(self, data: memoryview, /) -> None:
        for candidate in self._candidates:
            candidate.update(data)

    def hexdigest(self) -> str:
        values = [candidate.value() for candidate in self._candidates]
        return self._wanted if self._wanted in values else values[0]


class Hasher:
    """Computes what a file of this size needs, fed with its buffers in order. Not for several threads at once."""

    def __init__(self, size: int, wanted: Iterable[Digest] = ()) -> None:
        self._running: dict[Algorithm, _Running] = {Algorithm.SHA256: hashlib.sha256()}
        self.position = 0
        """Bytes taken so far."""
        self.head = b""
        """The first bytes, as many as tell what kind of file it is."""
        for digest in wanted:
            if digest.algorithm not in self._running and (running := _running(digest, size)) is not None:
                self._running[digest.algorithm] = running

    def update(self, data: memoryview) -> None:
        """Take the next bytes."""
        if self.position < HEAD:
            self.head += bytes(data[: HEAD - self.position])
        for running in self._running.values():
            running.update(data)
        self.position += len(data)

    def results(self) -> Digests:
        """Return the digests of the bytes taken so far."""
        return {algorithm: running.hexdigest() for algorithm, running in self._running.items()}


def of_nothing(digests: Iterable[Digest]) -> bool:
    """Tell whether one of these digests is that of an empty file."""
    digests = tuple(digests)
    computed = Hasher(0, digests).results()
    return any(computed.get(digest.algorithm) == digest.value for digest in digests)


def hash_file(
    readinto: Callable[[int, memoryview], int],
    size: int,
    wanted: Iterable[Digest] = (),
    progress: Callable[[int], None] = lambda _: None,
) -> Hasher:
    """Return a hasher that has taken a file of `size` bytes.

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
    return hasher


def computable(algorithm: Algorithm) -> bool:
    """Tell whether this platform can compute a digest."""
    return OF_PARTS.get(algorithm, algorithm) not in _CRCS_OF_AWS or _checksums() is not None


_CRCS_OF_AWS = {Algorithm.CRC32C: 4, Algorithm.CRC64NVME: 8}
"""With the length of each in bytes."""
_STARTS: dict[Algorithm, Callable[[], _Whole]] = {
    Algorithm.SHA256: hashlib.sha256,
    Algorithm.SHA512: hashlib.sha512,
    Algorithm.SHA1: lambda: hashlib.sha1(usedforsecurity=False),
    Algorithm.MD5: lambda: hashlib.md5(usedforsecurity=False),
    Algorithm.CRC32: lambda: _Crc(zlib.crc32, 4),
}


def _running(wanted: Digest, size: int) -> _Running | None:
    if wanted.algorithm is Algorithm.GIT_SHA1:
        return hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    start = _start(OF_PARTS.get(wanted.algorithm, wanted.algorithm))
    if start is None or wanted.algorithm not in OF_PARTS:
        return start and start()
    return _AnyLayout(start, wanted) if wanted.layouts else None


def _start(algorithm: Algorithm) -> Callable[[], _Whole] | None:
    if algorithm in _STARTS:
        return _STARTS[algorithm]
    library = _checksums()
    return (lambda: _Crc(getattr(library, algorithm), _CRCS_OF_AWS[algorithm])) if library else None


def _checksums() -> ModuleType | None:
    """Import awscrt only where a CRC of its is needed: most artifacts never do."""
    try:
        return importlib.import_module("awscrt.checksums")
    except ImportError:
        return None


def _repeating(layout: tuple[int, ...]) -> Iterator[int]:
    yield from layout
    while True:
        yield layout[-1]
