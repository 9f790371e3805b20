"""Finds files that killed runs have left: unfinished ones of other tools and of ours, and only what is certainly such.

Nothing is removed here but by `reclaim`, under the lease.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from downloader.errors import VolumeError
from downloader.filesystem import Kind, remove

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from downloader.filesystem import FileOperations

QUIET_NS = 60 * 1_000_000_000
"""Nanoseconds for which another tool's file must not have changed: a running one writes all the time."""

_HUGGINGFACE = ".cache/huggingface"
_S3CMD = re.compile(r"\.s3cmd\.[A-Za-z0-9_]{6,12}\.tmp")
_PARTIAL = re.compile(r"([0-9a-f]{32})\.(?:part|journal)")
_DEEPEST = 64


class StaleFile(NamedTuple):
    """A file that no run will use, or a folder of ours with all that is in it."""

    path: str
    size: int
    """Bytes that its removal frees, not counting what is in a folder."""
    kind: Kind = Kind.FILE


def foreign_partials(
    files: FileOperations, folders: Iterable[str], now_ns: int, kept: AbstractSet[str] = frozenset()
) -> Iterator[StaleFile]:
    """Yield what `hf download` and s3cmd left unfinished in the target and the given folders of it.

    `kept` are files of the artifact, which may have such names.
    """
    with suppress(VolumeError):  # a cache that we may not read is not ours to clean up
        for path in _incomplete(files, _HUGGINGFACE, _DEEPEST):
            if path not in kept:
                yield from _if_quiet(files, path, now_ns)
    for folder in folders:
        for name, kind in files.scan(folder).items():
            path = f"{folder}/{name}".lstrip("/")
            if kind is Kind.FILE and _S3CMD.fullmatch(name) and path not in kept:
                yield from _if_quiet(files, path, now_ns)


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
