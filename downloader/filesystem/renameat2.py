"""renameat2(2), which the standard library lacks: it can exchange two names in one step."""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache
from typing import Any

_RENAME_EXCHANGE = 2
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM)


def exchange(one_folder: int, one: str, other_folder: int, other: str) -> bool:
    """Exchange two names, each in an open folder; False where the system cannot do that. Raises OSError."""
    call = _renameat2()
    if call is None:
        return False
    if not call(one_folder, os.fsencode(one), other_folder, os.fsencode(other), _RENAME_EXCHANGE):
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number))


@cache
def _renameat2() -> Any:  # noqa: ANN401 - ctypes has no type for it
    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
