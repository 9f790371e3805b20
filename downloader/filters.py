"""Include and exclude patterns, which download, size and verify apply in the same way."""

from __future__ import annotations

import hashlib
import json
from array import array
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from downloader.artifact import paths_of, select
from downloader.errors import SourceNotFound, UsageError
from downloader.formatting import format_count
from downloader.presets import ambiguous, available

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from downloader.artifact import Manifest
    from downloader.presets import Preset


@dataclass(frozen=True, slots=True)
class FileFilter:
    """Case-sensitive globs for relative paths, in which `*` also matches `/`. Without `include` all files match.

    A glob that ends in `/` means all files below that folder, as in the Hub's tools.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    preset: Preset | None = None
    """Chooses one format of the weights, among the files that pass the globs."""
    always: Callable[[Iterable[str], Collection[str]], Collection[str]] | None = None
    """Returns which of the paths are wanted whatever the others say, such as a signature that is to be verified.

    It gets those paths that the others want, too.
    """

    def __post_init__(self) -> None:
        for name in ("include", "exclude"):
            object.__setattr__(self, name, tuple(map(_with_wildcard, getattr(self, name))))

    def wants(self, path: str) -> bool:
        """Tell whether the file with this path may be wanted; a preset can still leave it out for another one."""
        return self._passes(path) or bool(self.always is not None and self.always([path], ()))

    def _passes(self, path: str) -> bool:
        kept = not self.include or any(fnmatchcase(path, glob) for glob in self.include)
        kept = kept and not any(fnmatchcase(path, glob) for glob in self.exclude)
        return kept and (self.preset is None or self.preset.may_want(path))

    def choose(self, paths: Iterable[str]) -> Collection[str]:
        """Return the wanted ones of all paths of an artifact. Raises UsageError if the preset can mean several."""
        if self.always is None:
            return self._chosen(paths)
        paths = list(paths)
        chosen = self._chosen(paths)
        wanted = {*chosen, *self.always(paths, chosen)}
        return [path for path in paths if path in wanted]

    def _chosen(self, paths: Iterable[str]) -> Collection[str]:
        wanted = [path for path in paths if self._passes(path)]
        if self.preset is None:
            return wanted
        if several := ambiguous(self.preset, wanted):
            hint = f"choose one: {', '.join(f'--only gguf:{name}' for name in several)}"
            raise UsageError(f"--only {self.preset} can mean {format_count(len(several), 'quantisation')}", hint=hint)
        return self.preset.choose(wanted)

    def of(self, manifest: Manifest) -> Manifest:
        """Return the manifest of the wanted files. Filters do not apply to a single file.

        Raises SourceNotFound if the filters exclude all files.
        """
        if manifest.single or not self:
            return manifest
        version = self.version_of(manifest.version)
        paths = manifest.paths
        wanted = frozenset(self.choose(paths))
        files = select(manifest.files, array("I", (row for row, path in enumerate(paths) if path in wanted)))
        if len(files) == (len(self.always(paths_of(files), ())) if self.always else 0):
            raise self.nothing_left(paths, manifest.uri)
        checksums = manifest.checksums if len(files) == len(manifest.files) else None
        return replace(manifest, files=files, version=version, checksums=checksums)

    def version_of(self, whole: str | None) -> str | None:
        """Return the version of the wanted files of a folder with version `whole`. It depends on the filters."""
        if whole is None or not self:
            return whole
        chosen = [whole, self.include, self.exclude, *([str(self.preset)] if self.preset else [])]
        chosen += ["always"] if self.always else []
        return hashlib.sha256(json.dumps(chosen).encode()).hexdigest()

    def __bool__(self) -> bool:
        """Tell whether anything may be left out."""
        return bool(self.include or self.exclude or self.preset)

    def nothing_left(self, paths: Sequence[str], uri: str) -> SourceNotFound:
        """Return the error for filters that exclude all files of an artifact."""
        hint = "check AIM_HF_INCLUDE and AIM_HF_EXCLUDE, or --include and --exclude"
        if self.preset is not None:
            others = ", ".join(f"--only {preset}" for preset in available(paths))
            hint = f"it has {others}" if others else "no preset fits it; use --include and --exclude"
            if len(paths) and self.preset.choose(paths):
                hint = "the globs of --include and --exclude leave out what --only chooses"
            return SourceNotFound(f"{uri} has no weights for --only {self.preset}", hint=hint)
        return SourceNotFound(f"none of the {format_count(len(paths), 'file')} of {uri} passes the filters", hint=hint)


def _with_wildcard(glob: str) -> str:
    return f"{glob}*" if glob.endswith("/") else glob
