"""Which files of an artifact are wanted: the same choice for download, size and verify."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from downloader.errors import SourceNotFound

if TYPE_CHECKING:
    from downloader.artifact import Manifest


@dataclass(frozen=True, slots=True)
class Selection:
    """Globs on relative paths, case-sensitive, `*` crosses `/`: first what to keep, then what to leave out."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def wants(self, path: str) -> bool:
        """Judge one path."""
        kept = not self.include or any(fnmatchcase(path, glob) for glob in self.include)
        return kept and not any(fnmatchcase(path, glob) for glob in self.exclude)

    def of(self, manifest: Manifest) -> Manifest:
        """Return the manifest of the wanted files, of a single file as it is. Raises SourceNotFound if none is left."""
        if manifest.single or not (self.include or self.exclude):
            return manifest
        files = tuple(file for file in manifest.files if self.wants(file.path))
        if not files:
            raise SourceNotFound(
                f"none of the {len(manifest.files)} files of {manifest.uri} passes the filters",
                hint="check AIM_HF_INCLUDE and AIM_HF_EXCLUDE, or --include and --exclude",
            )
        if len(files) == len(manifest.files):
            return manifest
        return replace(manifest, files=files, checksums=None)
