"""Computing digests of bytes that pass once, in order."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm
from downloader.cgroups import processors
from downloader.errors import IntegrityError
from downloader.integrity.algorithms import OF_PARTS, SPECS, computable
from downloader.integrity.content import HEAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import ThreadPoolExecutor

    from downloader.artifact import Digest
    from downloader.integrity.algorithms import Digester

Digests = dict[Algorithm, str]
"""What was computed: lowercase hexadecimal by algorithm."""

_PIECE = 1 << 20
_SIDE_BY_SIDE = 1 << 18
"""Bytes of a piece from which its digests are computed at the same time. Below, handing it over takes too long."""


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
        self.candidates = [_Parts(start, layout) for layout in wanted.layouts]
        """Each takes all bytes."""

    def hexdigest(self) -> str:
        # A digest of parts does not say how the file was cut: the layout that gives the published value is right.
        values = [candidate.value() for candidate in self.candidates]
        return self._wanted if self._wanted in values else values[0]


class Hasher:
    """Computes what a file of this size needs, fed with its buffers in order. Not for several threads at once."""

    def __init__(self, size: int, wanted: Iterable[Digest] = ()) -> None:
        sha256 = hashlib.sha256()
        self._running: dict[Algorithm, Digester | _AnyLayout] = {Algorithm.SHA256: sha256}
        self._takers: list[Digester | _Parts] = [sha256]
        """What takes the bytes: sha256, and what the others are made of."""
        self._slow = False
        """One besides sha256 is worth a processor of its own."""
        self.position = 0
        """Bytes taken so far."""
        self.head = b""
        """The first bytes, as many as tell what kind of file it is."""
        for digest in wanted:
            if digest.algorithm not in self._running and (running := _running(digest, size)) is not None:
                self._running[digest.algorithm] = running
                self._takers += running.candidates if isinstance(running, _AnyLayout) else [running]
                self._slow |= SPECS[OF_PARTS.get(digest.algorithm, digest.algorithm)].slow

    def update(self, data: memoryview) -> None:
        """Take the next bytes."""
        if self.position < HEAD:
            self.head += bytes(data[: HEAD - self.position])
        pool = _pool() if self._slow and len(data) >= _SIDE_BY_SIDE else None
        if pool is None:
            for taker in self._takers:
                taker.update(data)
        else:
            _update_side_by_side(pool, self._takers, data)
        self.position += len(data)

    def results(self) -> Digests:
        """Return the digests of the bytes taken so far."""
        return {algorithm: running.hexdigest() for algorithm, running in self._running.items()}


@cache
def _pool() -> ThreadPoolExecutor | None:
    """Return the threads that compute digests beside the thread that has the bytes; None for a single processor."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 -- most runs need none

    return ThreadPoolExecutor(processors(), thread_name_prefix="digest") if processors() > 1 else None


def _update_side_by_side(pool: ThreadPoolExecutor, takers: Sequence[Digester | _Parts], data: memoryview) -> None:
    """Give the bytes to all takers and return when each has them."""
    first, *others = takers
    futures = [pool.submit(taker.update, data) for taker in others]
    first.update(data)
    for taker, future in reversed(list(zip(others, futures, strict=True))):
        # What no thread has begun is done here: with many files at once, all processors are busy as it is.
        if future.cancel():
            taker.update(data)
        else:
            future.result()


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
    `progress` is called with the size of each piece. Raises IntegrityError if the file ends early.
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
