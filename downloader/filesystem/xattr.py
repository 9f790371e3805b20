"""Extended attributes of open files. Many file systems have none, or none that users may set."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_REFUSED = frozenset(
    {
        errno.EOPNOTSUPP,
        errno.ENODATA,
        errno.EPERM,
        errno.EACCES,
        errno.EROFS,
        errno.ENOSPC,  # also for a value that is too long for the file system
        errno.EDQUOT,
        errno.E2BIG,
        errno.ERANGE,
        errno.EINVAL,
        errno.ENOSYS,
    }
)


@contextmanager
def opened(name: str, folder: int) -> Iterator[int]:
    """Open a file of an open folder; the context gives its handle."""
    handle = os.open(name, _FILE_FLAGS, dir_fd=folder)
    try:
        yield handle
    finally:
        os.close(handle)


def get(handle: int, name: str) -> bytes | None:
    """Return an attribute; None if it does not exist or cannot be read."""
    try:
        return os.getxattr(handle, name)
    except (OSError, AttributeError):  # Python has them on Linux only
        return None


def put(handle: int, name: str, value: bytes) -> bool:
    """Set an attribute; False where the file system refuses. Raises OSError if the file system fails."""
    if not hasattr(os, "setxattr"):
        return False
    try:
        os.setxattr(handle, name, value)
    except OSError as error:
        if error.errno in _REFUSED:
            return False
        raise
    return True


def drop(handle: int, name: str) -> None:
    """Remove an attribute that may be gone already. Raises OSError if the file system fails."""
    if not hasattr(os, "removexattr"):
        return
    try:
        os.removexattr(handle, name)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
