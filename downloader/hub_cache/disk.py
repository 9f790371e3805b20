"""The folder of a repository as the volume sees it: a blob in the store of all repositories is a file.

`huggingface_hub` moves what it has fetched by Xet to `<cache>/blobs/<xx>/<Xet hash>`, which all repositories share, and
leaves a symlink in its place. Such a link, and no other, is followed, so that these bytes are hashed once and reused.
A run never changes what is in the store: a damaged blob is replaced by a file of the repository's own.
"""
# ruff: noqa: D102 -- FileOperations documents the methods

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from downloader.errors import DownloadError, VolumeError
from downloader.filesystem import Disk, Kind, LinkingDisk, ReadOnlyDisk, clear
from downloader.hub_cache.layout import BLOBS, REFS, SNAPSHOTS

if TYPE_CHECKING:
    from pathlib import Path

    from downloader.filesystem import Stat

_SHARED = re.compile(r"\.\./\.\./(blobs/([0-9a-f]{2})/\2[0-9a-f]{62})")
"""The text of a link into the store."""
_TAG = "CACHEDIR.TAG"
_TAG_CONTENT = b"""Signature: 8a477f597d28d172789f06886806bc55
# This folder is a cache of huggingface_hub. Backups may leave it out: https://bford.info/cachedir/
"""


class CacheDisk(LinkingDisk):
    """The folder of a repository in a cache."""

    file_mode, folder_mode = 0o666, 0o777
    """As the library makes them: the umask decides who else may use a cache."""

    def __init__(self, target: Path, *, create: bool = True, shown: str = "") -> None:
        super().__init__(target, create=create, shown=shown)
        try:
            self._cache = Disk(target.parent, create=False)
        except DownloadError:
            super().close_all()
            raise

    def tag_cache(self) -> None:
        """Mark the cache as one, as the library does, so that backups can leave it out. Not where it is read-only."""
        if self._cache.stat(_TAG) is not None:
            return
        with suppress(DownloadError):
            handle = self._cache.create(_TAG)
            try:
                self._cache.write(handle, 0, _TAG_CONTENT)
            finally:
                self._cache.close(handle)

    def replace(self, path: str, content: bytes, staged: str) -> None:
        """Give a file this content, at once and durably: it is written at the path `staged` first.

        The folder that it is in is not synced.
        """
        clear(self, staged)
        handle = self.create(staged)
        try:
            self.write(handle, 0, content)
            self.sync(handle)
        finally:
            self.close(handle)
        self.rename(staged, path)

    def open(self, path: str, *, write: bool = False) -> int:
        shared = None if write else self._shared_path(path)
        return super().open(path, write=write) if shared is None else self._cache.open(shared)

    def stat(self, path: str) -> Stat | None:
        return self._resolved(path, super().stat(path)) if path else super().stat(path)

    def stats(self, folder: str, names: list[str]) -> dict[str, Stat]:
        found = super().stats(folder, names)
        if folder != BLOBS:
            return found
        return {name: self._resolved(f"{folder}/{name}", details) or details for name, details in found.items()}

    def close_all(self) -> None:
        self._cache.close_all()
        super().close_all()

    def _resolved(self, path: str, found: Stat | None) -> Stat | None:
        """Return the metadata of the file that a link leads to, if that is one into the store; else what was found."""
        if found is None or found.kind is not Kind.SYMLINK:
            return found
        shared = self._shared_path(path)
        if shared is None:
            return found
        try:
            return self._cache.stat(shared) or found
        except VolumeError:  # of a store that another user keeps private: its bytes are fetched
            return found

    def _shared_path(self, path: str) -> str | None:
        if path.partition("/")[0] != BLOBS:
            return None
        text = self.link_text(path)
        match = _SHARED.fullmatch(text) if text is not None else None
        return match[1] if match else None


class ReadOnlyCacheDisk(ReadOnlyDisk, CacheDisk):
    """The same folder to look at: nothing is changed in it, and it may be missing."""

    def require_rights(self, folder: str) -> None:
        for place in (folder, *(SNAPSHOTS, REFS) * (not folder)):  # a run writes to all of them
            if not place or self.stat(place) is not None:
                super().require_rights(place)

    def link_text(self, path: str) -> str | None:
        return None if self._missing else super().link_text(path)

    def has_symlinks(self) -> bool:
        """Return True: that cannot be tried without changing something."""
        return True
