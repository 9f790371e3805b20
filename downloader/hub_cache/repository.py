"""The last step of a run into a cache: links the snapshot to the verified blobs, then writes the reference.

The order makes it safe for readers. A snapshot that is new appears by one rename with all its links. The reference, by
which a reader finds it, is replaced by another rename once the links are on the disk. The locks of the library are not
taken: they only spare it fetching a file twice, and what it puts in place is as complete as what is put there here.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from downloader.artifact import Manifest, is_within
from downloader.errors import ConfigurationError, DownloadError, InternalError, VolumeError
from downloader.filesystem import AlreadyThere, clear
from downloader.formatting import format_count, names_text
from downloader.hub_cache.disk import CacheDisk, ReadOnlyCacheDisk
from downloader.hub_cache.layout import BLOBS, SNAPSHOTS, link_text, snapshot_path
from downloader.hub_cache.listings import read_listing, write_listing
from downloader.hub_cache.references import read_reference, write_reference
from downloader.hub_cache.source import BlobSource, RecordedSource
from downloader.lease import WORK
from downloader.sources import Moving, ability
from downloader.volume import FileState, Publication

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from downloader.filters import FileFilter
    from downloader.hub_cache.layout import RepositoryLayout
    from downloader.hub_cache.source import CachedRevision
    from downloader.integrity import Expectation
    from downloader.sources import Source
    from downloader.volume import CompletedArtifact, Inventory, Volume

_BLOB = re.compile(rf"\b{BLOBS}/[0-9a-f]{{40,64}}\b")

log = logging.getLogger(__name__)


class CachedRepository:
    """The folder of one repository in a cache, for one run. A finalizer.

    `folder` is the repository's. Without `symlinks`, as on a volume that has none, the files of a snapshot are regular
    ones, as the library leaves them there: no two revisions share bytes, and a snapshot fills up file by file.
    """

    def __init__(self, folder: Path, layout: RepositoryLayout, *, symlinks: bool = True, offline: bool = False) -> None:
        self.folder = folder
        self._layout = layout
        self._symlinks = symlinks
        self._offline = offline
        self._opened: CacheDisk | None = None
        self._source: BlobSource | None = None

    def wrap(self, source: Source, file_filter: FileFilter, expectation: Expectation) -> BlobSource:
        """Return the source whose files are the blobs. The engine must not filter them again."""
        if self._offline:
            source = RecordedSource(source, self._recorded)
        self._source = BlobSource(
            source,
            file_filter,
            expectation,
            linked=self._has_symlinks,
            named=lambda: self.commit if self._opened is not None else "",
        )
        return self._source

    def look(self) -> ReadOnlyCacheDisk:
        """Return the file system of a run that changes nothing. Raises VolumeError."""
        self._opened = disk = ReadOnlyCacheDisk(self.folder)
        return disk

    def open(self) -> CacheDisk:
        """Create the folder where it is missing, and return its file system. Raises VolumeError.

        An offline run only looks: it succeeds if nothing is missing.
        """
        if self._offline:
            return self.look()
        self._opened = disk = CacheDisk(self.folder)
        try:
            disk.tag_cache()
            # Without it, the library calls the repository corrupted from the first moment to the last.
            if disk.stat(SNAPSHOTS) is None:
                disk.make_folder(SNAPSHOTS)
        except VolumeError:
            disk.close_all()
            raise
        return disk

    @property
    def commit(self) -> str:
        """The commit that the cache has for the revision; empty if it has none."""
        return self._layout.commit or read_reference(self._disk, self._layout.reference)

    @property
    def listed(self) -> CachedRevision | None:
        """The revision that was listed last; None before the first listing."""
        return self._source.revision if self._source is not None else None

    def named(self, message: str) -> str:
        """Return a message with the name of a file before each blob in it."""
        names: dict[str, str] = {}
        for path, blob in self.listed.blobs.items() if self.listed is not None else ():
            names.setdefault(blob, path)
        return _BLOB.sub(lambda found: f"{names[found[0]]} ({found[0]})" if found[0] in names else found[0], message)

    def is_final(self, completed: CompletedArtifact) -> bool:
        """Return False: the mark lists blobs, so only a listing tells whether each name of the snapshot is there."""
        del completed
        return False

    def inventory(self, volume: Volume, manifest: Manifest) -> Inventory:
        """Compare the folder with the blobs of a listing. It is published if the snapshot and the reference are right.

        Other revisions may have been downloaded since, and their marks list these blobs, too. Raises ConfigurationError
        where something is missing and nothing may be asked for.
        """
        found = volume.inventory(manifest)
        lacking = {entry.file.path for entry in found.entries} - {
            entry.file.path for entry in found.having(FileState.VERIFIED)
        }
        # A process that waits for the lease creates the work directory.
        published = not lacking and not self._disk.scan(WORK) and self._is_linked()
        if self._offline and not published:
            names = [path for path, blob in self._revision.blobs.items() if blob in lacking]
            what = f"{format_count(len(names), 'file')}: {names_text(names)}" if names else "links of the snapshot"
            raise _offline(f"{manifest.uri} is not complete in {self.folder}, which lacks {what}")
        return replace(found, published=published)

    def published(self, manifest: Manifest, digests: Mapping[str, str]) -> Mapping[str, str]:
        """Return the files by the names that the repository has for them."""
        del manifest
        return {path: digests[blob] for path, blob in self._revision.blobs.items() if blob in digests}

    def finalize(
        self, volume: Volume, manifest: Manifest, digests: Mapping[str, str], check: Callable[[], None]
    ) -> Publication:
        """Link the snapshot and write the reference, each durably, and return the blobs as what is published.

        Raises VolumeError where something else stands in the place of a link, or the volume takes two names for one.
        """
        volume.check_lease()
        disk, revision = self._disk, self._revision
        if self._has_symlinks():
            try:
                self._link(volume, revision, check)
            except AlreadyThere:  # the library has begun the same snapshot at this moment
                self._link(volume, revision, check)
        write_listing(disk, revision.commit, self._layout.below, revision.listed, volume.staging("listing"))
        if self._layout.reference and self._is_current(revision.commit):
            volume.check_lease()
            write_reference(disk, self._layout.reference, revision.commit, volume.staging("reference"))
        where = snapshot_path(revision.commit, "").rstrip("/")
        log.info("%s in %s/%s", format_count(len(revision.blobs), "file"), self.folder, where)
        return Publication(manifest, digests)

    def _is_current(self, commit: str) -> bool:
        """Return whether the revision is this commit as far as anyone knows.

        If the reference has changed since this run listed its commit, another run or the library has put something
        there that was listed earlier or later than that: only the Hub knows which. Without an answer it stays.
        """
        now, source = self.commit, self._source
        if source is None or now in {"", commit, source.named_before}:
            return True
        moving, why = ability(source, Moving), ""
        try:
            if moving is None or moving.latest() == commit:
                return True
        except DownloadError as error:
            why = f", since the Hub does not say which is newer ({error.message})"
        log.info("%s names commit %s meanwhile, and stays as it is%s", self._layout.reference, now, why)
        return False

    def _recorded(self) -> Manifest:
        """Return what runs have listed of the commit. Raises ConfigurationError if none has, or not all of it."""
        layout, commit = self._layout, self.commit
        listing = read_listing(self._disk, commit)
        below = layout.below
        uri = f"{layout.whole}@{commit}{f'/{below}' if below else ''}"
        files = [file for path, file in sorted(listing.files.items()) if is_within(path, below)]
        if not files or not listing.has(below):
            raise _offline(f"no run has recorded in {self.folder} which files {uri} has")
        single = files[0].path == below
        return Manifest(uri, tuple(files), commit, single=single, whole=layout.whole, below=below)

    @property
    def _disk(self) -> CacheDisk:
        if self._opened is None:
            raise InternalError("the folder of a repository was used before it was opened")
        return self._opened

    @property
    def _revision(self) -> CachedRevision:
        if self.listed is None:
            raise InternalError("the snapshot of a repository was asked for before it was listed")
        return self.listed

    def _has_symlinks(self) -> bool:
        # A folder with blobs has been filled by means of symlinks before.
        return self._symlinks and (self._disk.stat(BLOBS) is not None or self._disk.has_symlinks())

    def _is_linked(self) -> bool:
        disk, revision, reference = self._disk, self._revision, self._layout.reference
        if reference and read_reference(disk, reference) != revision.commit:
            return False
        return not self._has_symlinks() or all(disk.link_text(path) == text for path, text in _links(revision))

    def _link(self, volume: Volume, revision: CachedRevision, check: Callable[[], None]) -> None:
        """Create the links of a snapshot: a new one at once, in one that is there those that are missing or wrong."""
        disk, staged = self._disk, volume.staging("snapshot")
        final = snapshot_path(revision.commit, "").rstrip("/")
        is_new = disk.stat(final) is None
        clear(disk, staged)
        writer = _Links(disk, final, staged, whole=is_new)
        for path, text in _links(revision):
            check()
            writer.add(path, text)
        writer.sync()
        if is_new:
            disk.rename(staged, final)
        disk.sync_folder(SNAPSHOTS)


class _Links:
    """Creates links below `final`: with `whole`, all of them below `staged`, which becomes `final` later."""

    def __init__(self, disk: CacheDisk, final: str, staged: str, *, whole: bool) -> None:
        self._disk = disk
        self._final = final
        self._staged = staged
        self._whole = whole
        self._folders = {staged.rpartition("/")[0]}  # that of the lease: it is not made again once it was lost
        self._changed: set[str] = set()

    def add(self, path: str, text: str) -> None:
        """Create a link, or replace what else is there."""
        place = self._staged + path.removeprefix(self._final) if self._whole else path
        self._make_folders(place.rpartition("/")[0])
        if self._whole:
            try:
                self._disk.symlink(text, place)
            except AlreadyThere as error:
                raise _collision_error(self._disk, path) from error
        elif self._disk.link_text(place) != text:
            clear(self._disk, self._staged)
            self._disk.symlink(text, self._staged)
            self._disk.rename(self._staged, place)
        else:
            return
        self._changed.add(place.rpartition("/")[0])

    def sync(self) -> None:
        """Return when the links survive a power loss."""
        for folder in sorted(self._changed, reverse=True):  # a folder before its parent, which names it
            self._disk.sync_folder(folder)

    def _make_folders(self, folder: str) -> None:
        if folder in self._folders or not folder:
            return
        parent = folder.rpartition("/")[0]
        self._make_folders(parent)
        if self._disk.make_folder(folder):
            self._changed.add(parent)
        self._folders.add(folder)


def _offline(what: str) -> ConfigurationError:
    return ConfigurationError(f"HF_HUB_OFFLINE forbids a download, and {what}", hint="unset it for one run")


def _collision_error(disk: CacheDisk, path: str) -> VolumeError:
    return VolumeError(
        f"the volume takes {path} and another name of the snapshot for one: {disk.name} does not tell case or forms of"
        " Unicode apart",
        hint="use another volume, or leave one of them out with --exclude",
    )


def _links(revision: CachedRevision) -> Iterator[tuple[str, str]]:
    """Yield the path of each link in the folder of the repository, and its text."""
    for path, blob in revision.blobs.items():
        yield snapshot_path(revision.commit, path), link_text(path, blob)
