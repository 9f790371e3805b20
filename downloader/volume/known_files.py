"""What the volume itself knows of its files: the checksums of a finished run and the ledger of an unfinished one.

Only the checksums of a finished artifact spare a run the hashing: a rerun is a look. All that lies in `.downloading` is
work under way, which anybody who shares the volume may have put there; it spares fetching, and what it says is hashed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from downloader.errors import IntegrityError
from downloader.filesystem import Kind
from downloader.integrity import MARKER, Checksums, Origin, parse_checksums, sha256_of
from downloader.volume.commit_log import read_commit_log
from downloader.volume.completion import is_in_place, last, standing
from downloader.volume.stamp import identity_of, is_unchanged, origin_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from downloader.artifact import Completion, Manifest, RemoteFile
    from downloader.filesystem import FileOperations, Stat

_log = logging.getLogger(__name__)


class KnownFiles:
    """Believes a file by its metadata, or names the digest that hashing it must give."""

    def __init__(self, files: FileOperations, manifest: Manifest, completion: Completion) -> None:
        self._files = files
        self._completion = completion
        self._commit_log = read_commit_log(files, (file.path for file in manifest.files))
        self._manifest = manifest
        self._mark = standing(files)
        self.known_before = (self._mark if self._mark and self._mark.records else last(files)) or Checksums({})
        """What the last finished run knew, even if another one has begun to change it."""
        own = parse_own(manifest)
        self._own = own
        self._published = own.files if own else {}
        self.ours = self.known_before.records.keys() | self._commit_log.keys()
        """Paths that this project has put on the volume."""

    @property
    def others(self) -> dict[str, Origin]:
        """The paths that finished runs have listed: for another artifact or revision, or that are not listed now."""
        wanted = Origin(self._manifest.origin, self._manifest.revision or "")
        now = {file.path for file in self._manifest.files}
        origins = ((path, origin_of(self.known_before, path)) for path in self.known_before.records)
        return {path: origin for path, origin in origins if origin and (origin != wanted or path not in now)}

    @property
    def is_published(self) -> bool:
        """Whether a list stands that this artifact was published in, provided that all files are known by it."""
        if self._mark is None or not self._mark.records:
            return False
        if not is_in_place(self._files, self._mark, self._completion, self._own.raw if self._own else None):
            return False
        wanted = Origin(self._manifest.origin, self._manifest.revision or "")
        paths = {file.path for file in self._manifest.files}
        if all(origin_of(self._mark, path) == wanted for path in paths):
            return True
        # Published at another revision: that is the same only if that one had nothing else.
        of_this = {path for path in self._mark.files if self._uri_of(path) == wanted.uri}
        return self._mark.whole and bool(of_this) and of_this <= paths

    def _uri_of(self, path: str) -> str:
        origin = origin_of(self.known_before, path)
        return origin.uri if origin else ""

    def known(self, file: RemoteFile, found: Stat) -> tuple[str, str] | None:
        """Return sha256 and proof of a file that need not be hashed; None if nothing vouches for it."""
        if self._mark is None or found.kind is not Kind.FILE or found.size != file.size:
            return None
        listed = self._listed(file)
        if listed is None or not is_unchanged(self._mark, file.path, found):
            return None
        return listed, self._mark.proof_of(file.path)

    def is_unchanged(self, path: str, found: Stat | None) -> bool:
        """Tell whether a finished run has brought a file, and nobody has changed it since."""
        return found is not None and is_unchanged(self.known_before, path, found)

    def expected(self, file: RemoteFile) -> str | None:
        """Return the sha256 that the file has if it is right; None if only its other digests can tell."""
        return self._wanted(file) or self._listed(file) or self._committed(file)

    def _wanted(self, file: RemoteFile) -> str | None:
        return sha256_of(file) or self._published.get(file.path)

    def _listed(self, file: RemoteFile) -> str | None:
        """Return what the checksums say of the very content that the manifest has under this path."""
        listed, wanted = self.known_before.files.get(file.path), self._wanted(file)
        if listed is None or file.path not in self.known_before.records:
            return None
        same = listed == wanted if wanted else identity_of(self.known_before, file.path) == file.identity
        return listed if same else None

    def _committed(self, file: RemoteFile) -> str | None:
        """Return the sha256 with which a file came of which its source publishes nothing at all."""
        entry = self._commit_log.get(file.path)
        return entry.sha256 if entry and entry.identity == file.identity and not file.digests else None


def recorded(files: FileOperations, paths: Iterable[str]) -> set[str]:
    """Return those of the paths that a run of ours may have brought, for all that the volume says of it."""
    found = set(paths)
    listed = [mark.files.keys() for mark in (standing(files), last(files)) if mark]
    return found & set(read_commit_log(files, found)).union(*listed)


def parse_own(manifest: Manifest) -> Checksums | None:
    """Return the source's own checksum file, if there is one and it covers exactly the manifest's files."""
    if manifest.checksums is None:
        return None
    try:
        own = parse_checksums(manifest.checksums)
    except IntegrityError as error:
        _log.debug("the source's %s is passed over: %s", MARKER, error)
        return None
    return own if own.covers(manifest) else None
