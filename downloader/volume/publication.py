"""The last step: the completion mark, and nothing else left of the run."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from downloader.errors import InternalError, VolumeError
from downloader.filesystem import Kind, discard, remove, stats_of
from downloader.formatting import names_text
from downloader.integrity import MOST_ORIGINS, UNKNOWN, Checksums, Origin
from downloader.lease import PARTS, WORK, is_lease
from downloader.volume import completion
from downloader.volume.known_files import parse_own
from downloader.volume.names import require_two_files
from downloader.volume.stamp import hash_of, is_unchanged, origin_of, record_of, with_origin

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from downloader.artifact import Completion, Manifest
    from downloader.filesystem import FileOperations, Stat

_log = logging.getLogger(__name__)


class Publication(NamedTuple):
    """What a run publishes."""

    manifest: Manifest
    digests: Mapping[str, str]
    """Path → sha256 of every file of the manifest."""
    consumed: Collection[str] = ()
    """Verified files that the manifest does not have, such as an archive that was unpacked: removed in the end."""


def publish(
    files: FileOperations,
    folder: str,
    manifest: Manifest,
    digests: Mapping[str, str],
    *,
    date: datetime,
    proofs: Mapping[str, str],
    obsolete: Collection[str],
    consumed: Collection[str],
    where: Completion,
    confirm: Callable[[], None],
) -> None:
    """Mark the artifact as complete, durably and at once. `folder` is the lease holder's.

    What earlier runs have listed stays listed if nobody has changed it, but for the `obsolete` paths: these files are
    removed after that, and so are the `consumed` ones, whoever brought them.
    """
    confirm()
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

    Partials go only from the holder's own `folder`: any others belong to somebody who has taken over this very moment.
    """
    for name, kind in files.scan(WORK).items():
        path = f"{WORK}/{name}"
        if path == folder or not (is_lease(name) or name.startswith(PARTS)):
            remove(files, path, kind)


def _listed_now(
    files: FileOperations, manifest: Manifest, digests: Mapping[str, str], proofs: Mapping[str, str]
) -> Checksums:
    """Return what there is to say of the manifest's files."""
    found = _final_files(files, manifest)
    sha256 = {file.path: digests[file.path] for file in manifest.files}
    proved_by = {file.path: proofs.get(file.path) or UNKNOWN for file in manifest.files}
    return Checksums(
        sha256,
        source=manifest.uri,
        revision=manifest.revision or "",
        version=hash_of(manifest.version),
        proofs=proved_by,
        origins=(Origin(manifest.origin, manifest.revision or ""),),
        records={
            file.path: record_of(file, sha256[file.path], proved_by[file.path], found[file.path])
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
            raise VolumeError(f"{file.path} was changed by somebody else during the run", hint="run again to mend it")
    require_two_files(files, found)
    return found
