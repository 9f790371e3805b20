"""The last step of a run, and what a later run recognizes by it: the records of verified files.

A record describes one file when it was verified: a hash of its metadata (size, time of change, inode), digest and
proof; what it is (`RemoteFile.identity`); and which artifact it belongs to. A file whose metadata still fits its record
has not changed since. No two times are compared, so wrong clocks and dates in the future do no harm.
"""

from __future__ import annotations

import hashlib
import logging
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from downloader.artifact import Algorithm, Digest, Manifest, RemoteFile
from downloader.errors import IntegrityError, InternalError, VolumeError
from downloader.filesystem import Kind, discard, remove, stats_of
from downloader.formatting import names_text
from downloader.integrity import MARKER, MOST_ORIGINS, UNKNOWN, Checksums, Origin, parse_checksums
from downloader.lease import PARTS, WORK, is_lease
from downloader.volume import completion
from downloader.volume.preflight import require_two_files

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from downloader.artifact import Completion
    from downloader.filesystem import FileOperations, Stat

_IDENTITY = slice(0, 16)
_METADATA = slice(16, 23)
_LATEST = 0
"""The number of the origin whose files are those of the artifact that was downloaded last."""
_ORIGIN = 23
"""The last byte of a record; a whole record is `integrity.RECORD` characters of base64."""

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
    proofs: Mapping[str, str],
    obsolete: Collection[str],
    where: Completion,
    confirm: Callable[[], None],
) -> None:
    """Mark the artifact as complete, durably and at once. `folder` is the lease holder's.

    Files that earlier runs have listed stay listed if they are unchanged, except the `obsolete` paths: those are
    removed after that, and so are the `consumed` ones, listed or not.
    """
    confirm()
    manifest, digests, consumed = published
    lacking = [file.path for file in manifest.files if file.path not in digests]
    if lacking:
        raise InternalError(f"{lacking[0]} was never verified, and so are {len(lacking) - 1} others")
    checksums = _listed_now(files, manifest, digests, proofs)
    outdated: list[str] = []
    checksums = _with_earlier(files, checksums, obsolete, consumed, outdated)
    own = parse_own(manifest)
    if own is not None and any(own.files[file.path] != digests[file.path] for file in manifest.files):
        own = None
    completion.write(files, folder, checksums, date, completion=where, own=own, confirm=confirm)
    for path in outdated:
        discard(files, path)
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


def record_of(file: RemoteFile, sha256: str, proof: str, found: Stat) -> str:
    """Return the record of a file that was just verified, of the artifact that is downloaded now."""
    metadata = _metadata_hash(file.path, sha256, proof, found)
    return urlsafe_b64encode(bytes.fromhex(file.identity) + metadata + bytes([_LATEST])).decode()


def with_origin(record: str, origin: int) -> str:
    """Return the record with another one of the mark's origins, of which there are `MOST_ORIGINS` at most."""
    return urlsafe_b64encode(urlsafe_b64decode(record)[:_ORIGIN] + bytes([origin])).decode()


def is_unchanged(checksums: Checksums, path: str, found: Stat) -> bool:
    """Return whether a file's metadata is that of its record. False for a file without a record."""
    record = checksums.records.get(path)
    if record is None or found.kind is not Kind.FILE:
        return False
    metadata = _metadata_hash(path, checksums.files[path], checksums.proof_of(path), found)
    return urlsafe_b64decode(record)[_METADATA] == metadata


def identity_of(checksums: Checksums, path: str) -> str:
    """Return the content name of a file; empty if it has no record."""
    record = checksums.records.get(path)
    return urlsafe_b64decode(record)[_IDENTITY].hex() if record else ""


def latest(checksums: Checksums) -> list[str]:
    """Return the paths of the artifact that was downloaded last, all of them and nothing else."""
    return [path for path, record in checksums.records.items() if urlsafe_b64decode(record)[_ORIGIN] == _LATEST]


def origin_of(checksums: Checksums, path: str) -> Origin | None:
    """Return the artifact that a file belongs to; None if it has no record."""
    record = checksums.records.get(path)
    number = urlsafe_b64decode(record)[_ORIGIN] if record else len(checksums.origins)
    return checksums.origins[number] if number < len(checksums.origins) else None


def hash_of(version: str | None) -> str:
    """Return what a mark has of `Manifest.version`; empty without a version."""
    return hashlib.sha256(version.encode()).hexdigest() if version else ""


def _metadata_hash(path: str, sha256: str, proof: str, found: Stat) -> bytes:
    fields = f"{found.size} {found.mtime_ns} {found.inode} {sha256} {proof}  {path}"
    return hashlib.sha256(fields.encode()).digest()[: _METADATA.stop - _METADATA.start]


def _listed_now(
    files: FileOperations, manifest: Manifest, digests: Mapping[str, str], proofs: Mapping[str, str]
) -> Checksums:
    """Return the mark of the manifest's files."""
    found = _final_files(files, manifest)
    sha256 = {file.path: digests[file.path] for file in manifest.files}
    verified_by = {file.path: proofs.get(file.path) or UNKNOWN for file in manifest.files}
    return Checksums(
        sha256,
        source=manifest.uri,
        revision=manifest.revision or "",
        version=hash_of(manifest.version),
        proofs=verified_by,
        origins=(Origin(manifest.origin, manifest.revision or ""),),
        records={
            file.path: record_of(file, sha256[file.path], verified_by[file.path], found[file.path])
            for file in manifest.files
        },
    )


def _with_earlier(
    files: FileOperations,
    now: Checksums,
    obsolete: Collection[str],
    consumed: Collection[str],
    outdated: list[str],
) -> Checksums:
    """Add what earlier runs have listed, except what was `consumed` or changed; `obsolete` paths go to `outdated`."""
    before = completion.last(files) or Checksums({})
    nameless = before.expected - len(before.files) - len(now.files.keys() - before.files.keys())
    if nameless > 0:
        _log.warning(
            "%d files of earlier runs are gone or replaced, and their marks with them: they are not listed any more",
            nameless,
        )
    earlier = [path for path in before.records if path not in now.files and path not in consumed]
    if not earlier:
        return now
    found = stats_of(files, earlier)
    origins = list(now.origins)
    sha256, proofs, records = dict(now.files), dict(now.proofs), dict(now.records)
    lost = []
    for path in earlier:
        origin = origin_of(before, path)
        known = origin in origins[1:] or len(origins) < MOST_ORIGINS
        if origin is None or not known or path not in found or not is_unchanged(before, path, found[path]):
            lost.append(path)
        elif path in obsolete:
            outdated.append(path)
        else:
            if origin not in origins[1:]:
                origins.append(origin)
            sha256[path], proofs[path] = before.files[path], before.proof_of(path)
            records[path] = with_origin(before.records[path], origins.index(origin, 1))
    if lost:
        _log.warning(
            "%d files of earlier runs were changed or removed since, and are not listed any more: %s",
            len(lost),
            names_text(lost),
        )
    return replace(now, files=sha256, proofs=proofs, origins=tuple(origins), records=records)


def _final_files(files: FileOperations, manifest: Manifest) -> dict[str, Stat]:
    """Return the files of the manifest by path. Raises VolumeError if one is gone or of another size."""
    found = stats_of(files, (file.path for file in manifest.files))
    for file in manifest.files:
        details = found.get(file.path)
        if details is None or details.kind is not Kind.FILE or details.size != file.size:
            raise VolumeError(f"{file.path} was changed by another program during the run", hint="run again to mend it")
    require_two_files(files, found)
    return found
