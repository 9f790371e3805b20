"""The check of a repository in a cache: the blobs that its mark lists, and the names that lead to them.

The mark says what a blob must be. What `huggingface_hub` reads is a snapshot, so that is what is selected and reported:
a link that leads to no blob is damage, one to a blob that no run of ours has verified is named as unlisted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from downloader.errors import IntegrityError, UsageError
from downloader.filesystem import Kind, absolute, is_folder
from downloader.formatting import format_count, names_text
from downloader.hub_cache.disk import CacheDisk
from downloader.hub_cache.layout import BLOBS, REFS, SNAPSHOTS, link_text, snapshot_path
from downloader.hub_cache.references import read_reference
from downloader.integrity import artifact_digest
from downloader.sources.hub_address import COMMIT
from downloader.volume import Damage, RecordedArtifact, Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from downloader.volume import Verification

_FOLDER = re.compile(r"(?:models|datasets|spaces)--.+")
_LINK = re.compile(rf"(?:\.\./)+({BLOBS}/[^/]+)")


@dataclass(frozen=True, slots=True)
class CachedSnapshot:
    """The chosen files of one snapshot, by the names that the repository has for them. No link of it is broken."""

    commit: str
    digests: Mapping[str, str]
    """Path → sha256 of each file of which every byte is right."""
    places: Mapping[str, str]
    """Path → where its bytes are in the folder of the repository, also of files that no run of ours has verified."""

    @property
    def beside(self) -> list[str]:
        """The files that no run of ours has verified."""
        return [path for path in self.places if path not in self.digests]


@dataclass(frozen=True, slots=True)
class CachedTarget:
    """A target that is the folder of a repository in a cache, or one snapshot of it."""

    folder: Path
    commit: str = ""
    """The snapshot that the target names; empty for all of them."""

    @classmethod
    def of(cls, target: Path) -> CachedTarget | None:
        """Return what a target is; None for a plain folder."""
        target = absolute(target)
        if COMMIT.fullmatch(target.name) and target.parent.name == SNAPSHOTS:
            folder, commit = target.parent.parent, target.name
        else:
            folder, commit = target, ""
        return cls(folder, commit) if _FOLDER.fullmatch(folder.name) and is_folder(folder / SNAPSHOTS) else None

    @staticmethod
    def below(cache: Path) -> list[str]:
        """Return the names of the folders of repositories in a folder that may be a cache."""
        try:
            return sorted(
                path.name for path in cache.iterdir() if (found := CachedTarget.of(path)) and not found.commit
            )
        except OSError:
            return []

    def at(self, revision: str) -> CachedTarget:
        """Return it with the snapshot of a commit, or of a branch or tag that a reference names.

        Raises UsageError if it has no such snapshot.
        """
        commit = revision
        if not COMMIT.fullmatch(revision):
            with CacheDisk(self.folder, create=False) as disk:
                commit = read_reference(disk, f"{REFS}/{revision}")
        if not COMMIT.fullmatch(commit) or not is_folder(self.folder / SNAPSHOTS / commit):
            hint = f"those that are there are in {self.folder}/{REFS} and {self.folder}/{SNAPSHOTS}"
            raise UsageError(f"{self.folder} has no snapshot of {revision!r}", hint=hint)
        return replace(self, commit=commit)

    def verify(
        self,
        verify: Callable[[Volume, Callable[[Collection[str]], Collection[str]]], Verification],
        choose: Callable[[Collection[str]], Collection[str]],
        *,
        further: Callable[[Volume, Sequence[CachedSnapshot]], None],
        keep_pages: bool = False,
    ) -> Verification:
        """Verify the blobs of the chosen files and the links to them.

        `verify` hashes those files of a volume that a function chooses; `choose` is that of the filters, for the names
        that the repository has. If nothing is damaged, `further` gets the snapshots with chosen files, and may raise.
        With `keep_pages`, what is read stays in the page cache.
        """
        disk = CacheDisk(self.folder, create=False)
        disk.keeps_pages = keep_pages
        with Volume(self.folder, files=disk) as volume:
            names = _Names.of(disk, self.commit, choose)
            found = verify(volume, names.blobs_among)
            unlisted = tuple(path for path, blob in names.links.items() if blob not in names.listed)
            broken = (*names.broken, *_lost_references(disk))
            if not (broken or found.damaged):
                further(volume, names.snapshots(found.digests))
            artifact = self._artifact(disk, volume.recorded()) if not (broken or found.damaged) else {}
        right = artifact and all(found.digests.get(blob) for blob in artifact.values())
        digest = artifact_digest({path: found.digests[blob] for path, blob in artifact.items()}) if right else ""
        return replace(found, damaged=(*found.damaged, *broken), unlisted=unlisted, digest=digest)

    def recorded(self) -> RecordedArtifact:
        """Return what is recorded of the files of the snapshot, by the names that the repository has for them.

        Without a commit, that is the snapshot that was downloaded last. Raises IntegrityError if nothing is recorded of
        one of them.
        """
        disk = CacheDisk(self.folder, create=False)
        with Volume(self.folder, files=disk) as volume:
            mark = volume.recorded()
            artifact = self._artifact(disk, mark)
            lacking = [path for path, blob in artifact.items() if blob not in mark.listed]
        if lacking or not artifact:
            raise IntegrityError(
                f"{format_count(len(lacking), 'file')} of the snapshot in {self.folder} not verified by our downloads"
                f" ({names_text(lacking)})"
                if lacking
                else f"{self.folder} has no file of the snapshot {self.commit or mark.revision}",
                hint="download this revision again; what is right is kept",
            )
        digests = {path: mark.listed[blob] for path, blob in artifact.items()}
        return RecordedArtifact(mark.source, self.commit or mark.revision, digests, digests)

    def _artifact(self, disk: CacheDisk, mark: RecordedArtifact) -> dict[str, str]:
        """Return path → place of its bytes for the files of the snapshot; of the last download, those that it chose."""
        commit = self.commit or mark.revision
        names = _Names.of(disk, commit, lambda paths: paths)
        prefix = snapshot_path(commit, "")
        blobs = {**names.links, **{path: path for path in names.files}}
        if commit == mark.revision:
            blobs = {path: blob for path, blob in blobs.items() if blob in mark.digests}
        return {path.removeprefix(prefix): blob for path, blob in blobs.items()}


@dataclass(slots=True)
class _Names:
    """The chosen files of the snapshots, by their paths in the folder of the repository."""

    links: dict[str, str] = field(default_factory=dict)
    """Path of a link → path of its blob."""
    files: set[str] = field(default_factory=set)
    """Regular files, as they are where a volume has no symlinks."""
    broken: list[Damage] = field(default_factory=list)
    listed: frozenset[str] = frozenset()
    """What the mark lists."""

    @classmethod
    def of(cls, disk: CacheDisk, commit: str, choose: Callable[[Collection[str]], Collection[str]]) -> _Names:
        """Read the snapshots, or only the one of a commit."""
        names = cls()
        for one in [commit] if commit else sorted(disk.scan(SNAPSHOTS)):
            kinds = dict(_walk(disk, f"{SNAPSHOTS}/{one}"))
            for path in choose(list(kinds)):
                names._add(disk, one, path, kinds[path])
        return names

    def _add(self, disk: CacheDisk, commit: str, path: str, kind: Kind) -> None:
        place = snapshot_path(commit, path)
        if kind is not Kind.SYMLINK:
            self.files.add(place)
            return
        text = disk.link_text(place) or ""
        match = _LINK.fullmatch(text)
        if match is None or text != link_text(path, match[1]):
            self.broken.append(Damage(place, f"leads to {text!r}, which is not a blob of the repository"))
        elif disk.stat(match[1]) is None:
            self.broken.append(Damage(place, f"leads to {match[1]}, which is missing"))
        else:
            self.links[place] = match[1]

    def snapshots(self, digests: Mapping[str, str]) -> list[CachedSnapshot]:
        """Return the snapshots with chosen files. `digests` has the sha256 of the blobs that are right."""
        places: dict[str, dict[str, str]] = {}
        for name, place in sorted({**self.links, **{name: name for name in self.files}}.items()):
            _, commit, path = name.split("/", 2)
            places.setdefault(commit, {})[path] = place
        return [
            CachedSnapshot(commit, {path: digests[place] for path, place in found.items() if digests.get(place)}, found)
            for commit, found in places.items()
        ]

    def blobs_among(self, listed: Collection[str]) -> Collection[str]:
        """Return those of the listed files that the chosen names lead to."""
        self.listed = frozenset(listed)
        wanted = self.files.union(self.links.values())
        return [path for path in listed if path in wanted]


def _walk(disk: CacheDisk, top: str) -> Iterator[tuple[str, Kind]]:
    """Yield the path below `top` and the kind of everything but folders."""
    todo = [""]
    while todo:
        folder = todo.pop()
        for name, kind in disk.scan(f"{top}/{folder}".rstrip("/")).items():
            path = f"{folder}/{name}".lstrip("/")
            if kind is Kind.FOLDER:
                todo.append(path)
            else:
                yield path, kind


def _lost_references(disk: CacheDisk) -> Iterator[Damage]:
    """Yield the references that name a commit without a snapshot."""
    for path, _ in _walk(disk, REFS):
        commit = read_reference(disk, f"{REFS}/{path}")
        if not COMMIT.fullmatch(commit) or disk.stat(f"{SNAPSHOTS}/{commit}") is None:
            yield Damage(f"{REFS}/{path}", f"names {commit[:40]!r}, of which there is no snapshot")
