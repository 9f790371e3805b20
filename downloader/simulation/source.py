"""An artifact that lies nowhere: one file of zeros, for the debug switches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.artifact import Manifest, RemoteFile, shown_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from downloader.artifact import Span

PATH = "simulated_data"


class SimulatedSource:
    """A source that needs no network, whatever its URI says. `size` is in bytes."""

    def __init__(self, uri: str, size: int) -> None:
        self._uri = shown_url(uri)
        self._size = size

    def version(self) -> str | None:
        """Return None: the manifest costs nothing."""
        return None

    def manifest(self) -> Manifest:
        """Return the manifest of the one file."""
        return Manifest(self._uri, (RemoteFile(PATH, self._size, locator="zeros", version="the only one"),))

    def open(self, _file: RemoteFile, span: Span) -> Zeros:
        """Start reading a span."""
        return Zeros(len(span))

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Nothing to ask for."""

    def close(self) -> None:
        """Nothing to release."""


class Zeros:
    """A body of so many zeros."""

    def __init__(self, count: int) -> None:
        self._left = count

    def readinto(self, view: memoryview, /) -> int:
        """Put the next zeros into `view`, none at the end."""
        count = min(len(view), self._left)
        view[:count] = bytes(count)
        self._left -= count
        return count

    def interrupt(self) -> None:
        """Do nothing: no read ever waits."""

    def close(self) -> None:
        """Nothing to release."""
