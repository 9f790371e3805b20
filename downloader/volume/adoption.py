"""Files that are under their final names already: believed after hashing, whoever put them there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from downloader.artifact import Algorithm
from downloader.errors import IntegrityError
from downloader.integrity import SIZE_ONLY, ContentCheck, hash_file, judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.artifact import RemoteFile
    from downloader.volume.files import FileOperations

_FORGET_EVERY = 32 << 20


class Reading:
    """A file of the target that is read once from start to end: a context that keeps it out of the page cache."""

    def __init__(self, files: FileOperations, path: str) -> None:
        self._files = files
        self._handle = files.open(path)
        self._remembered = 0
        self.found = files.handle_stat(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close(self._handle)

    def readinto(self, offset: int, view: memoryview) -> int:
        """Fill the view with the bytes from `offset` on; 0 at the end of the file."""
        count = self._files.read(self._handle, offset, view)
        self._remembered += count
        if self._remembered >= _FORGET_EVERY:
            self._remembered = 0
            self._files.forget(self._handle)
        return count

    def is_unchanged(self) -> bool:
        """Tell whether the file is still what it was when it was opened."""
        return self._files.handle_stat(self._handle) == self.found

    def redate(self, mtime_ns: int) -> None:
        """Set the time of the last change of the very file that was read."""
        self._files.touch(self._handle, mtime_ns)

    def sync(self) -> None:
        """Make the content survive a power loss, also if a program wrote it that did not care."""
        self._files.sync(self._handle)


def adopt(
    files: FileOperations,
    file: RemoteFile,
    expected: str | None,
    content: ContentCheck,
    progress: Callable[[int], None],
) -> tuple[str, str]:
    """Hash a file and return its sha256 and what proved it; `expected` is its sha256 if that is known.

    Raises IntegrityError if it is another file or nothing can prove it, VolumeError if it cannot be read.
    """
    with Reading(files, file.path) as reading:
        hasher = hash_file(reading.readinto, file.size, file.digests, progress)
        results = hasher.results()
        sha256 = results[Algorithm.SHA256]
        if expected not in (None, sha256):
            raise IntegrityError(f"{file.path} has sha256 {sha256} and should have {expected}")
        proof = judge(file, results).proof
        if proof == SIZE_ONLY and expected is None:
            raise IntegrityError(f"nothing that the source publishes can prove {file.path}")
        content.require(file.path, file.size, hasher.head, proved=True)
        reading.sync()
        if not reading.is_unchanged() or reading.found.size != file.size:
            raise IntegrityError(f"{file.path} was written to while it was read")
        files.sync_folder(file.path.rpartition("/")[0])
        return sha256, proof
