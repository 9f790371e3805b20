"""The header of GGUF: whether its counts, lengths and offsets fit into the file, and its chat template."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Final

from downloader.formats.content import Cursor, Skipped

if TYPE_CHECKING:
    from downloader.formats.content import Content

MAGIC: Final = b"GGUF"
TEMPLATE: Final = "tokenizer.chat_template"
_VERSIONS: Final = (2, 3)
_MAX_KEYS: Final = 1 << 16
_MAX_TENSORS: Final = 1 << 20
_MAX_STRINGS: Final = 1 << 22
"""Strings in all arrays together: a vocabulary has some 100,000."""
_MAX_AXES: Final = 4
_MAX_NAME_LENGTH: Final = 1 << 16
_DEEPEST: Final = 4
_STRING, _ARRAY, _UINT32 = 8, 9, 4
_ALIGNMENT: Final = "general.alignment"
_USUAL_ALIGNMENT: Final = 32
_MAX_VALUE: Final = 1 << 63
_BLOCKS: Final = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66),
    17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136),
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 31: (32, 18),
    32: (32, 18), 33: (32, 18), 34: (256, 54), 35: (256, 66), 36: (32, 18), 37: (32, 18), 38: (32, 18), 39: (32, 17),
}  # fmt: skip
"""Numbers and bytes of a block of each type of tensor."""
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
        if keys > _MAX_KEYS or tensors > _MAX_TENSORS:
            raise ValueError("its header announces too many keys or tensors")
        alignment = self._keys(keys)
        self._check_spans(sorted(self._tensor() for _ in range(tensors)), alignment)

    def _keys(self, count: int) -> int:
        """Read the keys and their values, keep the templates, and return the alignment."""
        alignment = _USUAL_ALIGNMENT
        for _ in range(count):
            name = self._text()
            kind = self._number("I")
            if kind == _STRING and name.startswith(TEMPLATE):
                self.templates.append(self._text(longest=1 << 20))
            elif name == _ALIGNMENT:
                if kind != _UINT32 or not (alignment := self._number("I")):
                    raise ValueError("its header has an impossible alignment")
            else:
                self._skip_value(kind, 0)
        return alignment

    def _check_spans(self, spans: list[tuple[int, int]], alignment: int) -> None:
        """Check offsets and lengths of the tensors, which begin at the next multiple of the alignment."""
        left = self._size - -(-self._cursor.tell() // alignment) * alignment
        position = 0
        for start, size in spans:
            if start < position:
                raise ValueError("its header has tensors that overlap")
            position = start + size
        if spans and position > left:
            raise ValueError("its header has a tensor outside the file")

    def _number(self, form: str) -> int:
        form = self._order + form
        return int(struct.unpack(form, self._cursor.exactly(struct.calcsize(form)))[0])

    def _text(self, longest: int = _MAX_NAME_LENGTH) -> str:
        length = self._number("Q")
        if length > longest:
            raise ValueError("its header has a name or template that is too long")
        found = self._cursor.exactly(length)
        return "" if isinstance(found, Skipped) else found.decode(errors="replace")

    def _skip_value(self, kind: int, depth: int) -> None:
        if kind == _STRING:
            self._cursor.skip(self._number("Q"))
        elif kind == _ARRAY:
            self._skip_array(depth + 1)
        elif kind in _WIDTHS:
            self._cursor.skip(_WIDTHS[kind])
        else:
            raise ValueError("its header has a value of an unknown type")

    def _skip_array(self, depth: int) -> None:
        kind, count = self._number("I"), self._number("Q")
        if depth > _DEEPEST:
            raise ValueError("its header has arrays that are nested too deeply")
        if kind in _WIDTHS:
            self._cursor.skip(count * _WIDTHS[kind])
            return
        self._strings += count
        if self._strings > _MAX_STRINGS:
            raise ValueError("its header has too many strings")
        for _ in range(count):
            self._skip_value(kind, depth)

    def _tensor(self) -> tuple[int, int]:
        """Return offset and length of a tensor."""
        self._text()
        axes = self._number("I")
        if axes > _MAX_AXES:
            raise ValueError("its header has a tensor with too many axes")
        shape = [self._number("Q") for _ in range(axes)]
        block = _BLOCKS.get(self._number("I"))
        if block is None:
            raise ValueError("its header has a tensor of an unknown type")
        count, length = math.prod(shape), block[1]
        if count >= _MAX_VALUE or (shape and shape[0] % block[0]):
            raise ValueError("its header has a tensor with an impossible shape")
        return self._number("Q"), count // block[0] * length
