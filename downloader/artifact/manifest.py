"""All files of an artifact, and what its owners say of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from downloader.artifact.table import paths_of, sizes_of
from downloader.artifact.values import is_within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from downloader.artifact.values import RemoteFile


@dataclass(frozen=True, slots=True)
class Manifest:
    """All files of one artifact at one revision, sorted by path, without duplicates."""

    uri: str
    """The artifact's URI as given, without secrets."""
    files: Sequence[RemoteFile]
    """A tuple, or a `FileTable` where there may be many."""
    revision: str | None = None
    """The commit that the artifact was pinned to, where the source has commits."""
    version: str | None = None
    """What `Source.version` said of exactly these files, and of the filters that chose them."""
    checksums: bytes | None = field(default=None, repr=False)
    """The source's own `.artifact.sha256`, kept verbatim where it covers exactly these files."""
    skipped: int = 0
    """How many more the source has whose names lead out of the folder, and which are passed over."""
    single: bool = False
    """The URI names this one file and not a folder with a file in it: filters, which choose from a folder, are moot."""
    whole: str = ""
    """The repository or folder that the files are chosen from, whatever its revision; empty: the URI says it."""

    below: str = ""
    """Of a repository, only this file or folder was asked for; empty: all of it, as far as the filters go."""

    def may_have(self, path: str) -> bool:
        """Tell whether a path is one of those that were asked for, filters aside."""
        if self.single:
            return path == self.files[0].path
        return is_within(path, self.below)

    @property
    def origin(self) -> str:
        """Names what may share a target: two selections of one repository or folder do, two models do not."""
        return self.whole or self.uri

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(sizes_of(self.files))

    @property
    def paths(self) -> Sequence[str]:
        """The paths of the files, which need not be made for that."""
        return paths_of(self.files)


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What the owners of a repository say of it."""

    licence: str = ""
    """As in the card: mostly an identifier of SPDX in lower case. Empty if it has none."""
    base_models: tuple[str, ...] = ()
    """Names of the repositories that it was made from."""
