"""Unpacks an archive as the last step of its download, between "verified" and "published".

The contents become files of the target in the same way as downloaded ones: partials, digests, commits. If unpacking is
interrupted, the next run starts it again from the verified archive. The completion mark then lists the contents, and
its version says which archive they come from, so the next run knows that nothing is left to do although the archive is
gone.
"""

from __future__ import annotations

import logging
import mmap
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from downloader.archives.entries import only_archive
from downloader.archives.reader import Archive, StoredFile, archive_damaged
from downloader.archives.validation import validate
from downloader.artifact import Algorithm, Manifest, RemoteFile, Span
from downloader.errors import IntegrityError
from downloader.formatting import format_count, format_size
from downloader.integrity import UNKNOWN, Hasher
from downloader.volume import Entries, FileState, InventoryEntry, Publication, VerifiedFile, check_replacement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from downloader.volume import CompletedArtifact, Inventory, Partial, Volume

PIECE = 1 << 20
FILES_AT_ONCE = 64
BYTES_AT_ONCE = 64 << 20

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ArchiveUnpacker:
    """A finalizer that publishes the contents of an archive instead of the archive; other artifacts as they are.

    `replace` allows it to replace files of another artifact.
    """

    replace: bool = False

    def is_final(self, completed: CompletedArtifact) -> bool:
        """Return False for an archive that another command has left packed."""
        return only_archive(completed.manifest) is None

    def inventory(self, volume: Volume, manifest: Manifest) -> Inventory:
        """Compare the volume with the manifest. An archive whose contents are all unchanged counts as verified."""
        archive = only_archive(manifest)
        if archive is None:
            return volume.inventory(manifest)
        found = _inventory_of_contents(volume, manifest, archive)
        if found is None:
            return replace(volume.inventory(manifest), published=False)
        archive_is_gone = archive.path in found.digests or not volume.has(archive.path)
        return replace(
            found,
            entries=Entries([archive], [(0, _unpacked(archive, found))]),
            published=found.published and archive_is_gone,
            unpacked=found.digests,
        )

    def published(self, manifest: Manifest, digests: Mapping[str, str]) -> Mapping[str, str] | None:
        """Return the files as they are; None for an archive, since only unpacking it shows what is in it."""
        return None if only_archive(manifest) is not None else digests

    def finalize(
        self, volume: Volume, manifest: Manifest, digests: Mapping[str, str], check: Callable[[], None]
    ) -> Publication:
        """Unpack the archive, unless that is done or there is no archive, and return what to publish.

        Raises ConfigurationError for an archive that is refused, IntegrityError for one that cannot be read.
        """
        archive = only_archive(manifest)
        if archive is None:
            return Publication(manifest, digests)
        found = _inventory_of_contents(volume, manifest, archive)
        if found is None:
            contents, digests = self._unpack(volume, manifest, archive, check)
        else:
            contents = contents_of(manifest, archive, {entry.file.path: entry.file.size for entry in found.entries})
            digests = found.digests
        return Publication(contents, digests, () if archive.path in digests else (archive.path,))

    def _unpack(
        self, volume: Volume, manifest: Manifest, archive: RemoteFile, check: Callable[[], None]
    ) -> tuple[Manifest, Mapping[str, str]]:
        """Write the contents to the volume under their final names; return them with the sha256 of each."""
        try:
            with Archive(volume.reading(archive.path), archive.path, check) as opened:
                return self._unpack_opened(volume, manifest, archive, opened, check)
        except IntegrityError:
            if not archive.digests:
                # Only its size was verified, so it may have been damaged on the way: let the next run fetch it again.
                volume.remove_outdated([archive.path])
            raise

    def _unpack_opened(
        self, volume: Volume, manifest: Manifest, archive: RemoteFile, opened: Archive, check: Callable[[], None]
    ) -> tuple[Manifest, Mapping[str, str]]:
        proof = volume.proof_of(archive.path)
        validated = validate((entry for entry, _ in opened.entries()), opened.size, archive.path)
        contents = contents_of(manifest, archive, validated.files)
        inventory = volume.inventory(contents)
        missing = {entry.file.path: entry.file for entry in inventory.entries if entry.state is not FileState.VERIFIED}
        unverified = [entry.file.path for entry in inventory.having(FileState.UNVERIFIED)]
        present = [*unverified, *(entry.file.path for entry in inventory.entries if entry.replaces)]
        check_replacement(str(volume.target), contents, inventory.listed, present, replace=self.replace)
        if unverified:
            # A killed run may have unpacked them, but only the archive can verify that, and is read anyway.
            volume.remove_outdated(unverified)
        volume.require_space(sum(file.size for file in missing.values()), len(missing))
        log.info(
            "unpacking %s: %s, %s", archive.path, format_count(len(contents.files), "file"), format_size(contents.size)
        )
        with _Writer(volume, archive.path, proof, check) as writer:
            for entry, content in opened.entries():
                if entry.path in missing and entry.path not in validated.links:
                    writer.add(missing[entry.path], content.readinto)
            writer.commit()
            for link, path in validated.links.items():
                if link in missing:
                    with StoredFile(volume.reading(path), check) as source:
                        writer.add(missing[link], source.readinto)
            writer.commit()
        return contents, {**inventory.digests, **writer.digests}


class _Writer:
    """Writes files of the target and commits many together. A context that closes the partials it leaves.

    `name` is the archive's, for messages; `proof` is what verified it.
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
        """Write a file; it gets its name at the next commit. Raises IntegrityError if the bytes end early."""
        partial = self._volume.partial(file)
        self._partials.append(partial)
        hasher = Hasher(file.size)
        while hasher.position < file.size:
            self._check()
            start = hasher.position
            count = readinto(self._buffer[: file.size - start])
            if not count:
                raise archive_damaged(self._name, f"{file.path} ends after {start} of {file.size} bytes")
            partial.write(start, self._buffer[:count])
            partial.complete(Span(start, start + count))
            hasher.update(self._buffer[:count])
        self._sha256.append(hasher.results()[Algorithm.SHA256])
        self._size += file.size
        if len(self._partials) >= FILES_AT_ONCE or self._size >= BYTES_AT_ONCE:
            self.commit()

    def commit(self) -> None:
        """Give the files that were added their final names."""
        files = zip(self._partials, self._sha256, strict=True)
        self._volume.commit(VerifiedFile(partial.finish(), sha256, self._proof) for partial, sha256 in files)
        for partial, sha256 in zip(self._partials, self._sha256, strict=True):
            self.digests[partial.file.path] = sha256
        self._partials, self._sha256, self._size = [], [], 0


def _inventory_of_contents(volume: Volume, manifest: Manifest, archive: RemoteFile) -> Inventory | None:
    """Compare the volume with the contents of the archive; None unless they were unpacked here and are unchanged."""
    sizes = volume.published_sizes(_version_of(archive))
    if sizes is None:
        return None
    found = volume.inventory(contents_of(manifest, archive, sizes))
    return found if all(entry.state is FileState.VERIFIED for entry in found.entries) else None


def _unpacked(archive: RemoteFile, contents: Inventory) -> InventoryEntry:
    return InventoryEntry(archive, FileState.VERIFIED, archive.size, proof=_proof_of(contents))


def _proof_of(contents: Inventory) -> str:
    """Return what verified the archive: it is on record for each of its files."""
    return contents.entries[0].proof if contents.entries else UNKNOWN


def contents_of(manifest: Manifest, archive: RemoteFile, sizes: Mapping[str, int]) -> Manifest:
    """Return the contents as an artifact. Its version and each file's identity tell which archive it comes from."""
    files = tuple(RemoteFile(path, size, locator=archive.identity) for path, size in sorted(sizes.items()))
    return Manifest(manifest.uri, files, manifest.revision, version=_version_of(archive))


def _version_of(archive: RemoteFile) -> str:
    """Return a version for exactly the contents of this archive."""
    return f"unpacked from {archive.identity}"
