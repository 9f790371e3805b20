"""What is known of the files of a manifest, in a table that has its size from the beginning.

A dict takes about 200 bytes for the sha256 of a path and 100 for each further fact, all of it while files are finished.
A row of these tables takes 37, and there is one for each file of the manifest, finished or not.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, MutableMapping

_DIGEST = 32
_ABSENT, _EMPTY, _WHOLE = 0, 1, 2


class Paths:
    """The rows of the tables of one manifest."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.sorted = sorted(paths)
        self._last = 0
        """The row that was found last: mostly it is asked for again, or the next one is."""

    def row(self, path: object) -> int:
        """Return the row of a path. Raises KeyError if the manifest does not have it."""
        rows = self.sorted
        for row in (self._last, self._last + 1):
            if row < len(rows) and rows[row] == path:
                self._last = row
                return row
        if isinstance(path, str):
            row = bisect_left(rows, path)
            if row < len(rows) and rows[row] == path:
                self._last = row
                return row
        raise KeyError(path)


class Digests(MutableMapping[str, str]):
    """Path → sha256 in 64 hexadecimal digits, or nothing where it is not known of a file that is there."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._states = bytearray(len(paths.sorted))
        self._digests = bytearray(_DIGEST * len(paths.sorted))
        self._count = 0

    def __getitem__(self, path: str) -> str:
        row = self._paths.row(path)
        if self._states[row] == _ABSENT:
            raise KeyError(path)
        return self._digests[_DIGEST * row : _DIGEST * (row + 1)].hex() if self._states[row] == _WHOLE else ""

    def __setitem__(self, path: str, sha256: str) -> None:
        row = self._paths.row(path)
        if sha256:
            self._digests[_DIGEST * row : _DIGEST * (row + 1)] = bytes.fromhex(sha256)
        self._count += self._states[row] == _ABSENT
        self._states[row] = _WHOLE if sha256 else _EMPTY

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


class Words(MutableMapping[str, str]):
    """Path → one of a few words, such as what has verified a file."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._words: list[str] = []
        self._numbers: dict[str, int] = {}
        self._rows = array("I", bytes(4 * len(paths.sorted)))
        """The number of a word, the first being 1, or 0 where there is no word."""
        self._count = 0

    def __getitem__(self, path: str) -> str:
        number = self._rows[self._paths.row(path)]
        if not number:
            raise KeyError(path)
        return self._words[number - 1]

    def __setitem__(self, path: str, word: str) -> None:
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
