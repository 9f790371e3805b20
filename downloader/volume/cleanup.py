"""What dead runs left: unfinished files of other tools and of ours. Only what is provably such a thing is named."""

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
"""How long another tool's file must not have changed: a running one writes all the time."""

_HUGGINGFACE = ".cache/huggingface"
_S3CMD = re.compile(r"\.s3cmd\.[A-Za-z0-9_]{6,12}\.tmp")
_OURS = re.compile(r"([0-9a-f]{32})\.(?:part|journal)")
_DEEPEST = 64


class Leftover(NamedTuple):
    """A file that nobody needs, or a folder of ours with whatever is in it."""

    path: str
    size: int
    """Bytes that its removal frees, not counting what is in a folder."""
    kind: Kind = Kind.FILE


def others(
    files: FileOperations, folders: Iterable[str], now_ns: int, kept: AbstractSet[str] = frozenset()
) -> Iterator[Leftover]:
    """Yield what `hf download` and s3cmd left unfinished in the target and the given folders of it.

    An artifact may have files of such names: `kept` are those that are no leftovers.
    """
    with suppress(VolumeError):  # a cache that we may not read is none that we may tidy
        for path in _incomplete(files, _HUGGINGFACE, _DEEPEST):
            if path not in kept:
                yield from _if_quiet(files, path, now_ns)
    for folder in folders:
        for name, kind in files.scan(folder).items():
            path = f"{folder}/{name}".lstrip("/")
            if kind is Kind.FILE and _S3CMD.fullmatch(name) and path not in kept:
                yield from _if_quiet(files, path, now_ns)


def ours(files: FileOperations, folder: str, identities: AbstractSet[str]) -> Iterator[Leftover]:
    """Yield partials of content that the artifact does not have, and whatever else lies in a folder of partials."""
    for name, kind in files.scan(folder).items():
        found = _OURS.fullmatch(name)
        foreign = kind is Kind.FOLDER or found is None or found[1] not in identities
        if foreign and (details := files.stat(f"{folder}/{name}")) is not None:
            yield Leftover(f"{folder}/{name}", details.allocated, kind)


def reclaim(files: FileOperations, leftovers: Iterable[Leftover]) -> int:
    """Remove them and return the bytes freed."""
    freed = 0
    for leftover in leftovers:
        remove(files, leftover.path, leftover.kind)
        freed += leftover.size
    return freed


def _incomplete(files: FileOperations, folder: str, depth: int) -> Iterator[str]:
    for name, kind in files.scan(folder).items():
        if kind is Kind.FOLDER and depth:
            yield from _incomplete(files, f"{folder}/{name}", depth - 1)
        elif kind is Kind.FILE and name.endswith(".incomplete"):
            yield f"{folder}/{name}"


def _if_quiet(files: FileOperations, path: str, now_ns: int) -> Iterator[Leftover]:
    found = files.stat(path)
    if found is not None and now_ns - found.mtime_ns >= QUIET_NS:
        yield Leftover(path, found.allocated)
