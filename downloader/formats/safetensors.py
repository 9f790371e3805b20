"""The header of safetensors: whether it describes the file, and nothing but the file."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from downloader.formats.content import Content

MAX_LENGTH: Final = 32 << 20
"""Bytes of a header that are read: hundreds of thousands of tensors. The format allows 100 MB."""
MAX_VALUES: Final = 4_000_000
"""Values in it, of which each tensor has nine: they take far more memory than their texts."""
_LENGTH: Final = 8
_MAX_AXES: Final = 64
_MAX_VALUE: Final = 1 << 63
_BITS: Final = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32,
    "U16": 16, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4, "C64": 64,
}  # fmt: skip


def is_safetensors(head: bytes, size: int) -> bool:
    """Tell whether a file of `size` bytes begins with the length of a JSON object that fits into it, and with that."""
    length = int.from_bytes(head[:_LENGTH], "little")
    return 1 < length <= size - _LENGTH and head[_LENGTH : _LENGTH + 1] == b"{"


def check(content: Content) -> str:
    """Return what is wrong with the header, in words that follow "its header"; empty if nothing is.

    Raises ValueError or RecursionError for one that is not JSON.
    """
    length = int.from_bytes(content.exactly(0, _LENGTH), "little")
    if length > content.size - _LENGTH:
        return "is longer than the file"
    raw = content.exactly(_LENGTH, min(length, MAX_LENGTH))
    if length > MAX_LENGTH or sum(map(raw.count, (b",", b"[", b"{"))) > MAX_VALUES:
        return f"has more than {MAX_LENGTH} bytes, or {MAX_VALUES} values"
    header = json.loads(raw, object_pairs_hook=_unique)
    if not isinstance(header, dict):
        return "is not a JSON object"
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        return "has metadata that are not texts"
    spans = []
    for tensor in header.values():
        problem = _problem(tensor)
        if problem:
            return problem
        spans.append(tuple(tensor["data_offsets"]))
    return _gaps(sorted(spans), content.size - _LENGTH - length)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("its header names something twice")
    return found


def _is_size(value: Any) -> bool:  # noqa: ANN401 - anything that JSON can say
    return type(value) is int and 0 <= value < _MAX_VALUE


def _problem(tensor: Any) -> str:  # noqa: ANN401
    if not isinstance(tensor, dict):
        return "describes a tensor by something else than an object"
    kind, shape, offsets = (tensor.get(name) for name in ("dtype", "shape", "data_offsets"))
    bits = _BITS.get(kind) if isinstance(kind, str) else None
    if bits is None:
        return "has a tensor of an unknown dtype"
    if not isinstance(shape, list) or len(shape) > _MAX_AXES or not all(map(_is_size, shape)):
        return "has a tensor with an impossible shape"
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):  # noqa: PLR2004 - a pair
        return "has a tensor at impossible offsets"
    if (offsets[1] - offsets[0]) * 8 != math.prod(shape) * bits:
        return "has a tensor whose length is not that of its shape"
    return ""


def _gaps(spans: list[tuple[int, ...]], size: int) -> str:
    position = 0
    for start, stop in spans:
        if start != position:
            return "has tensors that overlap" if start < position else "leaves bytes between tensors"
        position = stop
    if position > size:
        return "has a tensor outside the file"
    return f"leaves {size - position} bytes after the last tensor" if position < size else ""
