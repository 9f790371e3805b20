"""What is recognized by its first bytes: native code, and what has other files in it that nothing looks into."""

from __future__ import annotations

import zlib
from typing import Final

_NATIVE: Final = {
    b"\x7fELF": "a native library or program (ELF)",
    b"\xfe\xed\xfa\xce": "a native library or program (Mach-O)",
    b"\xfe\xed\xfa\xcf": "a native library or program (Mach-O)",
    b"\xce\xfa\xed\xfe": "a native library or program (Mach-O)",
    b"\xcf\xfa\xed\xfe": "a native library or program (Mach-O)",
    b"\xca\xfe\xba\xbe": "a native library (Mach-O) or a class of Java",
    b"\xca\xfe\xba\xbf": "a native library (Mach-O)",
    b"!<arch>\n": "a native library (ar)",
    b"BC\xc0\xde": "bitcode of LLVM",
    b"\x00asm": "a program of WebAssembly",
}
_COMPRESSED: Final = (
    b"\xfd7zXZ\x00",
    b"7z\xbc\xaf'\x1c",
    b"\x28\xb5\x2f\xfd",  # Zstandard
    b"\x04\x22\x4d\x18",  # LZ4
    b"\x02\x21\x4c\x18",
    b"Rar!\x1a\x07",
    b"LZIP",
    b"MSCF",
)
_SHORT: Final = (b"\x1f\x8b\x08", b"BZh", b"\x5d\x00\x00")
"""Gzip, bzip2, LZMA. Numbers begin like this by accident, if rarely."""
_TAR: Final = slice(257, 262)
_TAR_SUM: Final = slice(148, 156)
_TAR_HEADER: Final = 512


def recognized(head: bytes) -> str:
    """Return what begins like this, in words that follow "is"; empty if that is not known."""
    for magic, what in _NATIVE.items():
        if head.startswith(magic):
            return what
    if head[:2] == b"MZ":
        return "a native library or program (PE)"
    if is_certain(head) or head.startswith(_SHORT) or _is_zlib(head):
        return "compressed, and not judged"
    return "a tar archive, and not judged" if _is_tar(head) else ""


def is_certain(head: bytes) -> bool:
    """Tell whether numbers would not begin like this by accident."""
    skippable = head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5  # noqa: PLR2004 - a frame of Zstandard
    return head.startswith((*_NATIVE, *_COMPRESSED)) or skippable


def _is_zlib(head: bytes) -> bool:
    """Tell whether this is how joblib compresses: two bytes that many files begin with, so the rest must agree."""
    if head[:1] != b"\x78" or int.from_bytes(head[:2], "big") % 31:
        return False
    try:
        return bool(zlib.decompressobj().decompress(head))
    except zlib.error:
        return False


def _is_tar(head: bytes) -> bool:
    """Tell whether this is the header of a tar archive, also of the old ones that have no name for themselves."""
    if head[_TAR] == b"ustar":
        return True
    told = head[_TAR_SUM].strip(b" \x00")
    if len(head) < _TAR_HEADER or not told.isdigit() or not head[0]:
        return False
    blank = sum(head[:_TAR_HEADER]) - sum(head[_TAR_SUM]) + 8 * ord(" ")
    return b"8" not in told and b"9" not in told and int(told, 8) == blank
