"""The files of an attempt that no worker has begun."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from downloader.artifact import sizes_of
from downloader.transfer.config import SMALL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from downloader.artifact import RemoteFile


class WaitingFiles:
    """Files in the order in which they will be begun. For one thread at a time.

    Each is made when its turn comes: a million would take half a GiB.
    """

    def __init__(self) -> None:
        self._next: deque[RemoteFile] = deque()
        """The first ones, as far as they have been made."""
        self._others: deque[Iterator[RemoteFile]] = deque()
        self._count = 0
        self.weight = 0
        """Bytes of all, each counted as the work that a small file makes at least."""

    def __len__(self) -> int:
        return self._count

    def add(self, files: Sequence[RemoteFile]) -> None:
        """Add files at the end."""
        self._others.append(iter(files))
        self._count += len(files)
        self.weight += sum(max(size, SMALL) for size in sizes_of(files))

    def add_first(self, files: Sequence[RemoteFile]) -> None:
        """Add files that come before all others, the last one first."""
        self._next.extendleft(files)
        self._count += len(files)
        self.weight += sum(max(file.size, SMALL) for file in files)

    @property
    def first(self) -> RemoteFile:
        """The file that `take` returns next. There must be one."""
        while not self._next:
            file = next(self._others[0], None)
            if file is None:
                self._others.popleft()
            else:
                self._next.append(file)
        return self._next[0]

    def take(self) -> RemoteFile:
        """Remove the first file. There must be one."""
        file = self.first
        self._next.popleft()
        self._count -= 1
        self.weight -= max(file.size, SMALL)
        return file
