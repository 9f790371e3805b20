"""HDF5 as Keras writes it: the text of the model is an attribute, which is stored as it is."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from downloader.formats.content import Content

MAGIC: Final = b"\x89HDF\r\n\x1a\n"
_NAMES: Final = frozenset({".h5", ".hdf5", ".hdf", ".keras", ".he5"})
_FIRST_BLOCK: Final = 512
_SEARCHED: Final = 64 << 20
_PIECE: Final = 1 << 20
_OVERLAP: Final = 64
"""Bytes, more than what is searched for."""
_BLANKS: Final = b" \t\r\n"
_CODE: Final = re.compile(
    rb'"class_name":"(?:Lambda|__lambda__|TorchModuleWrapper)"'
    rb"|\\u00[2-7][0-9a-fA-F]"  # JSON of Keras has no reason to hide a letter
)


def problem(path: str, content: Content) -> str:
    """Return what is said against a file of HDF5; empty if nothing is."""
    if not _is_hdf5(path, content):
        return ""
    tail, position = b"", 0
    while position < min(content.size, _SEARCHED):
        piece = content.up_to(position, _PIECE)
        if not piece:
            break
        text = tail + piece.translate(None, _BLANKS)
        if _CODE.search(text):
            return "has a layer of Keras that runs code, or hides the names of its layers"
        tail, position = text[-_OVERLAP:], position + len(piece)
    if content.size > _SEARCHED:
        return f"is HDF5 of which {_SEARCHED >> 20} MiB were searched, and the rest is not judged"
    return ""


def _is_hdf5(path: str, content: Content) -> bool:
    """Look for the signature: at the beginning, or behind a block of the user's, which may have any power of two."""
    offset = 0
    while offset + len(MAGIC) <= content.size:
        if content.up_to(offset, len(MAGIC)) == MAGIC:
            return True
        if PurePosixPath(path).suffix.lower() not in _NAMES:
            return False
        offset = max(2 * offset, _FIRST_BLOCK)
    return False
