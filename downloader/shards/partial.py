"""A partial that several processes fill, each with the ranges that it has claimed."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from downloader.artifact import Span
from downloader.errors import InternalError
from downloader.filesystem import AlreadyThere, Kind, NotThere
from downloader.lease import PARTS, WORK
from downloader.shards.log import BoardGone
from downloader.volume import ByteRanges, Journal, Partial, PartialFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from downloader.artifact import RemoteFile
    from downloader.filesystem import FileOperations
    from downloader.shards.board import Board, Verdict
    from downloader.volume import GroupSync

_TRIES = 5
"""How often a file is looked for while the folder of partials is renamed by a new leader."""


def parts_folder(files: FileOperations) -> str:
    """Return the folder of partials, which is the lease holder's. Raises BoardGone if it does not exist."""
    folders = sorted(name for name, kind in files.scan(WORK).items() if name.startswith(PARTS) and kind is Kind.FOLDER)
    if not folders:
        raise BoardGone(f"the shared work on {files.name} has ended")
    return f"{WORK}/{folders[0]}"


def shared_name(file: RemoteFile, round_: int) -> str:
    """Return the name of a partial that several processes fill."""
    return f"{file.identity}.{round_}.part" if round_ else f"{file.identity}.part"


class DoneRecords(Journal):
    """What a member records of a partial in its log, where a process alone would write a journal."""

    def __init__(self, board: Board, file: RemoteFile, round_: int) -> None:
        self._board = board
        self._file = file
        self._round = round_

    def append(self, ranges: ByteRanges) -> None:
        """Record ranges that have been synced; the group sync writes those of all its files together."""
        self._board.queue_done(self._file, self._round, ranges)

    def discard(self) -> None:
        """Keep the records: they say nothing of a file that has its final name."""

    def close(self) -> None:
        """Leave the log open: it is the member's."""


class SharedPartial(Partial):
    """A file of which this process writes some ranges, and others the rest."""

    def __init__(
        self, file: RemoteFile, files: FileOperations, board: Board, *, group_sync: GroupSync, check: Callable[[], None]
    ) -> None:
        record = board.record(file)
        self.round = record.round
        self._board = board
        self._reading = threading.Lock()
        self._reader: PartialFile | None = None
        # What bypasses the page cache of one machine may not be seen through that of another.
        self._direct = files.is_local
        super().__init__(
            file,
            files,
            parts_folder(files),
            journal_above=0,
            group_sync=group_sync,
            check_lease=check,
            name=shared_name(file, record.round),
            journal=DoneRecords(board, file, record.round),
            complete=ByteRanges(record.done),
        )

    def _open(self) -> PartialFile:
        """Open the file, or create it at its full size: whichever process comes first."""
        for _ in range(_TRIES):
            self._locate()
            with contextlib.suppress(NotThere):
                try:
                    handle = self._files.create(self._path)
                except AlreadyThere:
                    handle = self._files.open(self._path, write=True)
                if self._files.handle_stat(handle).size < self.file.size:
                    self._files.truncate(handle, self.file.size)  # harmless if another process does the same
                self._files.reread(handle)
                return PartialFile(self._files, self._path, handle, name=self.file.path)
        raise BoardGone(f"the shared work on {self._files.name} has ended")

    def _locate(self) -> None:
        self._folder = parts_folder(self._files)
        self._path = f"{self._folder}/{shared_name(self.file, self.round)}"

    def share(self, source: int) -> bool:  # noqa: ARG002 - other processes may have claimed pieces of it
        """Take over nothing at once: the file comes piece by piece."""
        return False

    def add_found(self, ranges: Iterable[Span]) -> None:
        """Take over ranges that other processes have put on the disk, to read them."""
        # Only an open after the writer's record is certain to see its bytes on a network file system. Even then NFS 4
        # shows what it has read ahead of the writer, if this machine has written to the file since.
        ranges = list(ranges)
        for _ in range(_TRIES):
            self._locate()
            with contextlib.suppress(NotThere):
                handle = self._files.open(self._path)
                break
        else:
            raise BoardGone(f"the shared work on {self._files.name} has ended")
        for span in ranges:
            self._files.reread(handle, span.start, len(span))
        reader = PartialFile(self._files, self._path, handle, name=self.file.path)
        with self._reading:
            before, self._reader = self._reader, reader
        if before is not None:
            before.shut()
        super().add_found(ranges)

    def readinto(self, offset: int, view: memoryview) -> int:
        """Fill the view with the bytes from `offset` on and return their number; 0 at the end of the file."""
        while (reader := self._reader) is not None:
            with contextlib.suppress(InternalError):  # it was replaced at this moment
                return reader.readinto(offset, view)
        return super().readinto(offset, view)

    def close(self, *, flush: bool = True) -> None:
        """Close the handles; what is complete is recorded before."""
        super().close(flush=flush)
        with self._reading:
            reader, self._reader = self._reader, None
        if reader is not None:
            reader.shut()

    def discard(self) -> None:
        """Give up all bytes of the file, because they are damaged: every process fetches them again."""
        self._board.add_again(self.file)
        super().discard()

    def set_aside(self) -> None:
        """Keep the bytes for an investigation, and fetch all of them again."""
        self._board.add_again(self.file)
        super().set_aside()

    def _remove(self) -> None:
        self._locate()
        with contextlib.suppress(NotThere):
            self._files.unlink(self._path)


class ReceivedPartial(Partial):
    """A file that another member has left complete and synced, to be named by the leader."""

    def __init__(
        self,
        file: RemoteFile,
        files: FileOperations,
        verdict: Verdict,
        *,
        group_sync: GroupSync,
        check: Callable[[], None],
    ) -> None:
        """Open it. Raises NotThere if it is not there as the member has left it."""
        sized = file.with_size(verdict.size)
        super().__init__(
            sized,
            files,
            parts_folder(files),
            journal_above=sized.size,
            group_sync=group_sync,
            check_lease=check,
            name=verdict.name,
            complete=ByteRanges([Span(0, sized.size)]),
        )
        if not file.sized:
            self.end(sized.size)
        self._storage.unsynced = False

    def _open(self) -> PartialFile:
        found = PartialFile.resume(self._files, self._path, name=self.file.path, size=self.file.size)
        if found is None:
            raise NotThere(f"{self._path} is not there any more")
        return found
