"""openat2(2), which the standard library lacks: it walks a whole path in one call and refuses every symlink in it.

The same walk part by part takes an open and a close for each folder. For each small file that is eight of fourteen
system calls. Where this one fails, for whatever reason, the caller walks part by part and gets the error from there
(ADR 91).
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from typing import Any

_NUMBER = 437
"""Of the system call, on all of Linux's architectures but one."""
_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
_PATH = getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x02, 0x04, 0x08


class OpenHow(ctypes.Structure):
    """The kernel's `struct open_how`: made once, since it is only read."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))

    def __init__(self, flags: int, mode: int = 0) -> None:
        super().__init__(flags, mode, _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS | _RESOLVE_BENEATH)


def open_below(root: int, path: str, how: OpenHow) -> int:
    """Return a descriptor of a path below an open folder, -1 where that fails: also if the system has no such call."""
    call = _openat2()
    if call is None or "\0" in path:
        return -1
    opened: int = call(_NUMBER, root, path.encode(_ENCODING, _ERRORS), how, ctypes.sizeof(how))
    return opened


@cache
def _openat2() -> Any:  # noqa: ANN401 - ctypes has no type for it
    """Return the call; None where the kernel lacks it, or a container's filter does not let it through."""
    if sys.platform != "linux" or sys.maxsize <= 1 << 32:
        return None
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    call.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(OpenHow), ctypes.c_size_t)
    how = OpenHow(_PATH | os.O_DIRECTORY)
    root = os.open("/", _PATH)
    try:
        opened = call(_NUMBER, root, b".", how, ctypes.sizeof(how))
    finally:
        os.close(root)
    if opened < 0:
        return None
    os.close(opened)
    return call
