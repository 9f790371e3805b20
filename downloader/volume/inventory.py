"""What the volume has of an artifact, and what it lacks: by metadata alone, nothing is hashed here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from downloader.errors import VolumeError
from downloader.filesystem import Kind, stats_of
from downloader.integrity import MARKER, UNKNOWN, may_combine
from downloader.lease import PARTS, WORK
from downloader.volume import cleanup, journal
from downloader.volume.commit import occupied
from downloader.volume.known_files import KnownFiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.artifact import Completion, Manifest, RemoteFile
    from downloader.filesystem import FileOperations, Stat
    from downloader.integrity import Origin


class FileState(Enum):
    """How far a file is."""

    VERIFIED = "proved"
    """Under its final name, and known to be right."""
    UNVERIFIED = "unproved"
    """Under its final name with the right size: `Volume.check` hashes it to find out."""
    PARTIAL = "partial"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class InventoryEntry:
    """What the volume has of one file."""

    file: RemoteFile
    state: FileState
    done_bytes: int = 0
    """Bytes that need not be fetched, if nothing turns out to be wrong with them."""
    sha256: str | None = None
    """Of a proved file its digest; of an unproved one the digest that it must have, None if only others are known."""
    needed_bytes: int = 0
    """Room that it still takes."""
    proof: str = UNKNOWN
    """Of a proved file: what its source had published that its bytes agreed with when they came."""
    replaces: bool = False
    """Of one that has to be fetched: another file of this name is there."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What the volume has of one manifest."""

    entries: tuple[InventoryEntry, ...]
    """In the order of the manifest."""
    published: bool
    """The artifact is complete: all files proved, the checksum file stands, and nothing of a run is left."""
    leftovers: tuple[cleanup.Leftover, ...] = ()
    """What `Volume.reclaim` would remove."""
    ours: frozenset[str] = field(default=frozenset(), repr=False)
    """Paths of files that this project has put on the volume at some time."""
    outdated: frozenset[str] = field(default=frozenset(), repr=False)
    """Files that an earlier run has brought, in folders in whose place the artifact has files."""
    listed: Mapping[str, Origin] = field(default_factory=dict, repr=False)
    """Paths that finished runs have brought, and the artifact that each is of: those of another artifact, of another
    revision of this one, and those that the manifest does not have."""

    def having(self, *states: FileState) -> list[InventoryEntry]:
        """Return the entries in one of these states."""
        return [entry for entry in self.entries if entry.state in states]

    @property
    def digests(self) -> dict[str, str]:
        """The sha256 of every proved file by its path."""
        return {entry.file.path: entry.sha256 or "" for entry in self.having(FileState.VERIFIED)}

    @property
    def needed_bytes(self) -> int:
        """Room that the files take which are still to come."""
        return sum(entry.needed_bytes for entry in self.entries)

    @property
    def needed_files(self) -> int:
        """Files that are still to come."""
        return len(self.having(FileState.PARTIAL, FileState.MISSING))


class InventoryScanner:
    """Looks at a volume for one manifest.

    Raises VolumeError where a folder with something in it stands in the place of a file.
    """

    def __init__(self, files: FileOperations, manifest: Manifest, journal_above: int, completion: Completion) -> None:
        for file in manifest.files:
            if file.path == MARKER or file.path.partition("/")[0] == WORK:
                raise VolumeError(f"the artifact has a file {file.path}, a name that this program needs for itself")
        if files.scan(MARKER):
            raise VolumeError(
                f"{files.name}/{MARKER} is a folder with something in it, and this program needs that name for itself",
                hint="move it away, or use another target folder",
            )
        self._files = files
        self._manifest = manifest
        self._journal_above = journal_above
        self._evidence = KnownFiles(files, manifest, completion)
        self._outdated: set[str] = set()
        self._work = files.scan(WORK)
        self._parts = {
            name: f"{WORK}/{folder}"
            for folder, kind in self._work.items()
            if kind is Kind.FOLDER and folder.startswith(PARTS)
            for name in files.scan(f"{WORK}/{folder}")
        }

    def scan(self, now_ns: int) -> Inventory:
        """Return what is there. `now_ns` is the time by which other tools' leftovers are judged."""
        found = stats_of(self._files, (file.path for file in self._manifest.files))
        entries = [self._hold(file, found.get(file.path)) for file in self._manifest.files]
        folders = {"", *(file.path.rpartition("/")[0] for file in self._manifest.files)}
        proved = all(entry.state is FileState.VERIFIED for entry in entries)
        return Inventory(
            tuple(entries),
            published=proved and self._evidence.is_published and not self._work,
            leftovers=(
                *self._stale_parts(entries),
                *cleanup.others(self._files, folders, now_ns, self._evidence.ours | found.keys()),
            ),
            ours=frozenset(self._evidence.ours),
            listed=self._evidence.others,
            outdated=frozenset(self._outdated),
        )

    def _hold(self, file: RemoteFile, found: Stat | None) -> InventoryEntry:
        if found is not None:
            if not file.sized and may_combine(file):
                file = file.with_size(found.size)  # its digest, or its validator, will tell whether that is right
            known = self._evidence.known(file, found)
            if known is not None:
                sha256, proof = known
                return InventoryEntry(file, FileState.VERIFIED, file.size, sha256, proof=proof)
            expected = self._evidence.expected(file)
            if found.kind is Kind.FILE and found.size == file.size and (expected or file.digests):
                return InventoryEntry(file, FileState.UNVERIFIED, file.size, expected)
            if found.kind is Kind.FOLDER:
                self._outdated |= self._only_ours(file.path)
        entry = self._hold_partial(file)
        return replace(entry, replaces=True) if found is not None and found.kind is Kind.FILE else entry

    def _only_ours(self, folder: str) -> set[str]:
        """Return the files of a folder, all of which an earlier run has brought. Raises VolumeError for any other."""
        inside: set[str] = set()
        todo = [folder]
        while todo:
            here = todo.pop()
            for name, kind in self._files.scan(here).items():
                path = f"{here}/{name}"
                if kind is Kind.FOLDER:
                    todo.append(path)
                elif self._evidence.is_unchanged(path, self._files.stat(path)):
                    inside.add(path)
                else:
                    raise occupied(self._files.name, folder, path)
        return inside

    def _hold_partial(self, file: RemoteFile) -> InventoryEntry:
        """Count what the journal says; bytes that only lie in the partial take no more room, but are fetched again."""
        part, lines = f"{file.identity}.part", f"{file.identity}.journal"
        if part not in self._parts or lines not in self._parts or not self._is_resumable(file):
            return InventoryEntry(file, FileState.MISSING, needed_bytes=file.size)
        found = self._files.stat(f"{self._parts[part]}/{part}")
        if found is None or found.kind is not Kind.FILE or found.size != file.size:
            return InventoryEntry(file, FileState.MISSING, needed_bytes=file.size)
        done = journal.load(self._files, f"{self._parts[lines]}/{lines}", file.identity, file.size).size
        if not done:
            return InventoryEntry(file, FileState.MISSING, needed_bytes=file.size)
        needed = file.size - max(done, min(found.allocated, file.size))
        return InventoryEntry(file, FileState.PARTIAL, done, needed_bytes=needed)

    def _is_resumable(self, file: RemoteFile) -> bool:
        return file.size > self._journal_above and may_combine(file)

    def _stale_parts(self, entries: list[InventoryEntry]) -> list[cleanup.Leftover]:
        identities = {entry.file.identity for entry in entries if entry.state is not FileState.VERIFIED}
        folders = sorted(set(self._parts.values()))
        return [leftover for folder in folders for leftover in cleanup.ours(self._files, folder, identities)]
