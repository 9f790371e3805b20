"""`Volume`: the whole interface of an artifact's folder.

The work behind each method is in a module of its own. This one is long because callers find here, and only here, what
each method promises, what it raises, and whether it needs the lease.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Self

from downloader.artifact import Completion, Paths, Words
from downloader.deadlines import LEASE_TTL
from downloader.errors import IntegrityError, InternalError, VolumeError
from downloader.filesystem import Disk, Reading, discard, stats_of
from downloader.integrity import MARKER, ContentCheck
from downloader.lease import WORK, LeaseAcquirer, boot_clock
from downloader.volume import cleanup, preflight, publication, verify
from downloader.volume.commit import Committer
from downloader.volume.completion import COMPLETION_ATTRIBUTE, invalidate, last, listed, may_be_in_place, standing
from downloader.volume.inventory import FileState, Inventory, InventoryEntry
from downloader.volume.journal import GroupSync, load
from downloader.volume.partial import Partial
from downloader.volume.record_log import CommitLog, Entry
from downloader.volume.scanner import InventoryScanner, recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from downloader.artifact import Manifest, RemoteFile
    from downloader.errors import LeaseLost
    from downloader.filesystem import FileOperations
    from downloader.lease import Lease
    from downloader.volume.commit import VerifiedFile
    from downloader.volume.journal import ByteRanges
    from downloader.volume.publication import CompletedArtifact, RecordedArtifact
    from downloader.volume.verify import Verification

JOURNAL_ABOVE = 4 << 20
"""Bytes above which a file has a journal."""
UNSYNCED_LIMIT = 16 << 20
"""Bytes, of all files together, after which they are synced; a killed run fetches up to twice as many again.

Measured on ext4 with direct writes: 16, 32, 64 MiB and no syncs at all differ less than repeated runs do.
"""

_log = logging.getLogger(__name__)


class VolumeEnvironment(NamedTuple):
    """What the volume is made of."""

    files: FileOperations
    ttl: float
    """Seconds without a heartbeat after which a process counts as dead,"""
    clock: Callable[[], float]
    """on this clock."""
    unsynced_limit: int
    """Bytes after which partials are synced."""


class Volume:
    """A target folder. Methods that change it need the lease and raise LeaseLost once another process has taken over.

    `files` replaces the real file system; `clock` (seconds, monotonic) and `wall_clock` (seconds since 1970) replace
    the real clocks; `ttl` is in seconds, `journal_above` and `unsynced_limit` in bytes. Raises VolumeError if the
    target is not a folder or cannot be reached; with `create` it is made if it is missing.
    """

    def __init__(
        self,
        target: Path,
        *,
        create: bool = True,
        files: FileOperations | None = None,
        ttl: float = LEASE_TTL,
        clock: Callable[[], float] = boot_clock,
        wall_clock: Callable[[], float] = time.time,
        journal_above: int = JOURNAL_ABOVE,
        unsynced_limit: int = UNSYNCED_LIMIT,
        completion: Completion = Completion.FILE,
    ) -> None:
        self.target = target
        self._files = files or Disk(target, create=create)
        self._ttl = ttl
        self._clock = clock
        self._wall_clock = wall_clock
        self._journal_above = journal_above
        self.completion = completion
        self._unsynced_limit = unsynced_limit
        self._group_sync = GroupSync(unsynced_limit, self._files.sync_everything)
        self._ours: frozenset[str] = frozenset()
        self._proofs: Mapping[str, str] = {}
        self._obsolete: frozenset[str] = frozenset()
        self._outdated: frozenset[str] = frozenset()
        self._session: _Session | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def environment(self) -> VolumeEnvironment:
        """What processes that share the work on the volume need of it besides the lease."""
        return VolumeEnvironment(self._files, self._ttl, self._clock, self._unsynced_limit)

    def close(self) -> None:
        """Close the target folder. The lease must have been released."""
        self._files.close_all()

    def oldest_operation(self) -> tuple[str, float] | None:
        """Return the file system call that has lasted longest, and for how many seconds; never blocks."""
        return self._files.oldest_operation()

    @contextmanager
    def lease(
        self,
        uri: str,
        *,
        waiting: Callable[[str, float], None] = lambda _holder, _seconds: None,
        sleep: Callable[[float], None] = time.sleep,
        on_lost: Callable[[LeaseLost], None] = lambda _error: None,
    ) -> Iterator[None]:
        """Hold the volume's lease for the artifact `uri`.

        Before each `sleep`, `waiting` is called with the holder and the seconds for which its lease has not changed;
        both may raise to end the wait. If another process takes over meanwhile, methods that change the volume raise
        LeaseLost, and `on_lost` is called with it in another thread: the caller may be waiting for something else.
        """
        with self.lease_unless(lambda: False, uri, waiting=waiting, sleep=sleep, on_lost=on_lost):
            yield

    @contextmanager
    def lease_unless(
        self,
        needless: Callable[[], bool],
        uri: str,
        *,
        waiting: Callable[[str, float], None],
        sleep: Callable[[float], None],
        on_lost: Callable[[LeaseLost], None] = lambda _error: None,
    ) -> Iterator[bool]:
        """Hold the lease like `lease`, and yield whether it is held: not if it is `needless` once no process has it."""
        lease = self._acquirer(uri, waiting, sleep, on_lost).acquire(needless)
        if lease is None:
            yield False
            return
        with ExitStack() as cleanups:
            cleanups.callback(lease.release)
            session = self._session = _Session(self._files, lease, lambda path: path in self._ours, self._below)
            cleanups.callback(session.commit_log.close)
            cleanups.callback(setattr, self, "_session", None)
            yield True

    def holder(self, sleep: Callable[[float], None] = time.sleep) -> str:
        """Return the process that holds the lease, with its artifact; empty if none does that is alive.

        Changes nothing. A lease is watched with `sleep` until it changes, or has not changed for its time to live.
        """
        return self._acquirer("", lambda _holder, _seconds: None, sleep, lambda _error: None).living()

    @property
    def in_order(self) -> bool:
        """Whether the volume takes the bytes of a file only in order, each once. Needs the lease."""
        return self._held().lease.in_order

    def check_lease(self) -> None:
        """Raise LeaseLost if another process is known to have taken over. Cheap."""
        self._held().lease.check()

    def staging(self, name: str) -> str:
        """Return the path at which something is made that gets its final name by a rename. Needs the lease.

        A holder that was only frozen does not find it any more, so it cannot rename what another one has made.
        """
        return f"{self._held().lease.folder}/{name}"

    def completed(self) -> CompletedArtifact | None:
        """Return the finished artifact that is here unchanged, by metadata alone. Needs no lease.

        None if only an inventory can tell, also after an error: the inventory will report it.
        """
        with suppress(VolumeError):
            mark = standing(self._files)
            if mark is not None and may_be_in_place(self._files, mark, self.completion):
                return publication.find_completed(self._files, mark)
        return None

    def last_finish(self) -> object:
        """Return what tells the end of one run here from that of the next; None if none has ended. Needs no lease."""
        mark = self._files.stat(MARKER)
        if mark is None:
            return self._files.attribute("", COMPLETION_ATTRIBUTE)
        return mark.inode, mark.mtime_ns, mark.size

    def published_sizes(self, version: str) -> dict[str, int] | None:
        """Return path → bytes of the files that were last published; None if at another version, or if one is gone.

        Needs no lease. The files may have been changed: `inventory` tells.
        """
        return publication.published_sizes(self._files, standing(self._files), version)

    def inventory(self, manifest: Manifest) -> Inventory:
        """Compare the volume with the manifest, by metadata alone. Needs no lease.

        Raises VolumeError where something that is not ours to remove stands in a file's place.
        """
        found = InventoryScanner(self._files, manifest, self._journal_above, self.completion).scan(self._now())
        self._ours, self._outdated = found.ours, found.outdated
        paths = Paths(manifest.paths)
        self._proofs = proofs = Words[str](paths)
        for row in found.entries.rows(FileState.VERIFIED):
            proofs[manifest.paths[row]] = found.entries.proof(row)
        if self._session is not None:
            self._session.commit_log.expect(paths)
        return found

    def has(self, path: str) -> bool:
        """Return whether there is anything at a path of the target. Needs no lease."""
        return self._files.stat(path) is not None

    def reading(self, path: str) -> Reading:
        """Open a file of the target to read it; the caller closes it. Needs no lease. Raises VolumeError."""
        return Reading(self._files, path)

    def beside(self, paths: Collection[str]) -> list[str]:
        """Return the files of the target that are not among these and that publishing does not remove. Needs no lease.

        They are sorted. A folder that cannot be read is one of them, with a slash at its end. Raises nothing.
        """
        return [path for path in verify.beside(self._files, paths) if path not in self._obsolete]

    def allocated(self, paths: Iterable[str]) -> int:
        """Return how many bytes the files take on the volume. Needs no lease."""
        return sum(found.allocated for found in stats_of(self._files, paths).values())

    def reclaim(self, inventory: Inventory) -> int:
        """Remove the stale files that the inventory found and return the bytes freed."""
        self._held().lease.confirm()
        return cleanup.reclaim(self._files, inventory.stale_files)

    def proof_of(self, path: str) -> str:
        """Return what verified a file of this run; empty if that is not recorded."""
        return self._held().commit_log.proof_of(path) or self._proofs.get(path, "")

    def remove_outdated(self, paths: Iterable[str]) -> None:
        """Remove files that are about to be replaced, after the mark that lists them."""
        self._held().lease.confirm()
        invalidate(self._files)
        for path in paths:
            discard(self._files, path)

    def remove_when_published(self, paths: Iterable[str]) -> None:
        """Have files of earlier runs removed once the artifact that replaces them is complete."""
        self._obsolete = frozenset(paths)

    def tidy(self) -> None:
        """Remove the working folder if it is empty, as a kill in the last moment of a run leaves it. Needs no lease.

        A read-only volume keeps it, and a process that is about to work there creates it again.
        """
        with suppress(VolumeError):
            self._files.remove_folder(WORK)

    def require_names(self, manifest: Manifest) -> None:
        """Raise VolumeError if the volume takes two of the files for one, or refuses a name."""
        preflight.require_names(self._files, self._held().lease.folder, manifest.paths)

    def require_space(self, needed_bytes: int, needed_files: int) -> None:
        """Raise NoSpace unless there is room for that much more. Needs no lease."""
        preflight.require_space(self._files, needed_bytes, needed_files)

    def check(
        self,
        entry: InventoryEntry,
        progress: Callable[[int], None] = lambda _: None,
        content: ContentCheck | None = None,
    ) -> InventoryEntry | None:
        """Hash an unverified file; return its entry as verified, or None if the file has to be fetched.

        `progress` is called with the bytes of each piece; `content` rejects what cannot be such a file. A verified file
        is synced. One that cannot be read, for whatever reason, counts as missing: fetching it again repairs it or
        shows what is wrong.
        """
        session, file = self._held(), entry.file
        try:
            sha256, proof = verify.adopt(self._files, file, entry.sha256, content or ContentCheck(), progress)
        except (VolumeError, IntegrityError) as error:
            _log.info("%s exists but will be downloaded again: %s", file.path, error)
            return None
        session.commit_log.add([(Entry(file.path, file.size, sha256, file.identity), proof)])
        return replace(entry, state=FileState.VERIFIED, sha256=sha256, proof=proof)

    def matches(self, entry: InventoryEntry) -> bool:
        """Hash an unverified file; return whether it is right. Needs no lease, and records nothing."""
        try:
            verify.adopt(self._files, entry.file, entry.sha256, ContentCheck(accept_any=True), lambda _: None)
        except (VolumeError, IntegrityError):
            return False
        return True

    def partial(self, file: RemoteFile) -> Partial:
        """Return the file's partial, with the bytes of an earlier run. The caller commits or closes it."""
        session = self._held()
        return Partial(
            file,
            self._files,
            session.lease.folder,
            journal_above=self._journal_above,
            group_sync=self._group_sync,
            check_lease=session.lease.check,
            in_order=session.lease.in_order,
        )

    def take_journal(self, file: RemoteFile, keep: Callable[[ByteRanges], None]) -> None:
        """Have `keep` record what the journal of a file says, then remove the journal: other processes will write."""
        path = f"{self._held().lease.folder}/{file.identity}.journal"
        ranges = load(self._files, path, file.identity, file.size)
        if ranges:
            keep(ranges)
        discard(self._files, path)

    def commit(self, files: Iterable[VerifiedFile]) -> None:
        """Give files their final names, durably and with one round of syncs, and close them.

        Raises the first error once the other files have their names.
        """
        self._held().committer.commit(files)

    def publish(self, manifest: Manifest, digests: Mapping[str, str], consumed: Collection[str] = ()) -> None:
        """Declare the artifact complete: write the completion mark and remove everything else that is ours.

        The arguments are those of a `Publication`. The lease must be released right after. Raises VolumeError if a file
        was removed or resized meanwhile.
        """
        session = self._held()
        session.commit_log.close()
        publication.publish(
            self._files,
            session.lease.folder,
            publication.Publication(manifest, digests, consumed),
            date=datetime.fromtimestamp(self._wall_clock(), UTC),
            proof_of=self.proof_of,
            obsolete=self._obsolete,
            where=self.completion,
            confirm=session.lease.confirm,
        )
        publication.clear_work(self._files, session.lease.folder)

    def verify(
        self,
        *,
        expect: Callable[[int, int], None] = lambda _bytes, _files: None,
        progress: Callable[[int], None] = lambda _: None,
        begun: Callable[[str, int], None] = lambda _path, _size: None,
        choose: Callable[[Collection[str]], Collection[str]] = lambda paths: paths,
        content: ContentCheck | None = None,
    ) -> Verification:
        """Hash the files that the completion mark lists. Needs no lease, network or right to write.

        See `verify.verify` for the arguments. Raises IntegrityError if there is no mark that can be read.
        """
        return verify.verify(
            self._files,
            expect=expect,
            progress=progress,
            begun=begun,
            choose=choose,
            content=content or ContentCheck(),
        )

    def checksums(self) -> bytes:
        """Return the list of a finished artifact as `sha256sum -c` reads it, wherever its mark is. Needs no lease.

        Raises IntegrityError without a mark, or if files that it lists are gone.
        """
        return listed(self._files)

    def recorded(self) -> RecordedArtifact:
        """Return what the completion mark says of the artifact, without hashing. Needs no lease.

        Raises IntegrityError without a mark, or if files that it lists are gone.
        """
        return publication.recorded_artifact(self._files)

    def last_recorded(self) -> RecordedArtifact | None:
        """Return the same of the last run that finished, also where another one has begun to change its files.

        None if no run of ours has finished here, or if files that it listed are gone. Needs no lease.
        """
        mark = last(self._files)
        return publication.of_mark(mark) if mark is not None and mark.records and mark.whole else None

    def _acquirer(
        self,
        uri: str,
        waiting: Callable[[str, float], None],
        sleep: Callable[[float], None],
        on_lost: Callable[[LeaseLost], None],
    ) -> LeaseAcquirer:
        return LeaseAcquirer(
            self._files,
            uri,
            ttl=self._ttl,
            clock=self._clock,
            sleep=sleep,
            waiting=waiting,
            make_room=self._make_room,
            on_lost=on_lost,
        )

    def _below(self, folder: str) -> list[str]:
        return [path for path in self._outdated if path.startswith(f"{folder}/")]

    def _held(self) -> _Session:
        if self._session is None:
            raise InternalError("the volume was to be changed without a lease")
        return self._session

    def _make_room(self) -> bool:
        """Remove stale files of other tools to make room for a lease; return whether that freed anything.

        The artifact's files are not known yet, so all that a run may have put on the volume is kept.
        """
        names = cleanup.maybe_partials(self._files.scan(""))
        found = list(cleanup.foreign_partials(self._files, {"": names}, self._now()))
        kept = recorded(self._files, (stale.path for stale in found))
        return bool(cleanup.reclaim(self._files, (stale for stale in found if stale.path not in kept)))

    def _now(self) -> int:
        return int(self._wall_clock() * 1e9)


class _Session:
    """What exists as long as the lease is held."""

    def __init__(
        self, files: FileOperations, lease: Lease, is_ours: Callable[[str], bool], below: Callable[[str], list[str]]
    ) -> None:
        self.lease = lease
        self.commit_log = CommitLog(files)
        self.committer = Committer(
            files,
            self.commit_log,
            check_lease=lease.check,
            confirm_lease=lease.confirm,
            before_first=lambda: invalidate(files),
            is_ours=is_ours,
            below=below,
        )
        if lease.in_order:
            _log.warning(
                "%s takes writes only in order, as mounts of object stores do: each file comes in one stream, and one"
                " that is interrupted is fetched again",
                files.name,
            )
