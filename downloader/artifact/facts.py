"""What is known of the files of a manifest, in tables that have their size from the beginning.

A dict takes about 200 bytes for the sha256 of a path and 100 for each further fact, all of it while files are finished.
These tables have a row for each file of the manifest, finished or not, and are used like the dicts and the set that
they replace. Paths that the manifest does not have raise KeyError.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Iterator, MutableMapping, MutableSet, Sequence
from itertools import islice
from operator import le
from typing import Generic, TypeVar

DIGEST = 32
"""Bytes of a sha256."""
_ABSENT, _EMPTY, _WHOLE = 0, 1, 2

ValueT = TypeVar("ValueT", bound=Hashable)


class Paths:
    """The rows of the tables of one manifest."""

    def __init__(self, paths: Iterable[str]) -> None:
        """`paths` are copied unless they are sorted, as `Manifest.paths` are."""
        found = paths if isinstance(paths, Sequence) else list(paths)
        self.sorted = found if all(map(le, found, islice(found, 1, None))) else sorted(found)
        self._last = 0
        """The row that was found last: mostly it is asked for again, or the next one is."""

    def __contains__(self, path: object) -> bool:
        return self._find(path) is not None

    def row(self, path: object) -> int:
        """Return the row of a path. Raises KeyError if the manifest does not have it."""
        row = self._find(path)
        if row is None:
            raise KeyError(path)
        return row

    def _find(self, path: object) -> int | None:
        rows, last = self.sorted, self._last
        # No loop over the two: a row is looked up some twenty times for each file.
        if last < len(rows) and rows[last] == path:
            return last
        if last + 1 < len(rows) and rows[last + 1] == path:
            self._last = last + 1
            return last + 1
        if isinstance(path, str):
            row = bisect_left(rows, path)
            if row < len(rows) and rows[row] == path:
                self._last = row
                return row
        return None


class Packed(MutableMapping[str, str]):
    """Path → a text that stands for a fixed number of bytes, or an empty one. By default, a sha256 in 64 digits."""

    def __init__(
        self,
        paths: Paths,
        size: int = DIGEST,
        pack: Callable[[str], bytes] = bytes.fromhex,
        unpack: Callable[[bytes], str] = bytes.hex,
    ) -> None:
        self._paths = paths
        self._size = size
        self._pack = pack
        self._unpack = unpack
        self._states = bytearray(len(paths.sorted))
        self._values = bytearray(size * len(paths.sorted))
        self._count = 0

    def __getitem__(self, path: str) -> str:
        row = self._paths.row(path)
        if self._states[row] == _ABSENT:
            raise KeyError(path)
        if self._states[row] == _EMPTY:
            return ""
        return self._unpack(bytes(self._values[self._size * row : self._size * (row + 1)]))

    def __setitem__(self, path: str, value: str) -> None:
        row = self._paths.row(path)
        if value:
            self._values[self._size * row : self._size * (row + 1)] = self._pack(value)
        self._count += self._states[row] == _ABSENT
        self._states[row] = _WHOLE if value else _EMPTY

    def __contains__(self, path: object) -> bool:
        # Mapping's own method would unpack the value.
        return path in self._paths and self._states[self._paths.row(path)] != _ABSENT

    def __delitem__(self, path: str) -> None:
        row = self._paths.row(path)
        if self._states[row] == _ABSENT:
            raise KeyError(path)
        self._count -= 1
        self._states[row] = _ABSENT

    def __iter__(self) -> Iterator[str]:
        return (path for path, state in zip(self._paths.sorted, self._states, strict=True) if state != _ABSENT)

    def __len__(self) -> int:
        return self._count


class Words(MutableMapping[str, ValueT], Generic[ValueT]):
    """Path → one of a few values, such as the word for what has verified a file."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._words: list[ValueT] = []
        self._numbers: dict[ValueT, int] = {}
        self._rows = array("I", bytes(4 * len(paths.sorted)))
        """The number of a word, the first being 1, or 0 where there is no word."""
        self._count = 0

    def __getitem__(self, path: str) -> ValueT:
        number = self._rows[self._paths.row(path)]
        if not number:
            raise KeyError(path)
        return self._words[number - 1]

    def __setitem__(self, path: str, word: ValueT) -> None:
        row = self._paths.row(path)
        number = self._numbers.get(word)
        if number is None:
            self._words.append(word)
            number = self._numbers[word] = len(self._words)
        self._count += not self._rows[row]
        self._rows[row] = number

    def __delitem__(self, path: str) -> None:
        row = self._paths.row(path)
        if not self._rows[row]:
            raise KeyError(path)
        self._count -= 1
        self._rows[row] = 0

    def __iter__(self) -> Iterator[str]:
        return (path for path, number in zip(self._paths.sorted, self._rows, strict=True) if number)

    def __len__(self) -> int:
        return self._count


class Marks(MutableSet[str]):
    """A set of paths."""

    def __init__(self, paths: Paths, marked: Iterable[str] = ()) -> None:
        """Mark those of `marked` that the manifest has."""
        self._paths = paths
        self._rows = bytearray(len(paths.sorted))
        for path in marked:
            if path in paths:
                self.add(path)

    def __contains__(self, path: object) -> bool:
        return path in self._paths and bool(self._rows[self._paths.row(path)])

    def __iter__(self) -> Iterator[str]:
        return (path for path, marked in zip(self._paths.sorted, self._rows, strict=True) if marked)

    def __len__(self) -> int:
        return self._rows.count(1)

    def add(self, value: str) -> None:
        """Mark a path."""
        self._rows[self._paths.row(value)] = 1

    def discard(self, value: str) -> None:
        """Remove the mark of a path."""
        if value in self:
            self._rows[self._paths.row(value)] = 0
