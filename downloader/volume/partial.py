"""A file on its way: its bytes under a name of ours until the digest is right.

Files above a threshold have a journal, so that their bytes survive a kill; smaller ones are simply fetched again,
which costs less than a journal would. Aligned writes go past the page cache where the file system allows it, since a
download of hundreds of gigabytes would fill the memory limit of its container with pages that nobody reads.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import threading
from typing import TYPE_CHECKING

from downloader.errors import InternalError, VolumeError
from downloader.filesystem import AlreadyThere, InTheWay, NotThere, clear, discard
from downloader.integrity import may_combine
from downloader.lease import WORK
from downloader.volume.byte_ranges import ByteRanges
from downloader.volume.handle_guard import HandleGuard
from downloader.volume.journal import Journal, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from downloader.artifact import RemoteFile, Span
    from downloader.filesystem import FileOperations
    from downloader.volume.group_sync import GroupSync

_ALIGNMENT = 4096
_FORGET_EVERY = 32 << 20
"""Bytes read between two times that the page cache is told to drop them."""

_log = logging.getLogger(__name__)


class Partial:
    """One file that is being fetched, or was left half-fetched. Several threads may write different spans at once.

    `alive` raises LeaseLost once the volume belongs to somebody else. `Volume.commit` gives it its final name.
    """

    def __init__(
        self,
        file: RemoteFile,
        files: FileOperations,
        folder: str,
        *,
        journal_above: int,
        batch: GroupSync,
        alive: Callable[[], None],
        in_order: bool = False,
    ) -> None:
        self.file = file
        self.in_order = in_order
        """The volume takes the bytes only one after the other, each once: nothing is left for a later run."""
        self._stop = file.span.stop
        identity = file.identity
        self.path = f"{folder}/{identity}.part"
        """Where the bytes are, relative to the target."""
        self._files = files
        self._folder = folder
        self._batch = batch
        self._alive = alive
        self._lock = threading.Lock()
        self._syncing = threading.RLock()
        self._journal_path = f"{folder}/{identity}.journal"
        journalled = file.sized and file.size > journal_above and not in_order
        self._journal = Journal(files, self._journal_path, identity, file.size) if journalled else None
        self._pending = ByteRanges()
        self._broken = False
        self._unsynced = True
        self._read = 0
        self._gate = HandleGuard(self._close_handles)
        self._useless_later = not file.sized or not may_combine(file)
        resumable = journalled and not self._useless_later
        self._spans = load(files, self._journal_path, identity, file.size) if resumable else ByteRanges()
        self._handle = self._resume() if self._spans else self._start()
        self._direct = files.open_direct(self.path) if journalled else None
        self._use_direct = self._direct is not None
        if journalled and not self._use_direct:
            _log.debug("%s allows no direct writes", files.name)

    def missing(self) -> list[Span]:
        """Return the spans that are still to be fetched, in order; those that touch are one."""
        with self._lock:
            return self._spans.missing(self._stop)

    def write(self, offset: int, data: memoryview) -> None:
        """Put bytes in their place. They count only once `complete` names them.

        What starts and ends at multiples of 4096 in file and memory goes past the page cache.
        """
        self._alive()
        if offset < 0 or offset + len(data) > self._stop:
            raise InternalError(f"{self.file.path}: bytes {offset}-{offset + len(data) - 1} lie outside the file")
        with self._gate:
            if self._use_direct and self._direct is not None and _is_aligned(offset, data):
                if self._files.write_direct(self._direct, offset, data):
                    return
                self._use_direct = False
                _log.debug("%s refuses direct writes: using the page cache", self._files.name)
            self._files.write(self._handle, offset, data)

    def readinto(self, offset: int, view: memoryview) -> int:
        """Fill the view with the bytes from `offset` on and return how many there were; 0 at the end of the file."""
        with self._gate:
            count = self._files.read(self._handle, offset, view)
            self._read += count
            if self._read >= _FORGET_EVERY:
                self._read = 0
                self._files.forget(self._handle)
            return count

    def complete(self, span: Span) -> None:
        """Say that all bytes of the span are written. From time to time this syncs, for all partials of the volume."""
        if span.start < 0 or span.stop > self._stop:
            raise InternalError(f"{self.file.path}: {span} lie outside the file")
        with self._lock:
            self._spans.add(span)
            self._unsynced = True
            if self._journal is None:
                return
            self._pending.add(span)
        self._batch.add(self, len(span))

    def end(self, size: int) -> None:
        """Say how many bytes a file has of which nobody had told that. All of them are written."""
        self.file = self.file.with_size(size)
        self._stop = size

    def flush(self) -> None:
        """Make what is complete survive a kill and a power loss. Does nothing for files without a journal."""
        with self.pending() as spans:
            self.note(spans, synced=False)

    @contextlib.contextmanager
    def pending(self) -> Iterator[ByteRanges]:
        """Hand out what is complete and in no journal yet, for `note`; nobody else syncs or closes meanwhile."""
        with self._syncing:
            with self._lock:
                pending, self._pending = self._pending, ByteRanges()
            self._batch.forget(self)
            yield pending

    def note(self, spans: ByteRanges, *, synced: bool) -> None:
        """Sync, unless all has been `synced`, and write the spans into the journal. Within `pending`."""
        if self._journal is None or self._gate.is_shut or not spans:
            return
        if self._broken or not synced:
            self._sync()
        else:
            self._files.forget(self._handle)
        self._alive()
        self._journal.append(spans)

    def discard(self) -> None:
        """Remove the partial: its bytes are worth nothing."""
        with self._syncing:
            self.close(flush=False)
            with contextlib.suppress(NotThere):
                self._remove()

    def set_aside(self) -> None:
        """Keep the bytes where no run looks for them, for whoever wants to know what is wrong with them."""
        with self._syncing:
            self.close(flush=False)
            clear(self._files, self._journal_path)
            with contextlib.suppress(NotThere):
                self._files.rename(self.path, f"{WORK}/corrupt.{self.file.identity}")

    def close(self, *, flush: bool = True) -> None:
        """Close the files; what is complete stays for the next run if that can go on with it. May be called twice."""
        with self._syncing:
            # Not at a second time: the next attempt may have begun the same path by then.
            useless = flush and self._useless_later and not self._gate.is_shut
            try:
                if flush and not useless:
                    self.flush()
            finally:
                if self._journal is not None:
                    self._batch.forget(self)
                self._gate.shut()
            if useless:
                with contextlib.suppress(NotThere):
                    self._remove()

    def wants_sync(self) -> bool:
        """Say whether something was written that is not synced, once all writing has ended. For the committer."""
        with self._syncing:
            self._gate.drain()
            return self._unsynced and not self._broken

    def synced(self) -> None:
        """Take note that everything was synced since `wants_sync`. For the committer."""
        self._unsynced = False

    def seal(self) -> None:
        """Sync everything: the file is about to get its final name. For the committer."""
        missing = self.missing()
        if missing:
            raise InternalError(f"{self.file.path}: {missing[0]} were never completed")
        with self._syncing:
            self._gate.drain()
            if self._gate.is_shut:
                raise InternalError(f"{self.file.path}: a partial was to get its name after it was closed")
            if self._unsynced or self._broken:
                self._sync()
            if self.in_order:
                self._gate.shut()  # an object store takes a file when it is closed, and may refuse it only then

    def committed(self) -> None:
        """Close and tidy up after the file has got its final name. For the committer."""
        if self._journal is None and not self.in_order:
            # What went past the page cache leaves nothing there; the pages of many small files would fill a container.
            self._files.forget(self._handle)
        self.close(flush=False)
        if self._journal is not None:
            discard(self._files, self._journal_path)

    def _resume(self) -> int:
        """Open what an earlier run left, if it is what the journal speaks of; else start anew."""
        try:
            handle = self._files.open(self.path, write=True)
        except (NotThere, InTheWay):
            return self._start()
        found = self._files.handle_stat(handle)
        if found.size == self.file.size and found.links == 1:
            return handle
        self._files.close(handle)
        return self._start()

    def _start(self) -> int:
        """Make a new file. It is never an old one emptied: a former holder of the lease may still have that open."""
        self._spans = ByteRanges()
        self._alive()
        if self._journal is not None:
            self._remove()
        try:
            handle = self._files.create(self.path)
        except AlreadyThere:
            clear(self._files, self.path)
            handle = self._files.create(self.path)
        if self._journal is not None:
            self._files.truncate(handle, self.file.size)
        return handle

    def _remove(self) -> None:
        """Remove journal and bytes; the journal for certain before there can be other bytes under its name."""
        clear(self._files, self._journal_path)
        clear(self._files, self.path)
        self._files.sync_folder(self._folder)

    def _sync(self) -> None:
        if self._broken:
            raise VolumeError(f"{self.file.path}: the volume did not keep what was written", hint="run again")
        self._unsynced = False
        try:
            self._files.sync(self._handle)
        except BaseException:
            self._broken = True  # the kernel reports lost pages once, a second sync would claim success
            raise
        if self._journal is not None:
            self._files.forget(self._handle)

    def _close_handles(self) -> None:
        if self._journal is not None:
            self._journal.close()
        if self._direct is not None:
            self._files.close(self._direct)
        self._direct = None
        self._files.close(self._handle)


def _is_aligned(offset: int, data: memoryview) -> bool:
    if offset % _ALIGNMENT or len(data) % _ALIGNMENT or data.readonly or not len(data):
        return False
    return ctypes.addressof(ctypes.c_char.from_buffer(data)) % _ALIGNMENT == 0
