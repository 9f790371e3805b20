"""A set of bytes of a file: which ranges are there, and which are missing."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from downloader.artifact import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class ByteRanges:
    """Bytes of one file as sorted ranges that neither touch nor overlap. Not thread-safe."""

    def __init__(self, ranges: Iterable[Span] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for span in ranges:
            self.add(span)

    def add(self, span: Span) -> None:
        """Add a range; bytes that are in the set already do no harm."""
        if span.start >= span.stop:
            return
        first = bisect_left(self._stops, span.start)
        last = bisect_right(self._starts, span.stop)
        start, stop = span.start, span.stop
        if first < last:
            start, stop = min(start, self._starts[first]), max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]

    def missing(self, size: int) -> list[Span]:
        """Return the gaps between 0 and `size`."""
        starts, stops = [0, *self._stops], [*self._starts, size]
        return [Span(start, stop) for start, stop in zip(starts, stops, strict=True) if start < stop]

    @property
    def size(self) -> int:
        """Bytes in the set."""
        return sum(self._stops) - sum(self._starts)

    def __iter__(self) -> Iterator[Span]:
        return (Span(start, stop) for start, stop in zip(self._starts, self._stops, strict=True))

    def __len__(self) -> int:
        return len(self._starts)

    def __bool__(self) -> bool:
        return bool(self._starts)
