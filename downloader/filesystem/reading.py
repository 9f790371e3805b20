"""Reads a file once, from its start to its end, and leaves no more of it in the page cache than was there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from downloader.artifact import Span

if TYPE_CHECKING:
    from downloader.filesystem.interface import FileOperations

FORGET_EVERY = 32 << 20
"""Bytes that are read before they are dropped from the page cache, which the container's memory limit counts."""


class Reading:
    """A file of the target that is read once, without filling the page cache. A context that closes it."""

    def __init__(self, files: FileOperations, path: str) -> None:
        self._files = files
        self._handle = files.open(path)
        self._cached = Span(0, 0)
        """What has been read since the page cache was last freed."""
        self.found = files.handle_stat(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close(self._handle)

    def readinto(self, offset: int, view: memoryview) -> int:
        """Fill the view with the bytes from `offset` on and return their number; 0 at the end of the file."""
        if offset != self._cached.stop:
            self._forget()
            self._cached = Span(offset, offset)
        count = self._files.read(self._handle, offset, view)
        self._cached = Span(self._cached.start, offset + count)
        if len(self._cached) >= FORGET_EVERY:
            self._forget()
        return count

    def _forget(self) -> None:
        # Only what has been read: pages that another program has left ahead of us save reading them from the disk.
        if self._cached:
            self._files.forget(self._handle, self._cached.start, len(self._cached))
        self._cached = Span(self._cached.stop, self._cached.stop)

    def is_unchanged(self) -> bool:
        """Return whether the file's metadata is what it was when it was opened."""
        return self._files.handle_stat(self._handle) == self.found

    def redate(self, mtime_ns: int) -> None:
        """Set the time of the last change, in nanoseconds since 1970, of the very file that was read."""
        self._files.touch(self._handle, mtime_ns)

    def sync(self) -> None:
        """Make the content survive a power loss, in case another program wrote it and did not."""
        self._files.sync(self._handle)
