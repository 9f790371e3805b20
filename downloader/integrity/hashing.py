"""Computing digests of bytes that pass once, in order."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm
from downloader.errors import IntegrityError
from downloader.integrity.algorithms import OF_PARTS, SPECS, computable
from downloader.integrity.content import HEAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from downloader.artifact import Digest
    from downloader.integrity.algorithms import Digester

Digests = dict[Algorithm, str]
"""What was computed: lowercase hexadecimal by algorithm."""

_PIECE = 1 << 20


class _Parts:
    """The digest of the parts' digests, for one way to cut the file."""

    def __init__(self, start: Callable[[], Digester], layout: tuple[int, ...]) -> None:
        self._start = start
        self._sizes = _repeating(layout)
        self._done: list[bytes] = []
        self._begin()

    def _begin(self) -> None:
        self._part = self._start()
        self._size = self._left = next(self._sizes)

    def update(self, data: memoryview) -> None:
        while data:
            # Only when more bytes come: a part that ends with the file is not followed by an empty one.
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

    def __init__(self, start: Callable[[], Digester], wanted: Digest) -> None:
        self._wanted = wanted.value
        self._candidates = [_Parts(start, layout) for layout in wanted.layouts]

    def update(self, data: memoryview, /) -> None:
        for candidate in self._candidates:
            candidate.update(data)

    def hexdigest(self) -> str:
        # A digest of parts does not say how the file was cut: the layout that gives the published value is right.
        values = [candidate.value() for candidate in self._candidates]
        return self._wanted if self._wanted in values else values[0]


class Hasher:
    """Computes what a file of this size needs, fed with its buffers in order. Not for several threads at once."""

    def __init__(self, size: int, wanted: Iterable[Digest] = ()) -> None:
        self._running: dict[Algorithm, Digester | _AnyLayout] = {Algorithm.SHA256: hashlib.sha256()}
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


def _running(wanted: Digest, size: int) -> Digester | _AnyLayout | None:
    if not computable(wanted.algorithm):
        return None
    spec = SPECS[OF_PARTS.get(wanted.algorithm, wanted.algorithm)]
    if spec.start is None:
        return None
    if wanted.algorithm in OF_PARTS:
        return _AnyLayout(spec.start, wanted) if wanted.layouts else None
    digester = spec.start()
    if spec.prefix is not None:
        digester.update(memoryview(spec.prefix(size)))
    return digester


def _repeating(layout: tuple[int, ...]) -> Iterator[int]:
    yield from layout
    while True:
        yield layout[-1]
