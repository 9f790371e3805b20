"""The files that earlier runs have left beside an artifact: they stay listed, or they are removed.

A run that is killed between its completion mark and the removal has announced what it removes in `OBSOLETE`, so that
the next run can continue. A file is removed only as long as it is just what a run of ours has verified.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from downloader.errors import VolumeError
from downloader.filesystem import NotThere, discard, stats_of
from downloader.formatting import names_text
from downloader.integrity import MOST_ORIGINS, Checksums
from downloader.lease import WORK
from downloader.volume import completion
from downloader.volume.records import is_unchanged, origin_of, with_origin

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from datetime import datetime

    from downloader.filesystem import FileOperations

OBSOLETE = f"{WORK}/obsolete.sha256"
"""The files that a run removes after it has written the mark."""

_log = logging.getLogger(__name__)


def with_earlier(
    files: FileOperations, now: Checksums, obsolete: Collection[str], consumed: Collection[str]
) -> tuple[Checksums, Checksums]:
    """Add to a mark what earlier runs have listed, except what was `consumed` or changed since.

    Also return what is to be removed: the `obsolete` paths among these, and what an earlier run was about to remove.
    """
    before = completion.last(files) or Checksums({})
    nameless = before.expected - len(before.files) - len(now.files.keys() - before.files.keys())
    if nameless > 0:
        _log.warning(
            "%d files of earlier runs are gone or replaced, and their marks with them: they are not listed any more",
            nameless,
        )
    outdated = _recorded(files, now, before)
    earlier = [path for path in before.records if path not in now.files and path not in consumed]
    if not earlier:
        return now, outdated
    found = stats_of(files, earlier)
    origins = list(now.origins)
    sha256, proofs, records = dict(now.files), dict(now.proofs), dict(now.records)
    removed, lost = [], []
    for path in earlier:
        origin = origin_of(before, path)
        known = origin in origins[1:] or len(origins) < MOST_ORIGINS
        if origin is None or not known or path not in found or not is_unchanged(before, path, found[path]):
            lost.append(path)
        elif path in obsolete:
            removed.append(path)
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
    mark = replace(now, files=sha256, proofs=proofs, origins=tuple(origins), records=records)
    return mark, _joined(outdated, _only(before, removed))


def record_obsolete(
    files: FileOperations, folder: str, outdated: Checksums, date: datetime, confirm: Callable[[], None]
) -> None:
    """Record durably what will be removed once the mark is written. `folder` and `confirm` are the lease holder's."""
    if outdated.files:
        completion.write_list(files, folder, OBSOLETE, outdated, date, confirm)


def remove_outdated(files: FileOperations, outdated: Checksums) -> None:
    """Remove these files durably, and the folders that are empty then."""
    folders = set()
    for path in outdated.files:
        discard(files, path)
        folders.add(path.rpartition("/")[0])
    for folder in sorted(folders, reverse=True):
        _leave(files, folder)
    if outdated.files:
        _log.info("removed %d files of an earlier revision: %s", len(outdated.files), names_text(outdated.files))


def _leave(files: FileOperations, folder: str) -> None:
    """Remove a folder if it is empty, and those above it; sync the first one that stays."""
    with suppress(VolumeError):
        while folder:
            files.remove_folder(folder)
            folder = folder.rpartition("/")[0]
    with suppress(NotThere):
        files.sync_folder(folder)


def _recorded(files: FileOperations, now: Checksums, before: Checksums) -> Checksums:
    """Return what a killed run has announced and not removed: it counts only once the mark lists it no more."""
    found = completion.in_file(files, OBSOLETE)
    if found is None:
        return Checksums({})
    left = [path for path in found.records if path not in now.files and path not in before.files]
    stats = stats_of(files, left)
    return _only(found, (path for path in left if path in stats and is_unchanged(found, path, stats[path])))


def _only(mark: Checksums, paths: Iterable[str]) -> Checksums:
    """Return the list of some files of a mark, with their records."""
    chosen = [path for path in paths if path in mark.files]
    return Checksums(
        {path: mark.files[path] for path in chosen},
        proofs={path: mark.proof_of(path) for path in chosen},
        records={path: mark.records[path] for path in chosen},
    )


def _joined(one: Checksums, other: Checksums) -> Checksums:
    return replace(
        one,
        files={**one.files, **other.files},
        proofs={**one.proofs, **other.proofs},
        records={**one.records, **other.records},
    )
