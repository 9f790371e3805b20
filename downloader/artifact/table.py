"""The files of a listing in columns: 130 bytes for each, and a `RemoteFile` only when one is asked for.

A `RemoteFile` with its digest and its validator is five objects and takes 600 bytes. But the files of a listing are
much alike. So the table has of each file the path, the size, the hexadecimal digits of its digests and tags as bytes,
and the number of its *shape*: what is left of a file without these. A bucket has a handful of shapes, such as

    Shape(digests=((MD5, "{0}", …),), validator=('"{0}"', False), locator="folder/{path}", …, lengths=(32,))

A file that is like no other is kept as well: it has a shape of its own, and takes as much as before.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from copy import copy
from itertools import accumulate, islice, pairwise
from operator import le
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from downloader.artifact.values import Digest, RemoteFile, Validator

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_DIGITS = re.compile(r"(?:[0-9a-f]{2}){4,}")
"""What is kept as bytes: shorter ones are rarely digits of a digest."""


class _Shape(NamedTuple):
    """A file without path, size and digits. Its texts are format strings: `{path}` and `{0}`, `{1}` for the digits."""

    digests: tuple[tuple[Any, ...], ...]
    """The arguments of each `Digest`."""
    validator: tuple[str, bool] | None
    """The arguments of the `Validator`."""
    locator: str
    version: str | None
    xet_hash: str | None
    sized: bool
    lengths: tuple[int, ...]
    """How many digits the parts of the texts have that were taken out."""


class FileTable(Sequence[RemoteFile]):
    """Files, in the order in which they were added. It does not change any more once others use it.

    What it returns of a file is equal to what was added, apart from the content name of one that was made by
    `RemoteFile.served_as`.
    """

    def __init__(self, files: Iterable[RemoteFile] = ()) -> None:
        self.paths: list[str] = []
        """The paths, without making the files."""
        self.sizes = array("q")
        """The sizes in bytes, as `RemoteFile.size`."""
        self._shapes: list[tuple[_Shape, tuple[slice, ...]]] = []
        """Each with the places of its digits among those of a file."""
        self._numbers: dict[_Shape, int] = {}
        self._shape_of = array("I")
        self._digits = bytearray()
        self._stops = array("I", [0])
        """Where the digits of each file end, after the place where those of the first one begin."""
        self._replaced: dict[int, RemoteFile] = {}
        for file in files:
            self.append(file)

    def append(self, file: RemoteFile) -> None:
        """Add a file at the end."""
        shape, digits = _taken_apart(file)
        number = self._numbers.get(shape)
        if number is None:
            number = self._numbers[shape] = len(self._shapes)
            places = pairwise(accumulate(shape.lengths, initial=0))
            self._shapes.append((shape, tuple(slice(start, stop) for start, stop in places)))
        self.paths.append(file.path)
        self.sizes.append(file.size)
        self._shape_of.append(number)
        self._digits += digits
        self._stops.append(len(self._digits))

    def append_like(self, row: int, path: str, size: int, digits: bytes) -> None:
        """Add a file that is the one in `row` but for path, size and the digits of its digests and tags.

        A sixth of the time of `append`, for listings. Where the locator of that one ends in its path, that of the new
        one ends in the new path.
        """
        self.paths.append(path)
        self.sizes.append(size)
        self._shape_of.append(self._shape_of[row])
        self._digits += digits
        self._stops.append(len(self._digits))

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, row: int) -> RemoteFile: ...

    @overload
    def __getitem__(self, row: slice) -> FileTable: ...

    def __getitem__(self, row: int | slice) -> RemoteFile | FileTable:
        if isinstance(row, slice):
            return self.taking(range(len(self))[row])
        row = range(len(self))[row]
        if row in self._replaced:
            return self._replaced[row]
        shape, digits = self._shape(row)
        path = self.paths[row]
        return RemoteFile(
            path,
            self.sizes[row],
            tuple(Digest(algorithm, value.format(*digits), *more) for algorithm, value, *more in shape.digests),
            _validator(shape, digits),
            shape.locator.format(path=path),
            shape.version,
            shape.xet_hash.format(*digits) if shape.xet_hash is not None else None,
            shape.sized,
        )

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # it is compared by what is in it

    def __repr__(self) -> str:
        return f"<{len(self)} files>"

    def find(self, path: str) -> int | None:
        """Return the row of a path in a table that is in order; None without it."""
        row = bisect_left(self.paths, path)
        return row if row < len(self.paths) and self.paths[row] == path else None

    def validators(self) -> Iterator[Validator | None]:
        """Yield the validator of each file."""
        for row in range(len(self)):
            if row in self._replaced:
                yield self._replaced[row].validator
            else:
                yield _validator(*self._shape(row))

    def tags(self) -> Iterator[str | None]:
        """Yield the text of each file's validator, as `str` returns it, without making the validator."""
        for row in range(len(self)):
            shape, digits = self._shape(row)
            if row in self._replaced or (shape.validator is not None and shape.validator[1]):
                validator = self[row].validator
                yield None if validator is None else str(validator)
            else:
                yield None if shape.validator is None else shape.validator[0].format(*digits)

    def locators(self) -> Iterator[str]:
        """Yield the locator of each file."""
        for row, path in enumerate(self.paths):
            if row in self._replaced:
                yield self._replaced[row].locator
            else:
                yield self._shapes[self._shape_of[row]][0].locator.format(path=path)

    def order(self) -> Sequence[int]:
        """Return the rows sorted by path, those of one path as they were added."""
        if all(map(le, self.paths, islice(self.paths, 1, None))):
            return range(len(self))
        return array("I", sorted(range(len(self)), key=self.paths.__getitem__))

    def taking(self, rows: Sequence[int]) -> FileTable:
        """Return a table of some files, in this order."""
        if rows == range(len(self)):
            return self
        taken = FileTable()
        taken._shapes, taken._numbers = self._shapes, self._numbers
        for position, row in enumerate(rows):
            taken.paths.append(self.paths[row])
            taken.sizes.append(self.sizes[row])
            taken._shape_of.append(self._shape_of[row])
            taken._digits += self._digits[self._stops[row] : self._stops[row + 1]]
            taken._stops.append(len(taken._digits))
            if row in self._replaced:
                taken._replaced[position] = self._replaced[row]
        return taken

    def replacing(self, files: Mapping[int, RemoteFile]) -> FileTable:
        """Return a table with other files of the same paths in some rows."""
        if not files:
            return self
        other = copy(self)
        other.sizes = self.sizes[:]
        other._replace(files)
        return other

    def _replace(self, files: Mapping[int, RemoteFile]) -> None:
        self._replaced = {**self._replaced, **files}
        for row, file in files.items():
            self.sizes[row] = file.size

    def _shape(self, row: int) -> tuple[_Shape, list[str]]:
        """Return the shape of a file, and its digits."""
        shape, places = self._shapes[self._shape_of[row]]
        digits = self._digits[self._stops[row] : self._stops[row + 1]].hex()
        return shape, [digits[place] for place in places]


def paths_of(files: Sequence[RemoteFile]) -> Sequence[str]:
    """Return the paths of files, without making those that are in a table."""
    return files.paths if isinstance(files, FileTable) else [file.path for file in files]


def sizes_of(files: Sequence[RemoteFile]) -> Sequence[int]:
    """Return the sizes of files in the same way."""
    return files.sizes if isinstance(files, FileTable) else [file.size for file in files]


def select(files: Sequence[RemoteFile], rows: Sequence[int]) -> Sequence[RemoteFile]:
    """Return some files, in this order; the same sequence if these are all of them."""
    if len(rows) == len(files):
        return files
    return files.taking(rows) if isinstance(files, FileTable) else tuple(files[row] for row in rows)


def _taken_apart(file: RemoteFile) -> tuple[_Shape, bytes]:
    """Return the shape of a file, and the digits of its texts as bytes: those that two texts have once."""
    found: list[str] = []

    def number(digits: re.Match[str]) -> str:
        if digits[0] not in found:
            found.append(digits[0])
        return f"{{{found.index(digits[0])}}}"

    def template(text: str) -> str:
        return _DIGITS.sub(number, _literal(text))

    path, locator, validator = file.path, file.locator, file.validator
    shape = _Shape(
        tuple(
            (digest.algorithm, template(digest.value), digest.layouts, digest.mismatch, digest.expected)
            for digest in file.digests
        ),
        (template(validator.value), validator.is_date) if validator is not None else None,
        f"{_literal(locator[: -len(path)])}{{path}}" if path and locator.endswith(path) else _literal(locator),
        file.version,
        template(file.xet_hash) if file.xet_hash is not None else None,
        file.sized,
        tuple(map(len, found)),
    )
    return shape, bytes.fromhex("".join(found))


def _validator(shape: _Shape, digits: Sequence[str]) -> Validator | None:
    if shape.validator is None:
        return None
    value, is_date = shape.validator
    return Validator(value.format(*digits), is_date)


def _literal(text: str) -> str:
    """Return a text as it stands in a format string."""
    return text.replace("{", "{{").replace("}", "}}")
