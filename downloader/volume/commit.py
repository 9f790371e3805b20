"""Giving files their final names, durably, and many at a time.

The order is what makes it safe: bytes synced, then renamed, then the folders synced, then the ledger. Many small files
are synced by one call for the whole file system where that can be trusted: two to four times as fast as one by one on
ext4.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from downloader.errors import DownloadError, VolumeError
from downloader.filesystem import AlreadyThere, InTheWay, Kind, NotThere, discard
from downloader.volume.commit_log import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from downloader.filesystem import FileOperations
    from downloader.volume.commit_log import CommitLog
    from downloader.volume.partial import Partial


TOGETHER = 8
"""Files from which on one sync of everything is cheaper than a sync of each."""


class VerifiedFile(NamedTuple):
    """A whole partial whose bytes are right, and what the commit log records of it."""

    partial: Partial
    sha256: str
    proof: str
    """What its source published that the bytes were compared with."""

    @property
    def entry(self) -> Entry:
        """The record of the file in the commit log."""
        file = self.partial.file
        return Entry(file.path, file.size, self.sha256, file.identity)


class Committer:
    """Commits for many threads, for one after the other.

    `alive` raises LeaseLost if it is known that the volume belongs to somebody else, `confirm` looks for certain.
    `before_first` runs once, before anything under a final name is changed. `is_ours` tells whether a path is a file
    that we put there, `below` which files of a folder go where the artifact has a file in its place.
    """

    def __init__(
        self,
        files: FileOperations,
        commit_log: CommitLog,
        *,
        alive: Callable[[], None],
        confirm: Callable[[], None],
        before_first: Callable[[], None],
        is_ours: Callable[[str], bool],
        below: Callable[[str], list[str]],
    ) -> None:
        self._files = files
        self._commit_log = commit_log
        self._alive = alive
        self._confirm = confirm
        self._before_first: Callable[[], None] | None = before_first
        self._is_ours = is_ours
        self._below = below
        self._folders: set[str] = set()
        self._working = threading.Lock()

    def commit(self, files: Iterable[VerifiedFile]) -> None:
        """Give files their final names, durably. Raises the first error once the other files have theirs."""
        batch = list(files)
        if not batch:
            return
        errors: list[DownloadError] = []
        with self._working:
            self._commit(batch, errors)
        if errors:
            raise errors[0]

    def _commit(self, batch: list[VerifiedFile], errors: list[DownloadError]) -> None:
        """Commit a batch. Errors of one file are added to `errors`, errors that concern all of them are raised."""
        self._sync_together([file.partial for file in batch])
        sealed = _each(batch, lambda file: file.partial.seal(), errors)
        self._prepare()
        changed: set[str] = set()
        named = _each(sealed, lambda file: self._rename(file.partial, changed), errors)
        for folder in sorted(changed, reverse=True):  # what is inside before what it is in
            self._files.sync_folder(folder)
        self._commit_log.add((file.entry, file.proof) for file in named)
        _each(named, lambda file: file.partial.committed(), errors)

    def _sync_together(self, partials: list[Partial]) -> None:
        """Sync many files by one call, where there is one; those that are left sync themselves."""
        if len(partials) < TOGETHER:
            return
        waiting = [partial for partial in partials if partial.wants_sync()]
        if len(waiting) >= TOGETHER and self._files.sync_everything():
            for partial in waiting:
                partial.synced()

    def _prepare(self) -> None:
        self._alive()
        if self._before_first is not None:
            self._before_first()
            self._before_first = None

    def _rename(self, partial: Partial, changed: set[str]) -> None:
        path = partial.file.path
        folder = path.rpartition("/")[0]
        self._make_folders(folder, changed)
        changed.add(folder)
        try:
            self._files.rename(partial.path, path)
        except (NotThere, InTheWay, AlreadyThere):
            self._confirm()  # our folder goes with the lease
            self._folders.clear()  # and theirs may have changed since we looked
            self._make_folders(folder, changed)
            self._remove_empty(path)
            self._files.rename(partial.path, path)

    def _make_folders(self, folder: str, changed: set[str]) -> None:
        if not folder or folder in self._folders:
            return
        parent = folder.rpartition("/")[0]
        self._make_folders(parent, changed)
        try:
            made = self._files.make_folder(folder)
        except InTheWay:
            self._clear(folder)
            made = self._files.make_folder(folder)
        if made:
            changed.add(parent)
        self._folders.add(folder)

    def _clear(self, folder: str) -> None:
        """Remove what stands where a folder has to be, unless it is somebody's file."""
        found = self._files.stat(folder)
        if found is not None and found.kind is Kind.FILE and not self._is_ours(folder):
            raise VolumeError(
                f"{self._files.name}/{folder} is a file, but the artifact has a folder of this name",
                hint="move it away, or use another target folder",
            )
        self._files.unlink(folder)

    def _remove_empty(self, path: str) -> None:
        """Remove a folder that is in the place of a file: what we put there ourselves, and then the empty folders."""
        below = self._below(path)
        for inner in below:
            discard(self._files, inner)
        for folder in sorted(_folders_between(path, below), key=len, reverse=True):
            with suppress(NotThere, AlreadyThere):
                self._files.remove_folder(folder)
        try:
            self._files.remove_folder(path)
        except (NotThere, InTheWay):
            return
        except AlreadyThere as error:
            raise occupied(self._files.name, path) from error


def _folders_between(path: str, files: Iterable[str]) -> set[str]:
    """Return the folders below `path` in which the files are, and those in between."""
    folders: set[str] = set()
    for file in files:
        folder = file.rpartition("/")[0]
        while folder != path and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return folders


def occupied(target: str, path: str, inner: str = "") -> VolumeError:
    """Return the error for a folder that is in the place of a file, with things in it that are not ours to remove."""
    return VolumeError(
        f"{target}/{path} is a folder with something in it{f' ({inner})' if inner else ''}, but the artifact has a file"
        " of this name",
        hint="move it away, or use another target folder",
    )


def _each(
    files: Iterable[VerifiedFile], step: Callable[[VerifiedFile], None], errors: list[DownloadError]
) -> list[VerifiedFile]:
    """Apply a step to each file and return those where it succeeded; the errors of the others go to `errors`."""
    succeeded = []
    for file in files:
        try:
            step(file)
        except DownloadError as error:
            errors.append(error)
        else:
            succeeded.append(file)
    return succeeded
