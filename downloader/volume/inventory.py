"""What a volume has of an artifact, and what is missing. `scanner.py` finds it out.

An artifact may have a million files, so entries are kept in tables and made when they are asked for.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, overload

from downloader.artifact import DIGEST, paths_of, select, sizes_of
from downloader.integrity import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from downloader.artifact import RemoteFile
    from downloader.integrity import Origin
    from downloader.volume.cleanup import StaleFile


class FileState(Enum):
    """How complete a file is."""

    VERIFIED = "verified"
    """Under its final name, and known to be right."""
    UNVERIFIED = "unverified"
    """Under its final name with the right size: `Volume.check` hashes it to find out."""
    PARTIAL = "partial"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class InventoryEntry:
    """What the volume has of one file."""

    file: RemoteFile
    state: FileState
    done_bytes: int = 0
    """Bytes that need not be fetched, unless they turn out to be wrong."""
    sha256: str | None = None
    """A verified file's digest, or the one that an unverified file must have; None if only others are published."""
    needed_bytes: int = 0
    """Bytes on the volume that it will still take."""
    proof: str = UNKNOWN
    """Of a verified file: the published digest that its bytes agreed with when they arrived."""
    replaces: bool = False
    """Of a file to fetch: another file has its name now."""


class _Kind(NamedTuple):
    """What many entries have in common."""

    state: FileState = FileState.MISSING
    proof: str = UNKNOWN
    replaces: bool = False
    has_sha256: bool = False


class Entries(Sequence[InventoryEntry]):
    """The entry of each file, in the order of the manifest. They are made when they are asked for.

    Of most files path, size and at most a sha256 are their own, and the rest is one of a few kinds. The others, which
    are few, are kept as they are.
    """

    def __init__(self, files: Sequence[RemoteFile], found: Iterable[tuple[int, InventoryEntry]] = ()) -> None:
        """`found` are entries, each with its row. A file without one is missing."""
        self.files = files
        self._kinds = [_Kind()]
        self._rows = array("I", bytes(4 * len(files)))
        """The number of the kind of each file."""
        self._sha256 = bytearray()
        self._others: dict[int, InventoryEntry] = {}
        for row, entry in found:
            self._add(row, entry)

    def _add(self, row: int, entry: InventoryEntry) -> None:
        if entry.state is FileState.PARTIAL or not entry.file.sized:
            self._others[row] = entry
        elif entry.sha256 is not None:
            self._sha256 = self._sha256 or bytearray(DIGEST * len(self.files))
            self._sha256[DIGEST * row : DIGEST * (row + 1)] = bytes.fromhex(entry.sha256)
        kind = _Kind(entry.state, entry.proof, entry.replaces, entry.sha256 is not None)
        if kind not in self._kinds:
            self._kinds.append(kind)
        self._rows[row] = self._kinds.index(kind)

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, row: int) -> InventoryEntry: ...

    @overload
    def __getitem__(self, row: slice) -> Sequence[InventoryEntry]: ...

    def __getitem__(self, row: int | slice) -> InventoryEntry | Sequence[InventoryEntry]:
        if isinstance(row, slice):
            return SomeEntries(self, range(len(self))[row])
        if row in self._others:
            return self._others[row]
        file, kind = self.files[row], self._kinds[self._rows[row]]
        done, needed = (0, file.size) if kind.state is FileState.MISSING else (file.size, 0)
        sha256 = self._sha256[DIGEST * row : DIGEST * (row + 1)].hex() if kind.has_sha256 else None
        return InventoryEntry(file, kind.state, done, sha256, needed, kind.proof, kind.replaces)

    def rows(self, *states: FileState) -> array[int]:
        """Return the rows of the entries in one of these states."""
        return self._having(lambda kind: kind.state in states)

    def _having(self, wanted: Callable[[_Kind], bool]) -> array[int]:
        numbers = {number for number, kind in enumerate(self._kinds) if wanted(kind)}
        return array("I", (row for row, number in enumerate(self._rows) if number in numbers))

    def proof(self, row: int) -> str:
        """Return the proof of an entry, which need not be made for that."""
        return self._kinds[self._rows[row]].proof

    @property
    def proofs(self) -> set[str]:
        """What has verified the verified files."""
        return {kind.proof for kind in self._kinds if kind.state is FileState.VERIFIED}

    @property
    def present(self) -> array[int]:
        """The rows of files to fetch, or to hash, whose name another file has now."""
        return self._having(lambda kind: kind.replaces or kind.state is FileState.UNVERIFIED)

    @property
    def needed_bytes(self) -> int:
        """Bytes on the volume that the files will still take."""
        sizes = sizes_of(self.files)
        missing = (sizes[row] for row in self.rows(FileState.MISSING) if row not in self._others)
        return sum(missing) + sum(entry.needed_bytes for entry in self._others.values())

    @property
    def partial_bytes(self) -> int:
        """Bytes of files to fetch that need not be."""
        return sum(entry.done_bytes for entry in self._others.values() if entry.state is FileState.PARTIAL)


class SomeEntries(Sequence[InventoryEntry]):
    """Some of the entries."""

    def __init__(self, entries: Entries, rows: Sequence[int]) -> None:
        self._entries = entries
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, position: int) -> InventoryEntry: ...

    @overload
    def __getitem__(self, position: slice) -> Sequence[InventoryEntry]: ...

    def __getitem__(self, position: int | slice) -> InventoryEntry | Sequence[InventoryEntry]:
        if isinstance(position, slice):
            return SomeEntries(self._entries, self._rows[position])
        return self._entries[self._rows[position]]


@dataclass(frozen=True, slots=True)
class MissingFiles:
    """Files that have to be fetched."""

    files: Sequence[RemoteFile]
    done_bytes: int
    """Bytes of them that need not be."""
    present: frozenset[str]
    """Paths of which the volume has another file now."""

    def __len__(self) -> int:
        return len(self.files)


@dataclass(frozen=True, slots=True)
class Inventory:
    """What the volume has of one manifest."""

    entries: Entries
    """In the order of the manifest."""
    published: bool
    """The artifact is complete: every file is verified, the completion mark is there, and no run has left anything."""
    shared: bool = False
    """Several processes have divided the work on an artifact here, and have not finished it."""
    stale_files: tuple[StaleFile, ...] = ()
    """What `Volume.reclaim` would remove."""
    ours: frozenset[str] = field(default=frozenset(), repr=False)
    """Paths of files that this project has put on the volume at some time."""
    outdated: frozenset[str] = field(default=frozenset(), repr=False)
    """Files of an earlier run in a folder where the artifact has a file of that name."""
    listed: Mapping[str, Origin] = field(default_factory=dict, repr=False)
    """Paths of finished runs and the artifact that each belongs to: those of another artifact, of another revision of
    this one, and those that the manifest does not have."""
    unpacked: Mapping[str, str] | None = field(default=None, repr=False)
    """Path → sha256 of what is published in the place of these entries; None if that is the entries themselves."""

    def having(self, *states: FileState) -> Sequence[InventoryEntry]:
        """Return the entries in one of these states."""
        return SomeEntries(self.entries, self.entries.rows(*states))

    def missing(self, wrong: Collection[str] = ()) -> MissingFiles:
        """Return the files that are not there, in whole or in part, and those that are `wrong`."""
        paths = paths_of(self.entries.files)
        unverified = self.entries.rows(FileState.VERIFIED, FileState.UNVERIFIED)
        refused = [row for row in unverified if paths[row] in wrong] if wrong else []
        rows = array("I", sorted([*self.entries.rows(FileState.PARTIAL, FileState.MISSING), *refused]))
        present = {paths[row] for row in self.entries.present} & {paths[row] for row in rows}
        return MissingFiles(select(self.entries.files, rows), self.entries.partial_bytes, frozenset(present))

    @property
    def digests(self) -> dict[str, str]:
        """Path → sha256 of every verified file."""
        return {entry.file.path: entry.sha256 or "" for entry in self.having(FileState.VERIFIED)}

    @property
    def needed_bytes(self) -> int:
        """Bytes on the volume that the files will still take."""
        return self.entries.needed_bytes
