"""The life of a partial: a file whose bytes arrive under a temporary name until its digest is right.

A long module, since the states are one chain and each is made by the one before.

Each state is a type, and each step returns the next one, so that a file cannot be renamed before it is synced:

    Volume.partial(file)            new, or resumed from its journal
            |
            v
    Partial                         receiving: write, complete; readinto for the hasher
            | finish()              all bytes are there, and no thread writes any more
            v
    CompletePartial                 hashed (`CompletedFile`), then verified (`VerifiedFile`)
            | sync()                the bytes are on the disk
            v
    SyncedPartial
            | rename_to(path)       the directory must still be synced
            v
    NamedFile                       in the commit log
            | close()
            v
    handles closed, journal removed

Until it is synced, a partial can leave this path in three ways:

- `close()`: journal and bytes stay for the next run, if that can combine them with what it downloads.
- `discard()`: nothing remains, because the bytes are damaged.
- `set_aside()`: the bytes stay as `.downloading/corrupt.<identity>`, where no run looks for them.

Files above a threshold have a journal, so that their bytes survive a kill. Smaller files are downloaded again, which
costs less than a journal.

This module is long because all states are here.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from downloader.errors import InternalError
from downloader.filesystem import NotThere, clear
from downloader.integrity import may_combine
from downloader.lease import WORK
from downloader.volume.journal import ByteRanges, GroupSync, Journal, load
from downloader.volume.partial_file import PartialFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from downloader.artifact import RemoteFile, Span
    from downloader.filesystem import FileOperations


class Partial:
    """A file that is being received. Several threads may write different ranges at once.

    `check_lease` raises LeaseLost if another process holds the volume.
    """

    _direct = True
    """Large writes bypass the page cache."""

    def __init__(
        self,
        file: RemoteFile,
        files: FileOperations,
        folder: str,
        *,
        journal_above: int,
        group_sync: GroupSync,
        check_lease: Callable[[], None],
        in_order: bool = False,
        name: str | None = None,
        journal: Journal | None = None,
        complete: ByteRanges | None = None,
    ) -> None:
        """Open the partial in `folder`, under its content name or `name`.

        `journal` and `complete` replace its journal and the ranges in it: where several processes fill a file, each
        records its own ranges elsewhere.
        """
        self.file = file
        self.in_order = in_order
        """The volume accepts bytes only in order, each once, so that nothing remains for a later run (ADR 62)."""
        self._stop = file.span.stop
        identity = file.identity
        self._files = files
        self._folder = folder
        self._path = f"{folder}/{name or f'{identity}.part'}"
        self._journal_path = f"{folder}/{identity}.journal"
        self._group_sync = group_sync
        self._check_lease = check_lease
        # Two locks: bytes are counted under `_lock`, which no thread holds while it waits for the disk. `_syncing` is
        # held during syncs and closes, so that no journal record names bytes of a sync that has not ended.
        self._lock = threading.Lock()
        self._syncing = threading.RLock()
        journalled = file.sized and file.size > journal_above and not in_order
        self._journal: Journal | None = journal
        if journal is None and journalled:
            self._journal = Journal(files, self._journal_path, identity, file.size)
        self._pending = ByteRanges()
        self._resumable = file.sized and may_combine(file)
        self._complete = complete or ByteRanges()
        if complete is None and journalled and self._resumable:
            self._complete = load(files, self._journal_path, identity, file.size)
        self._storage = self._open()
        if self._journal is not None:
            self._storage.add_journal(self._journal, direct=self._direct)

    def _open(self) -> PartialFile:
        if self._complete:
            storage = PartialFile.resume(self._files, self._path, name=self.file.path, size=self.file.size)
            if storage is not None:
                return storage
            self._complete = ByteRanges()
        # From here on bytes are lost that another process may be writing, if it has taken over.
        self._check_lease()
        if self._journal is None:
            return PartialFile.create(self._files, self._path, name=self.file.path)
        self._remove()
        return PartialFile.create(self._files, self._path, name=self.file.path, size=self.file.size)

    @property
    def comes_whole(self) -> bool:
        """Whether nothing of the file is there, and nothing of it would be kept before all of it is."""
        return self._journal is None and not self._complete

    def missing(self) -> list[Span]:
        """Return the ranges that have not been received, in order; adjacent ones are merged."""
        with self._lock:
            return self._complete.missing(self._stop)

    def write(self, offset: int, data: memoryview) -> None:
        """Write bytes. They count once `complete` has named their range.

        The page cache is bypassed if offset, length and address are multiples of 4096.
        """
        # Before each write: the thread may have waited for the network while another process took the volume over.
        self._check_lease()
        if offset < 0 or offset + len(data) > self._stop:
            raise InternalError(f"{self.file.path}: bytes {offset}-{offset + len(data) - 1} lie outside the file")
        self._storage.write(offset, data)

    def share(self, source: int) -> bool:
        """Take over the content of an open file on the same file system without a copy; False where that cannot be.

        Only a partial without any bytes can. What it has then must be hashed like what an earlier run has left.
        """
        if self.in_order or not self.file.size or self.missing() != [self.file.span]:
            return False
        self._check_lease()
        if not self._storage.share(source):
            return False
        self.complete(self.file.span)
        return True

    def readinto(self, offset: int, view: memoryview) -> int:
        """Fill the view with the bytes from `offset` on and return their number; 0 at the end of the file."""
        return self._storage.readinto(offset, view)

    def complete(self, span: Span) -> None:
        """Record that all bytes of a range are written. Every few megabytes this syncs the partials of the volume."""
        if span.start < 0 or span.stop > self._stop:
            raise InternalError(f"{self.file.path}: {span} lie outside the file")
        with self._lock:
            self._complete.add(span)
            if self._journal is None:
                return
            self._pending.add(span)
        self._group_sync.add(self, len(span))

    def add_found(self, ranges: Iterable[Span]) -> None:
        """Take over ranges that other processes have put on the disk."""
        with self._lock:
            for span in ranges:
                self._complete.add(span)

    def end(self, size: int) -> None:
        """Set the size of a file whose source did not publish it. All its bytes are written."""
        self.file = self.file.with_size(size)
        self._stop = size

    def flush(self) -> None:
        """Make complete ranges survive a kill and a power loss. Does nothing for files without a journal."""
        with self.pending() as ranges:
            self.write_journal(ranges, synced=False)
        self._group_sync.written()

    @contextlib.contextmanager
    def pending(self) -> Iterator[ByteRanges]:
        """Yield the ranges that are complete but not journalled, for `write_journal`. Holds the sync lock meanwhile."""
        with self._syncing:
            with self._lock:
                pending, self._pending = self._pending, ByteRanges()
            self._group_sync.forget(self)
            yield pending

    def write_journal(self, ranges: ByteRanges, *, synced: bool) -> None:
        """Sync, unless the whole file system was `synced`, and append the ranges to the journal. Within `pending`."""
        if self._journal is None or self._storage.is_shut or not ranges:
            return
        # The kernel reports a failed write-back once, and a sync of the whole file system would succeed afterwards.
        if self._storage.sync_failed or not synced:
            self._storage.sync()
        self._storage.forget()
        # The sync may have taken minutes on a slow volume: the journal may be another process's by now.
        self._check_lease()
        self._journal.append(ranges)

    def finish(self) -> CompletePartial:
        """End receiving: refuse further writes and reads, and wait for those in progress.

        Two workers may fetch the same range at the end, and the slower one must not write to a file that has its final
        name. Raises InternalError if bytes are missing or the partial was closed.
        """
        with self._lock:
            if not self._complete.has_all(self._stop):
                missing = self._complete.missing(self._stop)
                raise InternalError(f"{self.file.path}: {missing[0]} were never completed")
        with self._syncing:
            self._storage.drain()
            if self._storage.is_shut:
                raise InternalError(f"{self.file.path}: a partial was to get its name after it was closed")
        return CompletePartial(self, self._storage, self._journal, self._syncing)

    def discard(self) -> None:
        """Remove the partial, because its bytes are useless."""
        with self._syncing:
            self.close(flush=False)
            with contextlib.suppress(NotThere):
                self._remove()

    def set_aside(self) -> None:
        """Keep the bytes for an investigation, under a name where no run looks for them."""
        with self._syncing:
            self.close(flush=False)
            clear(self._files, self._journal_path)
            with contextlib.suppress(NotThere):
                self._storage.rename_to(f"{WORK}/corrupt.{self.file.identity}")

    def close(self, *, flush: bool = True) -> None:
        """Close the handles; complete ranges stay for the next run if it can use them. May be called twice."""
        with self._syncing:
            # Only the first time: later, the next attempt may have created a file of the same path.
            remove = flush and not self._resumable and not self._storage.is_shut
            try:
                if flush and not remove:
                    self.flush()
            finally:
                if self._journal is not None:
                    self._group_sync.forget(self)
                self._storage.shut()
            if remove:
                with contextlib.suppress(NotThere):
                    self._remove()

    def _remove(self) -> None:
        """Remove journal and bytes. The journal first: it must never describe other bytes of the same name."""
        clear(self._files, self._journal_path)
        clear(self._files, self._path)
        self._files.sync_folder(self._folder)


class _Finished:
    """What the states after `Partial` share. Only the steps below create them."""

    __slots__ = ("_journal", "_partial", "_storage", "_syncing", "file")

    def __init__(
        self, partial: Partial, storage: PartialFile, journal: Journal | None, syncing: threading.RLock
    ) -> None:
        self.file = partial.file
        self._partial = partial
        self._storage = storage
        self._journal = journal
        self._syncing = syncing


class CompletePartial(_Finished):
    """A partial with all its bytes, to which no thread writes any more."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """Its temporary name in the folder of partials."""
        return self._partial._path.rpartition("/")[2]  # noqa: SLF001 -- a state of the same object

    @property
    def needs_sync(self) -> bool:
        """Whether bytes may not be on the disk yet, and a sync can still help."""
        return self._storage.unsynced and not self._storage.sync_failed

    def sync(self, *, synced: bool = False) -> SyncedPartial:
        """Sync the bytes, unless that is done or the whole file system was `synced` since `finish`.

        Raises VolumeError if the volume did not keep them, InternalError if the partial was closed.
        """
        with self._syncing:
            if self._storage.is_shut:
                raise InternalError(f"{self.file.path}: a partial was to get its name after it was closed")
            if self._storage.sync_failed or (self._storage.unsynced and not synced):
                self._storage.sync()
                if self._journal is not None:
                    self._storage.forget()
            if self._partial.in_order:
                # An object store stores a file when it is closed, and may refuse it only then.
                self._storage.shut()
        return SyncedPartial(self._partial, self._storage, self._journal, self._syncing)

    def discard(self) -> None:
        """Remove the partial, because its bytes are damaged."""
        self._partial.discard()

    def set_aside(self) -> None:
        """Keep the bytes for an investigation, under a name where no run looks for them."""
        self._partial.set_aside()


class SyncedPartial(_Finished):
    """A partial whose bytes survive a power loss."""

    __slots__ = ()

    def rename_to(self, path: str) -> NamedFile:
        """Give the file its final name. It is durable once the directory is synced."""
        self._storage.rename_to(path)
        return self._named()

    def renamed_to(self, path: str) -> NamedFile | None:
        """Return the file if another process has given it this very name; None if not."""
        return self._named() if self._storage.is_at(path) else None

    def _named(self) -> NamedFile:
        return NamedFile(self._partial, self._storage, self._journal, self._syncing)

    def leave(self) -> None:
        """Close the handles of a file that another process will name: the holder of the lease."""
        self._partial.close(flush=False)


class NamedFile(_Finished):
    """A file with its final name, whose handles are still open."""

    __slots__ = ()

    def close(self) -> None:
        """Close the handles and remove the journal."""
        if self._journal is None and not self._partial.in_order:
            # Direct writes leave no pages; those of many small files would fill the memory limit of a container.
            self._storage.forget()
        self._partial.close(flush=False)
        if self._journal is not None:
            self._journal.discard()
