"""Finds out what a volume has of an artifact, by metadata alone: nothing is hashed here.

A file is believed by its metadata only if the completion mark of a finished run vouches for it. All that lies in
`.downloading` is work in progress, which anyone who shares the volume may have put there: it saves fetching, but the
files that it speaks of are hashed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from downloader.artifact import Paths, sizes_of
from downloader.errors import VolumeError
from downloader.filesystem import Kind, stats_of
from downloader.integrity import MARKER, Checksums, Origin, may_combine, sha256_of
from downloader.lease import PARTS, SHARDS, WORK
from downloader.volume import cleanup, journal
from downloader.volume.commit import MOVE, folders_between, in_the_way, occupied
from downloader.volume.completion import is_in_place, last, standing
from downloader.volume.inventory import Entries, FileState, Inventory, InventoryEntry
from downloader.volume.publication import parse_own
from downloader.volume.record_log import read_commit_log
from downloader.volume.records import LOOKED_AT, identity_of, is_unchanged, origin_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from downloader.artifact import Completion, Manifest, RemoteFile
    from downloader.filesystem import FileOperations, Stat


class InventoryScanner:
    """Compares a volume with one manifest.

    Raises VolumeError where a folder with something in it stands in the place of a file, or a file in that of a folder,
    or where the artifact has a name that this program needs.
    """

    def __init__(self, files: FileOperations, manifest: Manifest, journal_above: int, completion: Completion) -> None:
        for path in manifest.paths:
            if path == MARKER or path.partition("/")[0] == WORK:
                raise VolumeError(f"the artifact has a file {path}, a name that this program needs for itself")
        if files.scan(MARKER):
            raise VolumeError(
                f"{files.name}/{MARKER} is a folder with something in it, and this program needs that name for itself",
                hint=MOVE,
            )
        self._files = files
        self._manifest = manifest
        self._journal_above = journal_above
        self._known = KnownFiles(files, manifest, completion)
        self._outdated: set[str] = set()
        self._work = files.scan(WORK)
        self._parts = {
            name: f"{WORK}/{folder}"
            for folder, kind in self._work.items()
            if kind is Kind.FOLDER and folder.startswith(PARTS)
            for name in files.scan(f"{WORK}/{folder}")
        }

    def scan(self, now_ns: int) -> Inventory:
        """Return what is there. `now_ns` is the time by which other tools' files count as stale."""
        paths, foreign, empty = self._manifest.paths, {}, set()
        folders = {"", *(path.rpartition("/")[0] for path in paths)}
        inner: dict[str, list[str]] = {}
        for path in folders_between("", paths):
            inner.setdefault(path.rpartition("/")[0], []).append(path)
        for folder in folders:
            names = self._files.scan(folder)
            for path in inner.get(folder, ()):
                if names.get(path.rpartition("/")[2]) is Kind.FILE and path not in self._known.ours:
                    raise in_the_way(self._files.name, path)
            foreign[folder] = cleanup.maybe_partials(names)
            if not names.keys() - {WORK}:
                empty.add(folder)
        # Only where no run has recorded a file: a network file system may show a folder as it was a moment ago.
        entries = Entries(self._manifest.files, self._found(set() if self._known.ours else empty))
        verified = len(entries.rows(FileState.VERIFIED)) == len(entries)
        kept = Paths(paths)  # those of them that are there
        return Inventory(
            entries,
            published=verified and self._known.is_published and not self._work,
            shared=any(name.startswith(SHARDS) for name in self._work),
            stale_files=(
                *self._stale_partials(entries),
                *cleanup.foreign_partials(
                    self._files, foreign, now_ns, lambda path: path in kept or path in self._known.ours
                ),
            ),
            ours=frozenset(self._known.ours),
            listed=self._known.others,
            outdated=frozenset(self._outdated),
        )

    def _found(self, empty: Collection[str]) -> Iterator[tuple[int, InventoryEntry]]:
        """Yield the row and the entry of each file of which anything may be there. `empty` are folders."""
        files, paths, sizes = self._manifest.files, self._manifest.paths, sizes_of(self._manifest.files)
        for start in range(0, len(files), LOOKED_AT):
            found = stats_of(self._files, paths[start : start + LOOKED_AT], empty)
            for row in range(start, min(start + LOOKED_AT, len(files))):
                details = found.get(paths[row])
                if details is not None or (self._parts and sizes[row] > self._journal_above):
                    yield row, self._entry(files[row], details)

    def _entry(self, file: RemoteFile, found: Stat | None) -> InventoryEntry:
        if found is not None:
            if not file.sized and may_combine(file):
                file = file.with_size(found.size)  # its digest, or its validator, will tell whether that is right
            known = self._known.verified(file, found)
            if known is not None:
                sha256, proof = known
                return InventoryEntry(file, FileState.VERIFIED, file.size, sha256, proof=proof)
            expected = self._known.expected(file)
            hashable = found.kind is Kind.FILE and found.size == file.size and (expected or file.digests)
            if hashable and not self._known.is_another(file, found):
                return InventoryEntry(file, FileState.UNVERIFIED, file.size, expected)
            if found.kind is Kind.FOLDER:
                self._outdated |= self._require_ours(file.path)
        entry = self._partial_entry(file)
        return replace(entry, replaces=True) if found is not None and found.kind is Kind.FILE else entry

    def _require_ours(self, folder: str) -> set[str]:
        """Return the files in a folder. Raises VolumeError if one of them is not as an earlier run published it."""
        inside: set[str] = set()
        todo = [folder]
        while todo:
            parent = todo.pop()
            for name, kind in self._files.scan(parent).items():
                path = f"{parent}/{name}"
                if kind is Kind.FOLDER:
                    todo.append(path)
                elif self._known.is_unchanged(path, self._files.stat(path)):
                    inside.add(path)
                else:
                    raise occupied(self._files.name, folder, path)
        return inside

    def _partial_entry(self, file: RemoteFile) -> InventoryEntry:
        """Count the bytes in the journal. Those that only lie in the partial need no more space, but are fetched."""
        part, lines = (f"{file.identity}.part", f"{file.identity}.journal") if self._parts else ("", "")
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

    def _stale_partials(self, entries: Entries) -> list[cleanup.StaleFile]:
        if not self._parts:
            return []
        names = {name.partition(".")[0] for name in self._parts}
        wanted = entries.rows(FileState.UNVERIFIED, FileState.PARTIAL, FileState.MISSING)
        identities = {identity for row in wanted if (identity := entries[row].file.identity) in names}
        folders = sorted(set(self._parts.values()))
        return [stale for folder in folders for stale in cleanup.stale_partials(self._files, folder, identities)]


class KnownFiles:
    """What the volume records about its files: the mark of a finished run, and the commit log of an unfinished one.

    Verifies a file by its metadata, or names the digest that hashing it must give.
    """

    def __init__(self, files: FileOperations, manifest: Manifest, completion: Completion) -> None:
        self._files = files
        self._completion = completion
        self._commit_log = read_commit_log(files, manifest.paths)
        self._manifest = manifest
        self._mark = standing(files)
        self._last = (self._mark if self._mark and self._mark.records else last(files)) or Checksums({})
        """What the last finished run recorded, even if another run has begun to change it."""
        self._own = parse_own(manifest)
        self._published = self._own.files if self._own else {}
        self.ours = self._last.records.keys() | self._commit_log.keys()
        """Paths of files that this project has put on the volume."""

    @property
    def others(self) -> dict[str, Origin]:
        """Paths that finished runs have listed: for another artifact or revision, or that the manifest lacks."""
        wanted = Origin(self._manifest.origin, self._manifest.revision or "")
        current = Paths(self._manifest.paths)
        origins = ((path, origin_of(self._last, path)) for path in self._last.records)
        return {path: origin for path, origin in origins if origin and (origin != wanted or path not in current)}

    @property
    def is_published(self) -> bool:
        """Whether the mark says that this artifact is complete, provided that every file is verified by it."""
        if self._mark is None or not self._mark.records:
            return False
        if not is_in_place(self._files, self._mark, self._completion, self._own.raw if self._own else None):
            return False
        wanted = Origin(self._manifest.origin, self._manifest.revision or "")
        paths = set(self._manifest.paths)
        if all(origin_of(self._mark, path) == wanted for path in paths):
            return True
        # Published at another revision: that is the same only if that revision had no other files.
        of_this = {path for path in self._mark.files if self._uri_of(path) == wanted.uri}
        return self._mark.whole and bool(of_this) and of_this <= paths

    def _uri_of(self, path: str) -> str:
        origin = origin_of(self._last, path)
        return origin.uri if origin else ""

    def verified(self, file: RemoteFile, found: Stat) -> tuple[str, str] | None:
        """Return sha256 and proof of a file that need not be hashed; None if the mark does not vouch for it."""
        if self._mark is None or found.kind is not Kind.FILE or found.size != file.size:
            return None
        listed = self._listed(file)
        if listed is None or not is_unchanged(self._mark, file.path, found):
            return None
        return listed, self._mark.proof_of(file.path)

    def is_another(self, file: RemoteFile, found: Stat) -> bool:
        """Return whether a file is recorded as verified with another sha256 than it must have."""
        wanted, recorded = self._wanted(file), self._last.files.get(file.path)
        return None not in (wanted, recorded) and wanted != recorded and self.is_unchanged(file.path, found)

    def is_unchanged(self, path: str, found: Stat | None) -> bool:
        """Return whether a finished run has published a file that has not changed since."""
        return found is not None and is_unchanged(self._last, path, found)

    def expected(self, file: RemoteFile) -> str | None:
        """Return the sha256 that the file has if it is right; None if only its other digests can verify it."""
        return self._wanted(file) or self._listed(file) or self._committed(file)

    def _wanted(self, file: RemoteFile) -> str | None:
        return sha256_of(file) or self._published.get(file.path)

    def _listed(self, file: RemoteFile) -> str | None:
        """Return the recorded sha256 if it is of the very content that the manifest has under this path."""
        listed, wanted = self._last.files.get(file.path), self._wanted(file)
        if listed is None or file.path not in self._last.records:
            return None
        same = listed == wanted if wanted else identity_of(self._last, file.path) == file.identity
        return listed if same else None

    def _committed(self, file: RemoteFile) -> str | None:
        """Return the committed sha256 of a file for which the source publishes no digest at all."""
        entry = self._commit_log.get(file.path)
        return entry.sha256 if entry and entry.identity == file.identity and not file.digests else None


def recorded(files: FileOperations, paths: Iterable[str]) -> set[str]:
    """Return those of the paths that a mark or the commit log says a run of ours has put on the volume."""
    found = set(paths)
    listed = [mark.files.keys() for mark in (standing(files), last(files)) if mark]
    return found & set(read_commit_log(files, found)).union(*listed)
