"""One of several processes that download one artifact together: what it needs of the volume in place of the lease."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.shards.board import Verdict
from downloader.shards.partial import ReceivedPartial, SharedPartial, parts_folder
from downloader.volume import GroupSync, Partial, sync_together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from downloader.artifact import RemoteFile
    from downloader.shards.board import Board
    from downloader.volume import VerifiedFile, VolumeEnvironment


class Member:
    """Opens partials and reports verified files for one member; used like the volume by the sink of an attempt.

    `is_shared` says of a file whether several processes may fetch it. `check` raises once another process may have
    taken over the work of this one, and for the leader once it has lost its lease.
    """

    def __init__(
        self,
        board: Board,
        volume: VolumeEnvironment,
        is_shared: Callable[[RemoteFile], bool],
        *,
        check_lease: Callable[[], None] = lambda: None,
        commit: Callable[[Iterable[VerifiedFile]], None] | None = None,
    ) -> None:
        """`commit` gives files their final names, for the leader; without it they are left to the leader."""
        self.board = board
        self._files = volume.files
        self._group_sync = GroupSync(volume.unsynced_limit, self._files.sync_everything, written=board.flush)
        self._is_shared = is_shared
        self._check_lease = check_lease
        self._commit = commit

    @property
    def is_leader(self) -> bool:
        """Whether this member gives files their final names."""
        return self._commit is not None

    def is_shared(self, file: RemoteFile) -> bool:
        """Return whether several processes may fetch ranges of a file."""
        return self._is_shared(file) and not self.board.is_whole(file)

    def is_done(self, file: RemoteFile) -> bool:
        """Return whether this member has nothing more to do for a file."""
        if self.is_leader:
            return self.board.is_final(file)
        return self.board.is_final(file) or self.board.verdict(file) is not None

    def received(self, file: RemoteFile, verdict: Verdict) -> Partial:
        """Return a file as another member has left it. Raises NotThere if it is gone."""
        return ReceivedPartial(file, self._files, verdict, group_sync=self._group_sync, check=self.check)

    def check(self) -> None:
        """Raise LeaseLost if this process must write no more."""
        self._check_lease()
        self.board.check()

    def partial(self, file: RemoteFile) -> Partial:
        """Return the file's partial: one that all members fill, or one that only this member knows."""
        if self.is_shared(file):
            return SharedPartial(file, self._files, self.board, group_sync=self._group_sync, check=self.check)
        # Under a name of its own: what this process says of it stays true even if another fetches the file, too.
        return Partial(
            file,
            self._files,
            parts_folder(self._files),
            journal_above=file.size,
            group_sync=self._group_sync,
            check_lease=self.check,
            name=f"{file.identity}.{self.board.token}.part",
        )

    def commit(self, files: Iterable[VerifiedFile]) -> None:
        """Give verified files their final names, or leave them to the leader, on the disk."""
        verified = list(files)
        if not verified:
            return
        places = {each.partial.file.identity: each.place for each in verified if each.place}
        if self._commit is not None:
            self._commit(verified)
            self.board.add_final((each.partial.file for each in verified), places)
            return
        together = sync_together(self._files, (each.partial for each in verified))
        synced = [(each, each.partial.sync(synced=together)) for each in verified]
        self.check()
        self.board.add_verified(
            (
                (each.partial.file, Verdict(each.sha256, each.proof, each.partial.name, each.partial.file.size))
                for each, _ in synced
            ),
            places,
        )
        for _, partial in synced:
            partial.leave()
