"""What makes a list of checksums ours: by it a finished artifact is known again, by metadata alone.

Anybody can write comments into a list, and a source's own list is kept as it is. So each list that a run writes ends
its comments with a seal: a sha256 over everything else in the file and the inode of the file itself, which nobody
knows before it is written, and which no copy has. Where it does not fit, only the checksums count, and the files have
to be hashed.

A record says of one file how it looked when it was verified (a hash of size, time of change, inode, digest and proof),
what it is (`RemoteFile.identity`), and which artifact it is of. A file that looks as its record says has not been
changed since. No times are compared, so clocks and dates in the future do no harm.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm, Digest, Manifest, RemoteFile
from downloader.filesystem import Kind, stats_of
from downloader.integrity import Origin, seal_line
from downloader.lease import WORK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.filesystem import FileOperations, Stat
    from downloader.integrity import Checksums

_IDENTITY = slice(0, 16)
_LOOK = slice(16, 23)
_LATEST = 0
"""The number of the origin whose files are those of the artifact that was downloaded last."""
_ORIGIN = 23
"""The last byte of a record; together they are as many as `checksums.RECORD` characters of base64."""


def record_of(file: RemoteFile, sha256: str, proof: str, found: Stat) -> str:
    """Return the record of a file that was just verified, of the artifact that is downloaded now."""
    look = _look(file.path, sha256, proof, found)
    return urlsafe_b64encode(bytes.fromhex(file.identity) + look + bytes([_LATEST])).decode()


def with_origin(record: str, origin: int) -> str:
    """Return the record with another one of the list's origins, of which there are `MOST_ORIGINS` at most."""
    return urlsafe_b64encode(urlsafe_b64decode(record)[:_ORIGIN] + bytes([origin])).decode()


def is_unchanged(checksums: Checksums, path: str, found: Stat) -> bool:
    """Tell whether a file looks as it did when it was verified. False for one that has no record."""
    record = checksums.records.get(path)
    if record is None or found.kind is not Kind.FILE:
        return False
    look = _look(path, checksums.files[path], checksums.proof_of(path), found)
    return urlsafe_b64decode(record)[_LOOK] == look


def identity_of(checksums: Checksums, path: str) -> str:
    """Return the content name of a file; empty if it has no record."""
    record = checksums.records.get(path)
    return urlsafe_b64decode(record)[_IDENTITY].hex() if record else ""


def latest(checksums: Checksums) -> list[str]:
    """Return the paths of the artifact that was downloaded last, all of them and nothing else."""
    return [path for path, record in checksums.records.items() if urlsafe_b64decode(record)[_ORIGIN] == _LATEST]


def origin_of(checksums: Checksums, path: str) -> Origin | None:
    """Return the artifact that a file is of; None if it has no record."""
    record = checksums.records.get(path)
    number = urlsafe_b64decode(record)[_ORIGIN] if record else len(checksums.origins)
    return checksums.origins[number] if number < len(checksums.origins) else None


def stamp_of(raw: bytes, inode: int) -> str:
    """Return the seal for the file with this inode that has this content but for the seal itself."""
    return hashlib.sha256(b"%d\n" % inode + raw).hexdigest()


def is_ours(checksums: Checksums, inode: int) -> bool:
    """Tell whether a run wrote this list into the very file that it was read from."""
    if not checksums.seal:
        return False
    bare = checksums.raw.replace(seal_line(checksums.seal), b"", 1)
    return len(bare) < len(checksums.raw) and checksums.seal == stamp_of(bare, inode)


def hash_of(version: str | None) -> str:
    """Return what a list says of `Manifest.version`; empty where there is none."""
    return hashlib.sha256(version.encode()).hexdigest() if version else ""


@dataclass(frozen=True, slots=True)
class CompletedArtifact:
    """Files that stand as a finished run left them, as far as the volume can tell."""

    checksums: Checksums
    found: Mapping[str, Stat] = field(repr=False)

    def fits(self, version: str) -> bool:
        """Tell whether these are the files of this version."""
        return self.checksums.version == hash_of(version)

    @property
    def manifest(self) -> Manifest:
        """The files as an artifact of their own: nothing of where they can be fetched."""
        digests = sorted(self.digests.items())
        files = (
            RemoteFile(path, self.found[path].size, (Digest(Algorithm.SHA256, digest),)) for path, digest in digests
        )
        return Manifest(self.checksums.source, tuple(files), self.checksums.revision or None)

    @property
    def digests(self) -> dict[str, str]:
        """The sha256 of each path."""
        return {path: self.checksums.files[path] for path in self.found}

    @property
    def proofs(self) -> dict[str, str]:
        """What proved each path when it was downloaded."""
        return {path: self.checksums.proof_of(path) for path in self.found}


def find_completed(files: FileOperations, checksums: Checksums | None) -> CompletedArtifact | None:
    """Return the artifact of a finished run if nothing but metadata shows that it was touched.

    None if there is none, or if a run has to go on.
    """
    if checksums is None or not checksums.version or not checksums.whole or files.scan(WORK):
        return None
    paths = latest(checksums)
    found = stats_of(files, paths)
    if len(found) < len(paths) or not all(is_unchanged(checksums, path, found[path]) for path in paths):
        return None
    return CompletedArtifact(checksums, found)


def _look(path: str, sha256: str, proof: str, found: Stat) -> bytes:
    facts = f"{found.size} {found.mtime_ns} {found.inode} {sha256} {proof}  {path}"
    return hashlib.sha256(facts.encode()).digest()[: _LOOK.stop - _LOOK.start]
