"""What a folder of this machine holds: what its completion mark lists, or else all that is in it.

A folder that this program has filled, or that holds a copy of its `.artifact.sha256`, is what that mark says; so is a
folder or a file inside of it. One without a sign of ours is taken as it is: no digest of its files is known. One that
a run has begun to fill is not an artifact yet.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from downloader.artifact import MAX_FILES, Algorithm, Digest, RemoteFile, Validator
from downloader.errors import IntegrityError, ProtocolFailed, SourceUnavailable
from downloader.filesystem import LOST_AND_FOUND, Kind, stats_of
from downloader.formatting import format_count, names_text
from downloader.integrity import MARKER
from downloader.lease import WORK, find_lease
from downloader.sources.paths import MAX_FOLDERS, PathValidator, refused
from downloader.volume import in_file, is_work_of_others

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from downloader.filesystem import Disk, FileOperations, Stat
    from downloader.filters import FileFilter
    from downloader.integrity import Checksums


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FolderListing:
    """What is in a folder."""

    files: tuple[RemoteFile, ...]
    facts: tuple[str, ...]
    """What names this version of the folder."""
    checksums: bytes | None = field(default=None, repr=False)
    """The checksum file, if it is of exactly these files."""
    skipped: int = 0
    """Names that are passed over."""


def validator_of(found: Stat, *, has_digest: bool) -> Validator:
    """Return what tells one version of a file from the next.

    Where a digest proves the bytes, the inode is left out: some FUSE file systems give a file another one at times.
    """
    return Validator(f"{found.size}-{found.mtime_ns}" + ("" if has_digest else f"-{found.inode}"))


def to_file(path: str, locator: str, found: Stat, sha256: str | None) -> RemoteFile:
    """Return a file of the artifact, which is at `locator` of the disk."""
    digests = (Digest(Algorithm.SHA256, sha256),) if sha256 else ()
    return RemoteFile(path, found.size, digests, validator_of(found, has_digest=bool(digests)), locator)


def without_inode(file: RemoteFile) -> RemoteFile:
    """Return a file whose bytes a digest of another place proves, so that its validator has no inode."""
    if file.digests or file.validator is None:
        return file
    return replace(file, validator=Validator(file.validator.value.rpartition("-")[0]))


def require_whole(files: FileOperations, uri: str, work: str = WORK) -> None:
    """Raise ProtocolFailed for a folder that a run has begun to fill."""
    if files.stat(work) is None:
        return
    lease = find_lease(files) if work == WORK else None
    holder = f"{lease.holder} is filling it" if lease is not None and not lease.abandoned else "a run has not ended"
    raise ProtocolFailed(
        f"{uri} is not a whole artifact: it has {work} and no completion mark, since {holder}",
        hint="let that download end, or repeat it; remove that folder if no run needs it",
    )


class FolderLister:
    """Lists what is below a folder of a disk."""

    def __init__(self, disk: Disk, below: str, uri: str, file_filter: FileFilter, *, skip_unsafe: bool) -> None:
        """`below` is the folder that the URI names, relative to the disk's: empty, or with a slash at its end."""
        self._disk = disk
        self._below = below
        self._uri = uri
        self._filter = file_filter
        self._skip_unsafe = skip_unsafe
        self._names = PathValidator(uri)
        self._digests: dict[str, str] = {}
        self._passed_over: list[str] = []
        self._skipped: list[str] = []

    def read(self, mark: Checksums | None) -> FolderListing:
        """Return what is there, by the mark of the disk's folder if there is one.

        Raises ConfigurationError for a wanted name that is unsafe on a volume or not that of a file, IntegrityError for
        a folder that lacks what its mark lists, ProtocolFailed for one that is being filled, SourceUnavailable for one
        that changes at this moment, and VolumeError.
        """
        if mark is None:
            require_whole(self._disk, self._uri)
            return self._found()
        below = len(self._below)
        inside = {path[below:]: digest for path, digest in mark.files.items() if path.startswith(self._below)}
        inside.pop(MARKER, None)  # it cannot hold its own checksum
        return self._listed(mark, inside)

    def _listed(self, mark: Checksums, listed: Mapping[str, str]) -> FolderListing:
        """Return the files of a mark that the filters keep."""
        if not mark.whole:
            raise IntegrityError(
                f"{mark.lost} of {mark.expected} files of {self._uri} are gone, replaced or without a mark"
            )
        wanted = sorted(self._filter.choose(listed))
        if not wanted:
            raise self._filter.nothing_left(list(listed), self._uri)
        found = stats_of(self._disk, (self._below + path for path in wanted))
        files = []
        for path in wanted:
            details = found.get(self._below + path)
            if details is None or details.kind is not Kind.FILE:
                what = "lacks" if details is None else f"has a {details.kind.value} in the place of"
                raise IntegrityError(
                    f"{self._uri} {what} {path}, which its completion mark lists", hint="download it again"
                )
            self._names.add(path)
            files.append(to_file(path, self._below + path, details, listed[path]))
        self._names.finish()
        log.info("%s is listed with sha256 by its completion mark: %s", self._uri, format_count(len(files), "file"))
        facts = tuple(f"{digest}  {path}" for path, digest in sorted(listed.items()))
        whole = not self._below and len(files) == len(listed) and mark.raw
        return FolderListing(tuple(files), facts, mark.raw if whole else None)

    def _found(self) -> FolderListing:
        """Return every file that is there."""
        files: list[RemoteFile] = []
        facts = []
        for path, details in self._walk():
            if len(files) == MAX_FILES:
                raise ProtocolFailed(f"{self._uri} holds more than {MAX_FILES} files")
            if self._filter.wants(path):
                self._names.add(path)
            file = to_file(path, self._below + path, details, self._digests.get(path))
            files.append(file)
            facts.append(f"{file.validator} {details.inode} {' '.join(map(str, file.digests))}  {path}")
        self._names.finish()
        self._tell(sum(not file.digests for file in files))
        files.sort(key=lambda file: file.path)
        return FolderListing(tuple(files), tuple(sorted(facts)), skipped=len(self._skipped))

    def _tell(self, unknown: int) -> None:
        if unknown:
            log.info(
                "%s has no completion mark for %s: hashed while read, and none may change",
                self._uri,
                format_count(unknown, "file"),
            )
        if self._passed_over:
            log.info("work files of other programs are passed over: %s", names_text(self._passed_over))
        if self._skipped:
            log.warning("passed over, as only regular files are copied: %s", names_text(self._skipped))

    def _walk(self) -> Iterator[tuple[str, Stat]]:
        """Yield path and metadata of each file. Not recursive: folders may be nested deeply."""
        todo = [""]
        while todo:
            folder = todo.pop()
            names = self._disk.scan(f"{self._below}{folder}".rstrip("/"))
            if MARKER in names and folder:  # a part of what is here is an artifact of its own
                self._add_digests(folder)
            plain = []
            for name, kind in names.items():
                path = folder + name
                if kind is Kind.FOLDER:
                    todo += self._entered(path, name)
                elif kind is Kind.FILE and is_work_of_others(path):
                    self._passed_over.append(path)
                elif kind is Kind.FILE:
                    plain.append(name)
                elif self._filter.wants(path):
                    self._refuse(path, kind)
            found = self._disk.stats(f"{self._below}{folder}".rstrip("/"), plain)
            for name in plain:
                if name not in found:
                    raise SourceUnavailable(f"{self._uri} lost {folder}{name} while it was listed")
                yield folder + name, found[name]

    def _entered(self, path: str, name: str) -> list[str]:
        """Return the folder to walk, with a slash at its end, if it is a part of the artifact."""
        if path == LOST_AND_FOUND:
            return []
        if name == WORK:
            require_whole(self._disk, self._uri, f"{self._below}{path}")
        if path.count("/") > MAX_FOLDERS:
            raise refused(path, f"is more than {MAX_FOLDERS} folders deep", self._uri)
        return [f"{path}/"]

    def _add_digests(self, folder: str) -> None:
        listed = in_file(self._disk, f"{self._below}{folder}{MARKER}")
        if listed is not None:
            self._digests |= {folder + path: digest for path, digest in listed.files.items()}

    def _refuse(self, path: str, kind: Kind) -> None:
        """Raise ConfigurationError for what is not a file, or pass it over."""
        if not self._skip_unsafe:
            raise refused(path, f"is a {kind.value}, and neither followed nor copied", self._uri)
        self._skipped.append(path)
