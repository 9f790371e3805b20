"""The header of GGUF: whether its counts, lengths and offsets fit into the file, and its chat template."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from downloader.formats.content import Cursor, Skipped

if TYPE_CHECKING:
    from downloader.formats.content import Content

MAGIC: Final = b"GGUF"
TEMPLATE: Final = "tokenizer.chat_template"
_VERSIONS: Final = (2, 3)
_MOST_KEYS: Final = 1 << 16
_MOST_TENSORS: Final = 1 << 20
_MOST_STRINGS: Final = 1 << 22
"""Strings in all arrays together: a vocabulary has some 100,000."""
_MOST_AXES: Final = 4
_LONGEST_NAME: Final = 1 << 16
_DEEPEST: Final = 4
_STRING, _ARRAY = 8, 9
_WIDTHS: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of the values of each type but strings and arrays."""


class Header:
    """Reads the header of a GGUF file. Raises ValueError, in words, where it does not fit into the file."""

    def __init__(self, content: Content) -> None:
        self._size = content.size
        self._cursor = Cursor(content, len(MAGIC))
        self._order = "<"
        self._strings = 0
        self.templates: list[str] = []
        """The chat templates."""

    def read(self) -> None:
        """Read all of it."""
        version = self._number("I")
        if version not in _VERSIONS:
            version = int.from_bytes(version.to_bytes(4, "little"), "big")
            self._order = ">"
        if version not in _VERSIONS:
            raise ValueError("it has a version of GGUF that is not known here")
        tensors, keys = self._number("Q"), self._number("Q")
        if keys > _MOST_KEYS or tensors > _MOST_TENSORS:
            raise ValueError("its header announces too many keys or tensors")
        for _ in range(keys):
            name = self._text()
            kind = self._number("I")
            if kind == _STRING and name.startswith(TEMPLATE):
                self.templates.append(self._text(longest=1 << 20))
            else:
                self._pass_over(kind, 0)
        offsets = [self._tensor() for _ in range(tensors)]
        left = self._size - self._cursor.tell()
        if any(offset >= max(left, 1) for offset in offsets):
            raise ValueError("its header has a tensor outside the file")
        if len(set(offsets)) != len(offsets):
            raise ValueError("its header has tensors that overlap")

    def _number(self, form: str) -> int:
        form = self._order + form
        return int(struct.unpack(form, self._cursor.exactly(struct.calcsize(form)))[0])

    def _text(self, longest: int = _LONGEST_NAME) -> str:
        length = self._number("Q")
        if length > longest:
            raise ValueError("its header has a name or template that is too long")
        found = self._cursor.exactly(length)
        return "" if isinstance(found, Skipped) else found.decode(errors="replace")

    def _pass_over(self, kind: int, depth: int) -> None:
        if kind == _STRING:
            self._cursor.skip(self._number("Q"))
        elif kind == _ARRAY:
            self._pass_over_array(depth + 1)
        elif kind in _WIDTHS:
            self._cursor.skip(_WIDTHS[kind])
        else:
            raise ValueError("its header has a value of an unknown type")

    def _pass_over_array(self, depth: int) -> None:
        kind, count = self._number("I"), self._number("Q")
        if depth > _DEEPEST:
            raise ValueError("its header has arrays that are nested too deeply")
        if kind in _WIDTHS:
            self._cursor.skip(count * _WIDTHS[kind])
            return
        self._strings += count
        if self._strings > _MOST_STRINGS:
            raise ValueError("its header has too many strings")
        for _ in range(count):
            self._pass_over(kind, depth)

    def _tensor(self) -> int:
        self._text()
        axes = self._number("I")
        if axes > _MOST_AXES:
            raise ValueError("its header has a tensor with too many axes")
        self._cursor.skip(8 * axes + 4)
        return self._number("Q")
