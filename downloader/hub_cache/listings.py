"""What runs have listed of a commit, kept in the repository's folder: offline, nothing else has its names (ADR 87).

    <repository>/.artifact.listings/<commit>    JSON: which folders were listed, and size and digests of each file

A commit does not change, so listings of different folders of it are joined.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm, Digest, RemoteFile
from downloader.errors import ConfigurationError, VolumeError
from downloader.sources.paths import PathValidator

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from downloader.hub_cache.disk import CacheDisk

LISTINGS = ".artifact.listings"
_MAX_SIZE = 512 << 20
"""Bytes. A hundred thousand files take 15 MB."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of one commit, as far as runs have listed it."""

    folders: frozenset[str] = frozenset()
    """What was listed in full: files and folders of the repository; the empty name is all of it."""
    files: Mapping[str, RemoteFile] = field(default_factory=dict)
    """By their paths, without anything about where they can be fetched."""

    def has(self, below: str) -> bool:
        """Return whether a file or folder was listed in full."""
        parts = below.split("/")
        return any("/".join(parts[:depth]) in self.folders for depth in range(len(parts) + 1))

    def joined(self, below: str, files: Iterable[RemoteFile]) -> Listing:
        """Return it with what was listed of a file or folder."""
        return Listing(self.folders | {below}, {**self.files, **{file.path: file for file in files}})


def read_listing(disk: CacheDisk, commit: str) -> Listing:
    """Return what is known of a commit: nothing where no listing of it can be read."""
    try:
        handle = disk.open(f"{LISTINGS}/{commit}")
        try:
            return _parsed(_content(disk, handle))
        finally:
            disk.close(handle)
    except (VolumeError, ConfigurationError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Listing()


def write_listing(disk: CacheDisk, commit: str, below: str, files: Iterable[RemoteFile], staged: str) -> None:
    """Record durably what a file or folder of a commit consists of: at the path `staged` first."""
    known = read_listing(disk, commit)
    if known.has(below):
        return
    listing = known.joined(below, files)
    content = {
        "folders": sorted(listing.folders),
        "files": {path: [file.size, *map(str, file.digests)] for path, file in sorted(listing.files.items())},
    }
    is_first = disk.make_folder(LISTINGS)
    disk.replace(f"{LISTINGS}/{commit}", json.dumps(content).encode(), staged)
    disk.sync_folder(LISTINGS)
    if is_first:
        disk.sync_folder("")


def _content(disk: CacheDisk, handle: int) -> bytes:
    size = disk.handle_stat(handle).size
    if size > _MAX_SIZE:
        raise ValueError("too large")
    view = memoryview(bytearray(size))
    return bytes(view[: disk.read(handle, 0, view)])


def _parsed(content: bytes) -> Listing:
    """Return a listing; raise any of several errors for another content: other programs may change the file."""
    found = json.loads(content)
    names, files = PathValidator(""), {}
    for path, (size, *digests) in found["files"].items():
        names.add(path)
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise TypeError(path)
        files[path] = RemoteFile(path, size, tuple(map(_digest, digests)))
    return Listing(frozenset(found["folders"]), files)


def _digest(text: str) -> Digest:
    algorithm, _, value = text.partition(":")
    return Digest(Algorithm(algorithm), value)
