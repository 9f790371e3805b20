"""A volume on which an archive is unpacked as the last step of its download.

The contents become files of the target by the same way as downloaded ones: partials, digests, commits. An unpacking
that was interrupted begins again, from the archive that is there. `.artifact.sha256` then lists the contents, and its
version says which archive they are of, so that the next run knows that nothing is left to do although the archive is
gone.
"""

from __future__ import annotations

import logging
import mmap
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from downloader.archives.entries import only_archive
from downloader.archives.reader import Archive, StoredFile, damaged
from downloader.archives.validation import judge
from downloader.artifact import Algorithm, Completion, Manifest, RemoteFile, Span
from downloader.errors import IntegrityError
from downloader.filesystem import discard, stats_of
from downloader.formatting import format_size
from downloader.integrity import UNKNOWN, Hasher
from downloader.volume import (
    CompletedArtifact,
    FileState,
    Inventory,
    InventoryEntry,
    VerifiedFile,
    Volume,
    check_replacement,
    hash_of,
    latest,
    standing,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from downloader.filesystem import FileOperations
    from downloader.volume import Partial

PIECE = 1 << 20
FILES_AT_ONCE = 64
BYTES_AT_ONCE = 64 << 20

log = logging.getLogger(__name__)


class UnpackingVolume(Volume):
    """A target folder that holds the contents of an archive instead of the archive.

    `check` is called again and again, and may raise to end the unpacking.
    """

    def __init__(
        self,
        target: Path,
        *,
        check: Callable[[], None],
        files: FileOperations | None = None,
        ttl: float,
        completion: Completion = Completion.FILE,
        replace: bool = False,
    ) -> None:
        super().__init__(target, files=files, ttl=ttl, completion=completion)
        self._check = check
        self._replace = replace

    def sealed(self) -> CompletedArtifact | None:
        """Return the finished artifact, unless it is an archive that another command has left packed."""
        found = super().sealed()
        return None if found is not None and only_archive(found.manifest) else found

    def survey(self, manifest: Manifest) -> Inventory:
        """Compare the volume with the manifest. An archive whose contents are all here is proved by them."""
        archive = only_archive(manifest)
        if archive is None:
            return super().survey(manifest)
        contents = self._unpacked(manifest, archive)
        if contents is None:
            return replace(super().survey(manifest), published=False)
        found = super().survey(contents)
        tidied = archive.path in found.digests or self._files.stat(archive.path) is None
        return replace(
            found,
            holdings=(InventoryEntry(archive, FileState.VERIFIED, archive.size, proof=_proof_of(found)),),
            published=found.published and tidied,
        )

    def publish(self, manifest: Manifest, digests: Mapping[str, str]) -> None:
        """Unpack the archive, if the artifact is one and that is not done, and declare the contents complete.

        Raises ConfigurationError for an archive that is refused, IntegrityError for one that cannot be read.
        """
        archive = only_archive(manifest)
        if archive is None:
            super().publish(manifest, digests)
            return
        contents = self._unpacked(manifest, archive)
        if contents is not None:
            digests = super().survey(contents).digests
        else:
            contents, digests = self._unpack(manifest, archive)
        super().publish(contents, digests)
        if archive.path not in digests:
            discard(self._files, archive.path)
            self._files.sync_folder(archive.path.rpartition("/")[0])

    def _unpacked(self, manifest: Manifest, archive: RemoteFile) -> Manifest | None:
        """Return the contents of the archive if they were unpacked here and nobody has changed them."""
        checksums = standing(self._files)
        if checksums is None or not checksums.whole or checksums.version != hash_of(_version_of(archive)):
            return None
        found = stats_of(self._files, latest(checksums))
        if len(found) < len(latest(checksums)):
            return None
        sizes = {path: details.size for path, details in found.items()}
        contents = contents_of(manifest, archive, sizes)
        proved = super().survey(contents).having(FileState.VERIFIED)
        return contents if len(proved) == len(contents.files) else None

    def _unpack(self, manifest: Manifest, archive: RemoteFile) -> tuple[Manifest, Mapping[str, str]]:
        """Bring the contents under their final names; return them with the sha256 of each."""
        try:
            with Archive(self._files, archive.path, self._check) as opened:
                return self._unpack_opened(manifest, archive, opened)
        except IntegrityError:
            if not archive.digests:
                # Nothing but its size spoke for it, so the way may have damaged it: let it be fetched again.
                discard(self._files, archive.path)
            raise

    def _unpack_opened(
        self, manifest: Manifest, archive: RemoteFile, opened: Archive
    ) -> tuple[Manifest, Mapping[str, str]]:
        judged = judge((entry for entry, _ in opened.entries()), opened.size, archive.path)
        contents = contents_of(manifest, archive, judged.files)
        survey = super().survey(contents)
        missing = {
            holding.file.path: holding.file for holding in survey.holdings if holding.state is not FileState.VERIFIED
        }
        present = [held.file.path for held in survey.holdings if held.replaces or held.state is FileState.UNVERIFIED]
        check_replacement(self._files.name, contents, survey, present, replace=self._replace)
        for holding in survey.having(FileState.UNVERIFIED):
            # A run that was killed may have made it, but only the archive could prove that, and is read anyway.
            discard(self._files, holding.file.path)
        self.require_space(sum(file.size for file in missing.values()), len(missing))
        log.info("unpacking %s: %d files, %s", archive.path, len(contents.files), format_size(contents.size))
        with _Unpacker(self, archive.path, self.proof_of(archive.path), self._check) as unpacker:
            for entry, content in opened.entries():
                if entry.path in missing and entry.path not in judged.links:
                    unpacker.add(missing[entry.path], content.readinto)
            unpacker.commit()
            for link, path in judged.links.items():
                if link in missing:
                    with StoredFile(self._files, path, self._check) as source:
                        unpacker.add(missing[link], source.readinto)
            unpacker.commit()
        return contents, {**survey.digests, **unpacker.digests}


class _Unpacker:
    """Makes files of the target, many with one round of syncs. A context that leaves none of them open.

    `name` is that of the archive, for people; `proof` is what had proved it.
    """

    def __init__(self, volume: Volume, name: str, proof: str, check: Callable[[], None]) -> None:
        self.digests: dict[str, str] = {}
        """The sha256 of each file that has its final name."""
        self._volume = volume
        self._name = name
        self._proof = proof
        self._check = check
        self._partials: list[Partial] = []
        self._sha256: list[str] = []
        self._size = 0
        self._buffer = memoryview(mmap.mmap(-1, PIECE))  # page-aligned: large files go past the page cache

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for partial in self._partials:
            partial.close(flush=False)

    def add(self, file: RemoteFile, readinto: Callable[[memoryview], int]) -> None:
        """Take the bytes of a file; it gets its name at the next commit. Raises IntegrityError if they end early."""
        partial = self._volume.partial(file)
        self._partials.append(partial)
        hasher = Hasher(file.size)
        while hasher.position < file.size:
            self._check()
            start = hasher.position
            count = readinto(self._buffer[: file.size - start])
            if not count:
                raise damaged(self._name, f"{file.path} ends after {start} of {file.size} bytes")
            partial.write(start, self._buffer[:count])
            partial.complete(Span(start, start + count))
            hasher.update(self._buffer[:count])
        self._sha256.append(hasher.results()[Algorithm.SHA256])
        self._size += file.size
        if len(self._partials) >= FILES_AT_ONCE or self._size >= BYTES_AT_ONCE:
            self.commit()

    def commit(self) -> None:
        """Give everything that was added its final name."""
        files = zip(self._partials, self._sha256, strict=True)
        self._volume.commit(VerifiedFile(partial, sha256, self._proof) for partial, sha256 in files)
        for partial, sha256 in zip(self._partials, self._sha256, strict=True):
            self.digests[partial.file.path] = sha256
        self._partials, self._sha256, self._size = [], [], 0


def _proof_of(contents: Inventory) -> str:
    """Return what had proved the archive: it is written down for each of its files."""
    return contents.holdings[0].proof if contents.holdings else UNKNOWN


def contents_of(manifest: Manifest, archive: RemoteFile, sizes: Mapping[str, int]) -> Manifest:
    """Return the contents as an artifact. Its version, and each file's identity, say which archive it is of."""
    files = tuple(RemoteFile(path, size, locator=archive.identity) for path, size in sorted(sizes.items()))
    return Manifest(manifest.uri, files, manifest.revision, version=_version_of(archive))


def _version_of(archive: RemoteFile) -> str:
    """Name the contents of the archive, all of them and nothing else."""
    return f"unpacked from {archive.identity}"
