"""The last step of a run: the artifact is marked as complete, and what only older artifacts had is removed."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from downloader.artifact import Algorithm, Digest, Manifest, Packed, Paths, RemoteFile, Words, paths_of
from downloader.errors import IntegrityError, InternalError, VolumeError
from downloader.filesystem import Kind, discard, remove, stats_of
from downloader.integrity import MARKER, UNKNOWN, Checksums, Origin, parse_checksums, sha256_of
from downloader.lease import PARTS, WORK, is_lease
from downloader.volume import completion
from downloader.volume.cleanup import record_obsolete, remove_outdated, with_earlier
from downloader.volume.preflight import require_two_files
from downloader.volume.records import LOOKED_AT, hash_of, is_unchanged, latest, record_of, record_table

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from datetime import datetime

    from downloader.artifact import Completion
    from downloader.filesystem import FileOperations, Stat

_log = logging.getLogger(__name__)


class Publication(NamedTuple):
    """What a run publishes."""

    manifest: Manifest
    digests: Mapping[str, str]
    """Path → sha256 of every file of the manifest."""
    consumed: Collection[str] = ()
    """Verified files that the manifest does not have, such as an archive that was unpacked: removed in the end."""


@dataclass(frozen=True, slots=True)
class CompletedArtifact:
    """Files that are as a finished run left them, as far as metadata shows."""

    checksums: Checksums
    found: Mapping[str, Stat] = field(repr=False)

    def fits(self, version: str) -> bool:
        """Return whether these are the files of this version."""
        return self.checksums.version == hash_of(version)

    @property
    def has_older(self) -> bool:
        """Whether an earlier run for this artifact, at another revision or with other filters, has left files here."""
        origins = self.checksums.origins
        return any(origin.uri == origins[0].uri for origin in origins[1:])

    @property
    def manifest(self) -> Manifest:
        """The files as an artifact, without anything about where they can be fetched."""
        digests = sorted(self.digests.items())
        files = (
            RemoteFile(path, self.found[path].size, (Digest(Algorithm.SHA256, digest),)) for path, digest in digests
        )
        return Manifest(self.checksums.source, tuple(files), self.checksums.revision or None)

    @property
    def digests(self) -> dict[str, str]:
        """Path → sha256."""
        return {path: self.checksums.files[path] for path in self.found}

    @property
    def proofs(self) -> dict[str, str]:
        """Path → what verified it when it was downloaded."""
        return {path: self.checksums.proof_of(path) for path in self.found}


class RecordedArtifact(NamedTuple):
    """What the completion mark says of the artifact that was downloaded last."""

    source: str
    """Its URI; empty if the mark was not written by a run of ours."""
    revision: str
    digests: Mapping[str, str]
    """Path → sha256."""
    listed: Mapping[str, str]
    """The same of all files in the mark, also those that earlier runs have left."""
    origin: str = ""
    """The repository or folder that they were chosen from (`Manifest.origin`)."""


def recorded_artifact(files: FileOperations) -> RecordedArtifact:
    """Return what the completion mark says, without hashing. Raises IntegrityError without a mark, or a whole one."""
    mark = completion.require(files)
    if not mark.whole or not mark.files:
        raise IntegrityError(
            f"the mark of {files.name} is not whole: {mark.lost} of its files are gone, replaced or without a mark"
            if mark.lost
            else f"{files.name}/{MARKER} lists no files",
            hint="download the artifact again; what is right is kept",
        )
    return of_mark(mark)


def of_mark(mark: Checksums) -> RecordedArtifact:
    """Return what a mark says of the artifact that was downloaded last; of a list of others, all that it lists."""
    paths = latest(mark) if mark.records else mark.files
    origin = mark.origins[0].uri if mark.origins else ""
    return RecordedArtifact(mark.source, mark.revision, {path: mark.files[path] for path in paths}, mark.files, origin)


def find_completed(files: FileOperations, checksums: Checksums | None) -> CompletedArtifact | None:
    """Return the artifact of a finished run if its metadata is unchanged.

    None without such an artifact, or if a run has left something to be continued.
    """
    if checksums is None or not checksums.version or not checksums.whole or files.scan(WORK):
        return None
    paths = latest(checksums)
    found = stats_of(files, paths)
    if len(found) < len(paths) or not all(is_unchanged(checksums, path, found[path]) for path in paths):
        return None
    return CompletedArtifact(checksums, found)


def published_sizes(files: FileOperations, checksums: Checksums | None, version: str) -> dict[str, int] | None:
    """Return the sizes of the files that were last published, if that was at this version and all of them exist."""
    if checksums is None or not checksums.whole or checksums.version != hash_of(version):
        return None
    paths = latest(checksums)
    found = stats_of(files, paths)
    return {path: details.size for path, details in found.items()} if len(found) == len(paths) else None


def publish(
    files: FileOperations,
    folder: str,
    published: Publication,
    *,
    date: datetime,
    proof_of: Callable[[str], str],
    obsolete: Collection[str],
    where: Completion,
    confirm: Callable[[], None],
) -> None:
    """Mark the artifact as complete, durably and at once. `folder` is the lease holder's.

    Files that earlier runs have listed stay listed if they are unchanged, except the `obsolete` paths: those are
    removed after that, and so are the `consumed` ones, listed or not. A run that is killed in between has announced
    what it removes, and the next one removes it, and leaves the mark as it is.
    """
    confirm()
    manifest, digests, consumed = published
    lacking = [path for path in manifest.paths if path not in digests]
    if lacking:
        raise InternalError(f"{lacking[0]} was never verified, and so are {len(lacking) - 1} others")
    checksums = _listed_now(files, manifest, digests, proof_of)
    before = completion.last(files) or Checksums({})
    checksums, outdated = with_earlier(files, checksums, before, obsolete, consumed)
    own = parse_own(manifest)
    if own is not None and any(own.files[path] != digests[path] for path in manifest.paths):
        own = None
    record_obsolete(files, folder, outdated, date, confirm)
    completion.write(files, folder, checksums, date, before=before, completion=where, own=own, confirm=confirm)
    remove_outdated(files, outdated)
    for path in consumed:
        discard(files, path)
        files.sync_folder(path.rpartition("/")[0])


def clear_work(files: FileOperations, folder: str) -> None:
    """Remove all that runs needed, except the lease, which its holder removes last.

    Partials are removed only from the holder's own `folder`: any others belong to a process that has just taken over.
    """
    for name, kind in files.scan(WORK).items():
        path = f"{WORK}/{name}"
        if path == folder or not (is_lease(name) or name.startswith(PARTS)):
            remove(files, path, kind)


def parse_own(manifest: Manifest) -> Checksums | None:
    """Return the source's own checksum file, if there is one and it covers exactly the manifest's files."""
    if manifest.checksums is None:
        return None
    try:
        own = parse_checksums(manifest.checksums)
    except IntegrityError as error:
        _log.debug("the source's %s is ignored: %s", MARKER, error)
        return None
    return own if own.covers(manifest) else None


def published_digests(manifest: Manifest) -> dict[str, str]:
    """Return path → sha256 that the source publishes of each file, or its own checksum file; empty without either."""
    own = parse_own(manifest)
    listed = own.files if own is not None else {}
    return {file.path: sha256_of(file) or listed.get(file.path, "") for file in manifest.files}


def _listed_now(
    files: FileOperations, manifest: Manifest, digests: Mapping[str, str], proof_of: Callable[[str], str]
) -> Checksums:
    """Return the mark of the manifest's files, in tables."""
    paths = Paths(manifest.paths)
    sha256, verified_by, records = Packed(paths), Words[str](paths), record_table(paths)
    for file, found in _final_files(files, manifest):
        sha256[file.path] = digest = digests[file.path]
        verified_by[file.path] = proof = proof_of(file.path) or UNKNOWN
        records[file.path] = record_of(file, digest, proof, found)
    require_two_files(files, manifest.paths)
    return Checksums(
        sha256,
        source=manifest.uri,
        revision=manifest.revision or "",
        version=hash_of(manifest.version),
        proofs=verified_by,
        origins=(Origin(manifest.origin, manifest.revision or ""),),
        records=records,
    )


def _final_files(files: FileOperations, manifest: Manifest) -> Iterator[tuple[RemoteFile, Stat]]:
    """Yield the files of the manifest. Raises VolumeError if one is gone or of another size."""
    for start in range(0, len(manifest.files), LOOKED_AT):
        some = manifest.files[start : start + LOOKED_AT]
        found = stats_of(files, paths_of(some))
        for file in some:
            details = found.get(file.path)
            if details is None or details.kind is not Kind.FILE or details.size != file.size:
                raise VolumeError(
                    f"{file.path} was changed by another program during the run", hint="run again to mend it"
                )
            yield file, details
