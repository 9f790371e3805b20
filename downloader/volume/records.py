"""The record of one file, by which a later run recognizes what was verified.

It describes the file when it was verified: a hash of its metadata (size, time of change, inode), digest and proof; what
it is (`RemoteFile.identity`); and which artifact it belongs to. A file whose metadata still fits its record has not
changed since. No two times are compared, so wrong clocks and dates in the future do no harm.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING

from downloader.artifact import Packed
from downloader.filesystem import Kind

if TYPE_CHECKING:
    from downloader.artifact import Paths, RemoteFile
    from downloader.filesystem import Stat
    from downloader.integrity import Checksums, Origin

LOOKED_AT = 10_000
"""Files whose metadata is asked for together: of a million, that would be half a GiB."""

_IDENTITY = slice(0, 16)
_METADATA = slice(16, 23)
_LATEST = 0
"""The number of the origin whose files are those of the artifact that was downloaded last."""
_ORIGIN = 23
"""The last byte of a record; a whole record is `integrity.RECORD` characters of base64."""


def record_of(file: RemoteFile, sha256: str, proof: str, found: Stat) -> str:
    """Return the record of a file that was just verified, of the artifact that is downloaded now."""
    metadata = _metadata_hash(file.path, sha256, proof, found)
    return urlsafe_b64encode(bytes.fromhex(file.identity) + metadata + bytes([_LATEST])).decode()


def record_table(paths: Paths) -> Packed:
    """Return an empty table of records: path → record."""
    return Packed(paths, _ORIGIN + 1, urlsafe_b64decode, lambda record: urlsafe_b64encode(record).decode())


def with_origin(record: str, origin: int) -> str:
    """Return the record with another one of the mark's origins, of which there are `MAX_ORIGINS` at most."""
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
