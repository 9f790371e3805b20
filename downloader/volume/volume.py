"""The volume: the folder an artifact lands in. Nothing is lost, and nothing is trusted that does not prove itself.

Under the target are the artifact's files, `.artifact.sha256` once all of them are right, and until then `.downloading/`
with everything else: the lease, the partials and their journals, the ledger.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from downloader.artifact import Completion
from downloader.errors import IntegrityError, InternalError, VolumeError
from downloader.filesystem import Disk, discard, stats_of
from downloader.integrity import ContentCheck
from downloader.lease import WORK, LeaseAcquirer, boot_clock
from downloader.volume import cleanup, publication, verify
from downloader.volume.commit import Committer
from downloader.volume.commit_log import CommitLog, Entry
from downloader.volume.completion import invalidate, listed, may_be_in_place, standing
from downloader.volume.group_sync import GroupSync
from downloader.volume.inventory import FileState, Inventory, InventoryEntry, InventoryScanner
from downloader.volume.known_files import recorded
from downloader.volume.names import require_names
from downloader.volume.partial import Partial
from downloader.volume.space import require_space
from downloader.volume.stamp import CompletedArtifact, find_completed, hash_of, latest
from downloader.volume.verify import Reading, Verification, adopt

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from downloader.artifact import Manifest, RemoteFile
    from downloader.filesystem import FileOperations
    from downloader.lease import Lease
    from downloader.volume.commit import VerifiedFile

JOURNAL_ABOVE = 4 << 20
"""Bytes above which a file has a journal."""
BATCH = 16 << 20
"""Bytes, of all files together, that wait for a sync; twice as many may, and be fetched again, if the run is killed.

Measured on ext4 with direct writes: 16, 32, 64 MiB and no syncs at all differ less than the noise does.
"""
TTL = 60.0
"""Seconds after which a lease that was not seen to change counts as its holder's death."""

_log = logging.getLogger(__name__)


class Volume:
    """A target folder.

    `files` replaces the real file system, `clock` (seconds, monotonic) and `wall_clock` replace the real clocks.
    Raises VolumeError if the target is no folder or cannot be reached; with `create` it is made if it is missing.
    """

    def __init__(
        self,
        target: Path,
        *,
        create: bool = True,
        files: FileOperations | None = None,
        ttl: float = TTL,
        clock: Callable[[], float] = boot_clock,
        wall_clock: Callable[[], float] = time.time,
        journal_above: int = JOURNAL_ABOVE,
        batch: int = BATCH,
        completion: Completion = Completion.FILE,
    ) -> None:
        self.target = target
        self._files = files or Disk(target, create=create)
        self._ttl = ttl
        self._clock = clock
        self._wall_clock = wall_clock
        self._journal_above = journal_above
        self._completion = completion
        self._batch = GroupSync(batch, self._files.sync_everything)
        self._ours: frozenset[str] = frozenset()
        self._proofs: dict[str, str] = {}
        self._obsolete: frozenset[str] = frozenset()
        self._outdated: frozenset[str] = frozenset()
        self._session: _Session | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the target. The lease must be over."""
        self._files.close_all()

    def oldest_operation(self) -> tuple[str, float] | None:
        """Return what has been waiting for the file system longest and for how many seconds; never blocks."""
        return self._files.oldest_operation()

    @contextmanager
    def lease(
        self,
        uri: str,
        *,
        waiting: Callable[[str, float], None] = lambda _holder, _seconds: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Iterator[None]:
        """Hold the volume for the artifact `uri`: needed for everything that changes something.

        `waiting` hears who holds it and for how many seconds they have not been seen alive, before each `sleep`;
        that may raise to end the wait.
        """
        acquirer = LeaseAcquirer(
            self._files,
            uri,
            ttl=self._ttl,
            clock=self._clock,
            sleep=sleep,
            waiting=waiting,
            make_room=self._make_room,
        )
        lease = acquirer.acquire()
        with ExitStack() as last:
            last.callback(lease.release)
            session = self._session = _Session(self._files, lease, lambda path: path in self._ours, self._below)
            last.callback(session.commit_log.close)
            last.callback(setattr, self, "_session", None)
            yield

    def check_lease(self) -> None:
        """Raise LeaseLost if the volume is known to belong to somebody else. Cheap."""
        self._held().lease.check()

    def completed(self) -> CompletedArtifact | None:
        """Return the finished artifact that stands here untouched, by metadata alone. Needs no lease.

        None if an inventory must tell: also where something cannot be looked at, of which it will say why.
        """
        with suppress(VolumeError):
            mark = standing(self._files)
            if mark is not None and may_be_in_place(self._files, mark, self._completion):
                return find_completed(self._files, mark)
        return None

    def published_sizes(self, version: str) -> dict[str, int] | None:
        """Return the sizes of the files that were last published, if that was at this version and all are there.

        Needs no lease. The files may have been changed: `inventory` tells.
        """
        mark = standing(self._files)
        if mark is None or not mark.whole or mark.version != hash_of(version):
            return None
        paths = latest(mark)
        found = stats_of(self._files, paths)
        return {path: details.size for path, details in found.items()} if len(found) == len(paths) else None

    def has(self, path: str) -> bool:
        """Tell whether there is something at a path of the target, whatever it is."""
        return self._files.stat(path) is not None

    def reading(self, path: str) -> Reading:
        """Open a file of the target to read it. Raises VolumeError; the caller closes it."""
        return Reading(self._files, path)

    def inventory(self, manifest: Manifest) -> Inventory:
        """Compare the volume with the manifest, by metadata alone. Needs no lease.

        Raises VolumeError where something that is not ours to remove stands in a file's place.
        """
        inventory = InventoryScanner(self._files, manifest, self._journal_above, self._completion).scan(self._now())
        self._ours, self._outdated = inventory.ours, inventory.outdated
        self._proofs = {entry.file.path: entry.proof for entry in inventory.having(FileState.VERIFIED)}
        return inventory

    def reclaim(self, inventory: Inventory) -> int:
        """Remove the leftovers that the inventory found and return the bytes freed."""
        self._held().lease.confirm()
        return cleanup.reclaim(self._files, inventory.leftovers)

    def proof_of(self, path: str) -> str:
        """Return what proved a file of this run; empty if nobody said. Needs the lease."""
        return (self._proofs | self._held().commit_log.proofs).get(path, "")

    def allocated(self, paths: Iterable[str]) -> int:
        """Return how many bytes the files take."""
        return sum(found.allocated for found in stats_of(self._files, paths).values())

    def remove_outdated(self, paths: Iterable[str]) -> None:
        """Remove files that are about to be replaced, after the mark that speaks of them."""
        self._held().lease.confirm()
        invalidate(self._files)
        for path in paths:
            discard(self._files, path)

    def remove_when_published(self, paths: Iterable[str]) -> None:
        """Have files of earlier runs removed once the artifact that replaces them is complete."""
        self._obsolete = frozenset(paths)

    def tidy(self) -> None:
        """Remove the working folder if it is empty, as a kill in the last moment of a run leaves it. Needs no lease.

        A volume that cannot be written keeps it, and whoever is about to work there makes it again.
        """
        with suppress(VolumeError):
            self._files.remove_folder(WORK)

    def require_names(self, manifest: Manifest) -> None:
        """Raise VolumeError if the volume takes two of the files for one, or refuses a name. Needs the lease."""
        require_names(self._files, self._held().lease.folder, (file.path for file in manifest.files))

    def require_space(self, needed_bytes: int, needed_files: int) -> None:
        """Raise NoSpace unless there is room for that much more."""
        require_space(self._files, needed_bytes, needed_files)

    def check(
        self,
        entry: InventoryEntry,
        progress: Callable[[int], None] = lambda _: None,
        content: ContentCheck | None = None,
    ) -> InventoryEntry | None:
        """Hash an unproved file; return the entry as it is proved now, None if the file has to be fetched.

        `progress` hears the size of each piece, `content` judges what kind of file it is. A right file is synced and
        believed from now on. One that cannot be read, whatever the reason, is as good as missing: fetching it again
        mends it or finds out what is wrong.
        """
        session = self._held()
        try:
            sha256, proof = adopt(self._files, entry.file, entry.sha256, content or ContentCheck(), progress)
        except (VolumeError, IntegrityError) as error:
            _log.info("%s is there but will be fetched again: %s", entry.file.path, error)
            return None
        file = entry.file
        session.commit_log.add([(Entry(file.path, file.size, sha256, file.identity), proof)])
        return replace(entry, state=FileState.VERIFIED, sha256=sha256, proof=proof)

    def partial(self, file: RemoteFile) -> Partial:
        """Return the file's partial, with whatever an earlier run left of it. The caller commits or closes it."""
        session = self._held()
        return Partial(
            file,
            self._files,
            session.lease.folder,
            journal_above=self._journal_above,
            group_sync=self._batch,
            check_lease=session.lease.check,
            in_order=session.in_order,
        )

    def commit(self, files: Iterable[VerifiedFile]) -> None:
        """Give files their final names, durably and with one round of syncs, and close them.

        Raises the first error once the other files have their names.
        """
        self._held().committer.commit(files)

    def publish(self, manifest: Manifest, digests: Mapping[str, str], consumed: Collection[str] = ()) -> None:
        """Declare the artifact complete: write the completion mark and remove everything else that is ours.

        `digests` has the sha256 of every file by its path, of proved, checked and committed ones alike; `consumed` are
        files to remove that the artifact does not have (`Publication`). The lease must be let go right after. Raises
        VolumeError if a file was taken away or resized meanwhile.
        """
        session = self._held()
        session.commit_log.close()
        date = datetime.fromtimestamp(self._wall_clock(), UTC)
        publication.publish(
            self._files,
            session.lease.folder,
            manifest,
            digests,
            date=date,
            proofs=self._proofs | session.commit_log.proofs,
            obsolete=self._obsolete,
            consumed=consumed,
            where=self._completion,
            confirm=session.lease.confirm,
        )
        publication.clear_work(self._files, session.lease.folder)

    def verify(
        self,
        *,
        expect: Callable[[int, int], None] = lambda _bytes, _files: None,
        progress: Callable[[int], None] = lambda _: None,
        selected: Callable[[str], bool] = lambda _: True,
        content: ContentCheck | None = None,
    ) -> Verification:
        """Hash every selected file that the checksum file lists. Needs no lease, no network and no right to write.

        Damaged files are dated anew where that is allowed, so that the next run believes none of them. `expect` hears
        how many bytes and files there are to hash, `progress` of bytes, from several threads. Raises IntegrityError if
        there is no readable checksum file.
        """
        return verify.verify(
            self._files, expect=expect, progress=progress, selected=selected, content=content or ContentCheck()
        )

    def checksums(self) -> bytes:
        """Return the list of a finished artifact as `sha256sum -c` reads it, wherever its mark lives.

        Needs no lease. Raises IntegrityError if there is none, or not all of it.
        """
        return listed(self._files)

    def _below(self, folder: str) -> list[str]:
        return [path for path in self._outdated if path.startswith(f"{folder}/")]

    def _held(self) -> _Session:
        if self._session is None:
            raise InternalError("the volume was to be changed without a lease")
        return self._session

    def _make_room(self) -> bool:
        """Remove leftovers of other tools before anybody knows what the artifact is; tell whether that freed anything.

        Nothing that a run may have brought is one of them.
        """
        found = list(cleanup.others(self._files, [""], self._now()))
        kept = recorded(self._files, (leftover.path for leftover in found))
        return bool(cleanup.reclaim(self._files, (leftover for leftover in found if leftover.path not in kept)))

    def _now(self) -> int:
        return int(self._wall_clock() * 1e9)


class _Session:
    """What lasts as long as the lease."""

    def __init__(
        self, files: FileOperations, lease: Lease, is_ours: Callable[[str], bool], below: Callable[[str], list[str]]
    ) -> None:
        self.lease = lease
        self.commit_log = CommitLog(files)
        self.in_order = lease.in_order
        """The volume takes the bytes of a file only one after the other."""
        if self.in_order:
            _log.warning(
                "%s takes writes only in order, as mounts of object stores do: each file comes in one stream, and one"
                " that is interrupted is fetched again",
                files.name,
            )
        self.committer = Committer(
            files,
            self.commit_log,
            check_lease=lease.check,
            confirm_lease=lease.confirm,
            before_first=lambda: invalidate(files),
            is_ours=is_ours,
            below=below,
        )
