"""Lets a file have the content of another one without a copy, where the file system can: XFS, Btrfs, NFS 4.2, SMB 3.

Both then share their blocks until one of them is written to, so neither can be changed through the other.
"""

from __future__ import annotations

import errno
import fcntl

_FICLONE = 0x40049409
_REFUSED = (
    errno.EOPNOTSUPP,
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOTTY,
    errno.ENOSYS,
    errno.EPERM,
    errno.EACCES,
    errno.ETXTBSY,
    errno.EISDIR,
)
"""What file systems answer that cannot, or not with these two files."""


def share(handle: int, source: int) -> bool:
    """Give an open file the content of another one; False where that is not possible. Raises OSError."""
    try:
        fcntl.ioctl(handle, _FICLONE, source)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        return False
    return True
