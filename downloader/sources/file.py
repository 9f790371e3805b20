"""A folder or a file of this machine, such as another volume: it is listed once, and read like any other source."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from downloader.artifact import Manifest, RemoteFile
from downloader.errors import ConfigurationError, DownloadError, IntegrityError, SourceNotFound, VolumeError
from downloader.filesystem import Disk, Kind, NotThere, find_named, is_inside, is_same, stats_of, with_parents
from downloader.filters import FileFilter
from downloader.lease import WORK
from downloader.sources.base import folder_of, version_of
from downloader.sources.file_address import FileAddress
from downloader.sources.file_body import FileBody
from downloader.sources.file_errors import errors_of
from downloader.sources.file_listing import FolderLister, require_whole, to_file, without_inode
from downloader.sources.paths import check_names
from downloader.volume import find_mark

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from downloader.artifact import Span
    from downloader.integrity import Checksums


class FileSource:
    """Lists and reads a folder, or one file of it."""

    def __init__(self, uri: str, *, file_filter: FileFilter | None = None, skip_unsafe: bool = False) -> None:
        """Refuse what is neither file nor folder, or pass over it with `skip_unsafe`.

        The names of files that `file_filter` does not keep are not judged.
        """
        self._uri = uri
        self._address = FileAddress.parse(uri)
        self._filter = file_filter or FileFilter()
        self._skip_unsafe = skip_unsafe
        self._disk: Disk | None = None
        self._old: list[Disk] = []
        """Disks of folders that have been replaced: a thread may still read there."""
        self._listed: Manifest | None = None
        """What `version` has listed, for the next manifest."""

    def version(self) -> str | None:
        """Name what is in the folder, by its mark or by the metadata of its files; None for a single file."""
        self._listed = self._list()
        return self._listed.version

    def manifest(self) -> Manifest:
        """Return the manifest. Nothing is read of any file."""
        listed, self._listed = self._listed or self._list(), None
        return listed

    def locate(self, manifest: Manifest) -> Mapping[str, RemoteFile]:
        """Say which files are here of another source's, whose digests prove these: nothing else here matters.

        So links and special files are passed over, and a folder that is not whole serves what it has.
        """
        with errors_of(self._uri):
            named = find_named(Path(self._address.path))
            try:
                disk, below, mark = self._enter(named.folder)
            except IntegrityError:  # an unusable mark says nothing of the files
                disk, below, mark = self._take(Disk(named.folder, create=False)), "", None
            if named.name:
                places = {file.path: below + named.name for file in manifest.files if len(manifest.files) == 1}
            else:
                places = {file.path: below + file.path for file in manifest.files}
            found = stats_of(disk, places.values())
            listed = mark.files if mark is not None else {}
            return {
                path: without_inode(to_file(path, place, found[place], listed.get(place)))
                for path, place in places.items()
                if place in found and found[place].kind is Kind.FILE
            }

    def open(self, file: RemoteFile, span: Span) -> FileBody:
        """Start reading a span. Raises SourceChanged unless the file is the very one that was listed."""
        if self._disk is None:
            raise SourceNotFound(f"{self._uri} was not listed")
        with errors_of(self._uri, listed=True):
            return FileBody(self._disk, file, span, self._uri)

    def share(self, file: RemoteFile, take: Callable[[int], bool]) -> bool:
        """Let another file take over the content of one. False where it cannot be opened, either: reading it tells."""
        try:
            opened = self.open(file, file.span)
        except DownloadError:
            return False
        with closing(opened):
            return opened.share(take)

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Do nothing: the kernel reads ahead."""

    def identity(self) -> str:
        """Tell whose rights count."""
        return f"with the rights of user {os.geteuid()}, group {os.getegid()}"

    def require_apart(self, target: Path) -> None:
        """Raise ConfigurationError if a target and the artifact are in each other: one would change the other."""
        with errors_of(self._uri):
            named = find_named(Path(self._address.path))
        folder = named.folder
        both = is_same(folder, target) if named.name else is_inside(folder, target) or is_inside(target, folder)
        if both:
            raise ConfigurationError(
                f"{self._uri} and the target {target} are in the same folder, or one is inside of the other",
                hint="name another target",
            )

    def close(self) -> None:
        """Close the folder."""
        for disk in (*self._old, self._disk):
            if disk is not None:
                disk.close_all()
        self._old, self._disk = [], None

    def _list(self) -> Manifest:
        with errors_of(self._uri):
            named = find_named(Path(self._address.path))
            disk, below, mark = self._enter(named.folder)
            if named.name:
                return self._single(disk, below + named.name, mark)
            return self._folder(disk, below, mark)

    def _folder(self, disk: Disk, below: str, mark: Checksums | None) -> Manifest:
        lister = FolderLister(disk, below, self._uri, self._filter, skip_unsafe=self._skip_unsafe)
        listing = lister.read(mark)
        if not listing.files:
            raise SourceNotFound(f"{self._uri} holds no files", hint="check the path, and that the volume is mounted")
        version = version_of(self._address.uri, listing.facts)
        return Manifest(
            self._uri,
            listing.files,
            version=version,
            checksums=listing.checksums,
            skipped=listing.skipped,
            whole=self._address.uri,
        )

    def _single(self, disk: Disk, path: str, mark: Checksums | None) -> Manifest:
        if mark is None:
            require_whole(disk, self._uri)
        found = disk.stat(path)
        if found is None:
            raise NotThere(f"{path} was removed")
        file = to_file(self._address.name, path, found, mark.files.get(path) if mark else None)
        check_names([file.path], self._uri)
        return Manifest(self._uri, (file,), single=True, whole=folder_of(self._address.uri))

    def _enter(self, folder: Path) -> tuple[Disk, str, Checksums | None]:
        """Open the folder that a run of ours has filled, which may be one above, or else the folder itself.

        Return it with the way from there to the folder, which ends in a slash, and with its mark.
        """
        for place in with_parents(folder):
            below = "" if place == folder else f"{folder.relative_to(place)}/"
            disk = _open(place, required=not below)
            if disk is None:
                break
            mark = _mark(disk, required=not below)
            concerned = mark is not None and any(path.startswith(below) for path in mark.files)
            if concerned or (mark is None and disk.stat(WORK) is not None):
                return self._take(disk), below, mark
            disk.close_all()
        return self._take(Disk(folder, create=False)), "", None

    def _take(self, disk: Disk) -> Disk:
        """Return the disk to read from: the one before, if that is the same folder."""
        if self._disk is not None:
            if self._disk.device("") == disk.device("") and self._disk.is_at("", disk):
                disk.close_all()
                return self._disk
            self._old.append(self._disk)
        self._disk = disk
        return disk


def _open(place: Path, *, required: bool) -> Disk | None:
    try:
        return Disk(place, create=False)
    except VolumeError:
        if required:
            raise
        return None


def _mark(disk: Disk, *, required: bool) -> Checksums | None:
    """Return the mark of a folder. Of one above the artifact's, a broken list says nothing, unless it is `required`."""
    with suppress(*(() if required else (IntegrityError,))):
        return find_mark(disk)
    return None
