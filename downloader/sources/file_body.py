"""The bytes of a range of a file of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.errors import SourceChanged, SourceUnavailable
from downloader.filesystem import FORGET_EVERY
from downloader.sources.file_errors import errors_of
from downloader.sources.file_listing import validator_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.artifact import RemoteFile, Span
    from downloader.filesystem import Disk


class FileBody:
    """A range that is read without filling the page cache. Raises SourceChanged for a file that is not as listed."""

    def __init__(self, disk: Disk, file: RemoteFile, span: Span, uri: str) -> None:
        """Open the file. Raises SourceChanged and VolumeError."""
        self._disk = disk
        self._file = file
        self._uri = uri
        self._position = self._forgotten = span.start
        self._stop = span.stop
        self._ended = self._closed = False
        self._handle = disk.open(file.locator)
        try:
            self._require_unchanged()
        except BaseException:
            self.close()
            raise

    def readinto(self, view: memoryview, /) -> int:
        """Put the next bytes into `view` and return their number, 0 at the end of the range.

        With the last ones, the file must still be the one that was listed.
        """
        if self._ended:
            raise SourceUnavailable(f"reading {self._file.path} was ended")
        view = view[: self._stop - self._position]
        if not view:
            return 0
        with errors_of(self._uri, listed=True):
            count = self._disk.read(self._handle, self._position, view)
            if not count:
                raise self._changed()
            self._position += count
            if self._position == self._stop:
                self._require_unchanged()
            if self._position - self._forgotten >= FORGET_EVERY:
                self._forget()
        return count

    def share(self, take: Callable[[int], bool]) -> bool:
        """Return what `take` makes of a handle of the file. Raises SourceChanged if it was replaced meanwhile."""
        taken = take(self._handle)
        with errors_of(self._uri, listed=True):
            self._require_unchanged()
        return taken

    def interrupt(self) -> None:
        """Let the next read fail. One that waits for a device cannot be woken: it is left behind."""
        self._ended = True

    def close(self) -> None:
        """Close the file."""
        if self._closed:
            return
        self._ended = self._closed = True
        self._forget()
        with errors_of(self._uri, listed=True):
            self._disk.close(self._handle)

    def _require_unchanged(self) -> None:
        file, found = self._file, self._disk.handle_stat(self._handle)
        # A list that is expected gives a digest to a file that was listed without one: only the listing says which.
        forms = [validator_of(found, has_digest=has_digest) for has_digest in (False, True)]
        if found.size != file.size or file.validator not in forms:
            raise self._changed()

    def _changed(self) -> SourceChanged:
        return SourceChanged(f"{self._file.path} in {self._uri} changed after it was listed")

    def _forget(self) -> None:
        if self._position > self._forgotten:
            self._disk.forget(self._handle, self._forgotten, self._position - self._forgotten)
            self._forgotten = self._position
