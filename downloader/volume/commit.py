"""Gives files their final names, durably and many at a time: the last of the four calls of a commit.

The order makes it safe: sync the bytes, rename the files, sync their directories, then write the commit log. A power
loss between two of these steps leaves a partial or a final file, but never a final name with other bytes. Many small
files are synced by one call for the whole file system where that can be trusted: on ext4 two to four times as fast as
one by one (ADR 16).
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from downloader.errors import DownloadError, VolumeError
from downloader.filesystem import AlreadyThere, InTheWay, Kind, NotThere, discard
from downloader.volume.partial import NamedFile
from downloader.volume.record_log import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from downloader.filesystem import FileOperations
    from downloader.volume.partial import CompletePartial, SyncedPartial
    from downloader.volume.record_log import CommitLog

S = TypeVar("S")
T = TypeVar("T")
SYNC_TOGETHER = 8
"""Number of files from which one sync of the whole file system is cheaper than a sync of each file."""


MOVE = "move it away, or use another target folder"


class VerifiedFile(NamedTuple):
    """A complete partial whose bytes are right, and what the commit log records of it."""

    partial: CompletePartial
    sha256: str
    proof: str
    """What its source published that the bytes were compared with."""
    place: str = ""
    """Where its last bytes came from, in a run with mirrors; empty if that is not known."""

    @property
    def entry(self) -> Entry:
        """The record of the file in the commit log."""
        file = self.partial.file
        return Entry(file.path, file.size, self.sha256, file.identity)


class Committer:
    """Commits batches of files, one batch at a time.

    `check_lease` raises LeaseLost if the lease is known to be lost, `confirm_lease` reads the lease file to be sure.
    `before_first` runs once, before anything under a final name changes. `is_ours` says whether an earlier run of ours
    created a file, `below` which files of a directory are to be removed because the artifact has a file in its place.
    """

    def __init__(
        self,
        files: FileOperations,
        commit_log: CommitLog,
        *,
        check_lease: Callable[[], None],
        confirm_lease: Callable[[], None],
        before_first: Callable[[], None],
        is_ours: Callable[[str], bool],
        below: Callable[[str], list[str]],
    ) -> None:
        self._files = files
        self._commit_log = commit_log
        self._check_lease = check_lease
        self._confirm_lease = confirm_lease
        self._before_first: Callable[[], None] | None = before_first
        self._is_ours = is_ours
        self._below = below
        self._folders: set[str] = set()
        self._committing = threading.Lock()

    def commit(self, files: Iterable[VerifiedFile]) -> None:
        """Give files their final names, durably. Raises the first error once the other files have theirs."""
        complete = [(file, file.partial) for file in files]
        if not complete:
            return
        errors: list[DownloadError] = []
        with self._committing:
            self._commit(complete, errors)
        if errors:
            raise errors[0]

    def _commit(self, complete: list[tuple[VerifiedFile, CompletePartial]], errors: list[DownloadError]) -> None:
        """Commit a batch. Errors of one file are added to `errors`, errors that concern all of them are raised."""
        synced_together = sync_together(self._files, (partial for _, partial in complete))
        synced = _each(complete, lambda partial: partial.sync(synced=synced_together), errors)
        self._prepare()
        changed: set[str] = set()
        named = _each(synced, lambda partial: self._rename(partial, changed), errors)
        for folder in sorted(changed, reverse=True):  # a directory before its parent, which names it
            self._files.sync_folder(folder)
        self._commit_log.add([(file.entry, file.proof) for file, _ in named])
        _each(named, NamedFile.close, errors)

    def _prepare(self) -> None:
        self._check_lease()
        if self._before_first is not None:
            self._before_first()
            self._before_first = None

    def _rename(self, partial: SyncedPartial, changed: set[str]) -> NamedFile:
        path = partial.file.path
        folder = path.rpartition("/")[0]
        self._make_folders(folder, changed)
        changed.add(folder)
        try:
            return partial.rename_to(path)
        except (NotThere, InTheWay, AlreadyThere):
            # The partial is missing if another process took over the lease: then this is not ours to mend.
            self._confirm_lease()
            # Or a rename of the former holder came late: it had the folder open when it was frozen, or its mount still
            # had the rename to send. The file is the same one.
            if (named := partial.renamed_to(path)) is not None:
                return named
            # Or another program removed a directory after we had created it, or put one in the file's place.
            self._folders.clear()
            self._make_folders(folder, changed)
            self._remove_empty(path)
            return partial.rename_to(path)

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
        """Remove a file or link in the place of a directory. Raises VolumeError for a file that is not ours."""
        found = self._files.stat(folder)
        if found is not None and found.kind is Kind.FILE and not self._is_ours(folder):
            raise in_the_way(self._files.name, folder)
        self._files.unlink(folder)

    def _remove_empty(self, path: str) -> None:
        """Remove a directory in the place of a file: first our own files in it, then the directories left empty."""
        below = self._below(path)
        for inner in below:
            discard(self._files, inner)
        for folder in sorted(folders_between(path, below), key=len, reverse=True):
            with suppress(NotThere, AlreadyThere):
                self._files.remove_folder(folder)
        try:
            self._files.remove_folder(path)
        except (NotThere, InTheWay):
            return
        except AlreadyThere as error:
            raise occupied(self._files.name, path) from error


def sync_together(files: FileOperations, partials: Iterable[CompletePartial]) -> bool:
    """Sync the whole file system if that is cheaper than each file; return whether it was done and can be trusted."""
    unsynced = sum(partial.needs_sync for partial in partials)
    return unsynced >= SYNC_TOGETHER and files.sync_everything()


def folders_between(path: str, files: Iterable[str]) -> set[str]:
    """Return the directories of the files, and those between them and `path`."""
    folders: set[str] = set()
    for file in files:
        folder = file.rpartition("/")[0]
        while folder != path and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return folders


def in_the_way(target: str, folder: str) -> VolumeError:
    """Return the error for a file of others in the place of a directory."""
    return VolumeError(f"{target}/{folder} is a file, but the artifact has a folder of this name", hint=MOVE)


def occupied(target: str, path: str, inner: str = "") -> VolumeError:
    """Return the error for a directory in the place of a file that contains files of others."""
    return VolumeError(
        f"{target}/{path} is a folder with something in it{f' ({inner})' if inner else ''}, but the artifact has a file"
        " of this name",
        hint=MOVE,
    )


def _each(
    files: Iterable[tuple[VerifiedFile, S]], step: Callable[[S], T], errors: list[DownloadError]
) -> list[tuple[VerifiedFile, T]]:
    """Apply a step to each file and return the next states; files whose step fails drop out, and `errors` grows."""
    succeeded = []
    for file, state in files:
        try:
            succeeded.append((file, step(state)))
        except DownloadError as error:
            errors.append(error)
    return succeeded
