"""Include and exclude patterns, which download, size and verify apply in the same way."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from downloader.errors import SourceNotFound

if TYPE_CHECKING:
    from downloader.artifact import Manifest


@dataclass(frozen=True, slots=True)
class FileFilter:
    """Case-sensitive globs for relative paths, in which `*` also matches `/`. Without `include` all files match.

    A glob that ends in `/` means all files below that folder, as in the Hub's tools.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("include", "exclude"):
            object.__setattr__(self, name, tuple(map(_with_wildcard, getattr(self, name))))

    def wants(self, path: str) -> bool:
        """Tell whether the file with this path is wanted."""
        kept = not self.include or any(fnmatchcase(path, glob) for glob in self.include)
        return kept and not any(fnmatchcase(path, glob) for glob in self.exclude)

    def of(self, manifest: Manifest) -> Manifest:
        """Return the manifest of the wanted files. Filters do not apply to a single file.

        Raises SourceNotFound if the filters exclude all files.
        """
        if manifest.single or not (self.include or self.exclude):
            return manifest
        version = self.version_of(manifest.version)
        files = tuple(file for file in manifest.files if self.wants(file.path))
        if not files:
            raise nothing_left(len(manifest.files), manifest.uri)
        checksums = manifest.checksums if len(files) == len(manifest.files) else None
        return replace(manifest, files=files, version=version, checksums=checksums)

    def version_of(self, whole: str | None) -> str | None:
        """Return the version of the wanted files of a folder with version `whole`. It depends on the filters."""
        if whole is None or not (self.include or self.exclude):
            return whole
        return hashlib.sha256(json.dumps([whole, self.include, self.exclude]).encode()).hexdigest()


def _with_wildcard(glob: str) -> str:
    return f"{glob}*" if glob.endswith("/") else glob


def nothing_left(count: int, uri: str) -> SourceNotFound:
    """Return the error for filters that exclude all `count` files of an artifact."""
    return SourceNotFound(
        f"none of the {count} files of {uri} passes the filters",
        hint="check AIM_HF_INCLUDE and AIM_HF_EXCLUDE, or --include and --exclude",
    )
