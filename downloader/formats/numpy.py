"""Arrays of numpy: whether one has numbers only, or a pickle with objects."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from downloader.formats.content import Content

MAGIC: Final = b"\x93NUMPY"
_MAX_LENGTH: Final = 64 << 10
"""Bytes of a header that are read. Those of arrays that have numbers only are much shorter."""
_TYPE: Final = r"'[<>|=]?[?bBhHiIlLqQpPefdgFDGSaUVmMc]\d*(?:\[\w+\])?'"
_SHAPE: Final = r"\((?:\d+L?,? ?)*\)"
_NUMBERS: Final = re.compile(
    rf"\{{'descr': (?:{_TYPE}|\[(?:\('[^'\\]*', {_TYPE}(?:, {_SHAPE})?\)(?:, )?)+\]), "
    rf"'fortran_order': (?:True|False), 'shape': {_SHAPE},? ?\}} *\n?".encode()
)
"""A header as numpy writes it. Python reads it as a literal, in which an object could be written in many ways."""


def objects(content: Content) -> int:
    """Return the offset of what may be a pickle in an array; 0 if it certainly has numbers only.

    Raises ValueError for an array that ends in its header.
    """
    wide = content.exactly(len(MAGIC), 1) > b"\x01"
    start = len(MAGIC) + 2 + (4 if wide else 2)
    length = int.from_bytes(content.exactly(len(MAGIC) + 2, start - len(MAGIC) - 2), "little")
    return 0 if _NUMBERS.fullmatch(content.up_to(start, min(length, _MAX_LENGTH))) else start + length
