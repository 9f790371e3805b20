"""What earlier runs have left: unfinished files of killed ones, and finished files beside the artifact of this run.

Unfinished files, of other tools and of ours, are removed by `reclaim`, under the lease, and only if they are certainly
such. Finished files stay listed, or `remove_outdated` removes them. A run that is killed between its completion mark
and that removal has announced what it removes in `OBSOLETE`, so that the next run can continue. Such a file is removed
only as long as it is just what a run of ours has verified.
"""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from downloader.errors import VolumeError
from downloader.filesystem import Kind, NotThere, discard, remove, stats_of
from downloader.formatting import format_count, names_text
from downloader.integrity import MAX_ORIGINS, Checksums
from downloader.lease import WORK
from downloader.volume import completion
from downloader.volume.records import is_unchanged, origin_of, with_origin

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from downloader.filesystem import FileOperations

QUIET_NS = 60 * 1_000_000_000
"""Nanoseconds for which another tool's file must not have changed: a running one writes all the time."""

_HUGGINGFACE = ".cache/huggingface"
_S3CMD = re.compile(r"\.s3cmd\.[A-Za-z0-9_]{6,12}\.tmp")
_PARTIAL = re.compile(r"([0-9a-f]{32})(?:\.[0-9a-f]+)?\.(?:part|journal)")
"""A partial or its journal; between the content name and that, one of several processes has its own name."""
_DEEPEST = 64


OBSOLETE = f"{WORK}/obsolete.sha256"
"""The files that a run removes after it has written the mark."""

_log = logging.getLogger(__name__)


class StaleFile(NamedTuple):
    """A file that no run will use, or a folder of ours with all that is in it."""

    path: str
    size: int
    """Bytes that its removal frees, not counting what is in a folder."""
    kind: Kind = Kind.FILE


def foreign_partials(
    files: FileOperations,
    folders: Mapping[str, Iterable[str]],
    now_ns: int,
    is_kept: Callable[[str], bool] = lambda _path: False,
) -> Iterator[StaleFile]:
    """Yield what `hf download` and s3cmd left unfinished in the target and in folders of it: folder → `maybe_partials`.

    `is_kept` tells which are files of the artifact, which may have such names.
    """
    with suppress(VolumeError):  # a cache that we may not read is not ours to clean up
        for path in _incomplete(files, _HUGGINGFACE, _DEEPEST):
            if not is_kept(path):
                yield from _if_quiet(files, path, now_ns)
    for folder, names in folders.items():
        for name in names:
            if not is_kept(path := f"{folder}/{name}".lstrip("/")):
                yield from _if_quiet(files, path, now_ns)


def maybe_partials(names: Mapping[str, Kind]) -> list[str]:
    """Return those names of a folder that are of files which s3cmd may have left."""
    return [name for name, kind in names.items() if kind is Kind.FILE and _S3CMD.fullmatch(name)]


def is_work_of_others(path: str) -> bool:
    """Return whether a path of a target is that of what `hf download` and s3cmd keep for themselves."""
    return path.startswith(f"{_HUGGINGFACE}/") or _S3CMD.fullmatch(path.rpartition("/")[2]) is not None


def stale_partials(files: FileOperations, folder: str, identities: AbstractSet[str]) -> Iterator[StaleFile]:
    """Yield partials of content that the artifact does not have, and anything else in a folder of partials."""
    for name, kind in files.scan(folder).items():
        found = _PARTIAL.fullmatch(name)
        stale = kind is Kind.FOLDER or found is None or found[1] not in identities
        if stale and (details := files.stat(f"{folder}/{name}")) is not None:
            yield StaleFile(f"{folder}/{name}", details.allocated, kind)


def reclaim(files: FileOperations, stale_files: Iterable[StaleFile]) -> int:
    """Remove them and return the bytes freed."""
    freed = 0
    for stale in stale_files:
        remove(files, stale.path, stale.kind)
        freed += stale.size
    return freed


def _incomplete(files: FileOperations, folder: str, depth: int) -> Iterator[str]:
    for name, kind in files.scan(folder).items():
        if kind is Kind.FOLDER and depth:
            yield from _incomplete(files, f"{folder}/{name}", depth - 1)
        elif kind is Kind.FILE and name.endswith(".incomplete"):
            yield f"{folder}/{name}"


def _if_quiet(files: FileOperations, path: str, now_ns: int) -> Iterator[StaleFile]:
    found = files.stat(path)
    if found is not None and now_ns - found.mtime_ns >= QUIET_NS:
        yield StaleFile(path, found.allocated)


def with_earlier(
    files: FileOperations, now: Checksums, before: Checksums, obsolete: Collection[str], consumed: Collection[str]
) -> tuple[Checksums, Checksums]:
    """Add to a mark what earlier runs have listed in `before`, except what was `consumed` or changed since.

    Also return what is to be removed: the `obsolete` paths among these, and what an earlier run was about to remove.
    """
    nameless = before.expected - len(before.files) - len(now.files.keys() - before.files.keys())
    if nameless > 0:
        _log.warning(
            "not listed any more: %s of earlier runs, gone or replaced together with its mark",
            format_count(nameless, "file"),
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
        known = origin in origins[1:] or len(origins) < MAX_ORIGINS
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
            "not listed any more: %s of earlier runs, changed or removed since: %s",
            format_count(len(lost), "file"),
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
        what = format_count(len(outdated.files), "file")
        _log.info("removed %s of an earlier revision: %s", what, names_text(outdated.files))


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
