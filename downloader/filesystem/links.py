"""A target folder in which symlinks are written and read. They are not followed here either."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress

from downloader.filesystem.local import Disk
from downloader.filesystem.openat import Folder, split

_NO_LINK = (errno.ENOENT, errno.ENOTDIR, errno.EINVAL, errno.ELOOP)
"""Errors of a path that does not exist or is not a symlink."""
_REFUSED = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EIO)
"""Errors of a file system without symlinks. Others, of a read-only one for example, say nothing about that."""


class LinkingDisk(Disk):
    """A target folder on a real file system, with symlinks."""

    def symlink(self, target: str, path: str) -> None:
        """Create a symlink whose text is `target`. Raises AlreadyThere."""
        folder, name = split(path)
        with self._operation("linking", path), Folder(self._root, folder) as opened:
            os.symlink(target, name, dir_fd=opened)

    def link_text(self, path: str) -> str | None:
        """Return the text of a symlink; None where the path is something else, or nothing."""
        folder, name = split(path)
        with self._operation("looking at", path):
            try:
                with Folder(self._root, folder) as opened:
                    return os.readlink(name, dir_fd=opened)
            except OSError as error:
                if error.errno in _NO_LINK:
                    return None
                raise

    def has_symlinks(self) -> bool:
        """Return whether the file system has symlinks, by trying it; True where nothing can be written."""
        name = f".symlink-{secrets.token_hex(8)}"
        with self._operation("trying a symlink in"):
            try:
                os.symlink("nowhere", name, dir_fd=self._root)
            except OSError as error:
                return error.errno not in _REFUSED
            with suppress(OSError):
                os.unlink(name, dir_fd=self._root)
            return True
