"""Extended attributes of open files, where there are any: many file systems have none, or none that users may set."""

from __future__ import annotations

import errno
import os

_REFUSALS = frozenset(
    {
        errno.EOPNOTSUPP,
        errno.ENODATA,
        errno.EPERM,
        errno.EACCES,
        errno.EROFS,
        errno.ENOSPC,  # also said of a value that is too long for the file system
        errno.EDQUOT,
        errno.E2BIG,
        errno.ERANGE,
        errno.EINVAL,
        errno.ENOSYS,
    }
)


def get(handle: int, name: str) -> bytes | None:
    """Return an attribute; None if there is none, or it cannot be read."""
    try:
        return os.getxattr(handle, name)
    except (OSError, AttributeError):  # Python knows them on Linux alone
        return None


def put(handle: int, name: str, value: bytes) -> bool:
    """Set an attribute; False where the file system refuses. Raises OSError for anything else."""
    if not hasattr(os, "setxattr"):
        return False
    try:
        os.setxattr(handle, name, value)
    except OSError as error:
        if error.errno in _REFUSALS:
            return False
        raise
    return True


def drop(handle: int, name: str) -> None:
    """Remove an attribute that may be gone. Raises OSError where the file system fails."""
    if not hasattr(os, "removexattr"):
        return
    try:
        os.removexattr(handle, name)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
