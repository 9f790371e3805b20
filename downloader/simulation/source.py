"""A simulated source with one file of zeros."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.artifact import Manifest, RemoteFile, shown_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from downloader.artifact import Span

PATH = "simulated_data"


class SimulatedSource:
    """A source that needs no network, for any URI. `size` is in bytes."""

    def __init__(self, uri: str, size: int) -> None:
        self._uri = shown_url(uri)
        self._size = size

    def version(self) -> str | None:
        """Return None: the manifest is as cheap."""
        return None

    def manifest(self) -> Manifest:
        """Return the manifest with the one file."""
        return Manifest(self._uri, (RemoteFile(PATH, self._size, locator="zeros", version="the only one"),))

    def open(self, _file: RemoteFile, span: Span) -> Zeros:
        """Open a range."""
        return Zeros(len(span))

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Do nothing: there are no requests."""

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


class Zeros:
    """A body of `count` zeros."""

    def __init__(self, count: int) -> None:
        self._left = count

    def readinto(self, view: memoryview, /) -> int:
        """Read zeros into `view`; return their number, 0 at the end."""
        count = min(len(view), self._left)
        view[:count] = bytes(count)
        self._left -= count
        return count

    def interrupt(self) -> None:
        """Do nothing: no read ever waits."""

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
