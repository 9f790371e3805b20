"""What a team has signed off: one digest for a whole artifact, a list of all its files, or both.

A list counts as a source does: the sha256 that it gives for a file is one of the file's published digests, so a file of
which its source publishes nothing is proved by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm, Digest, Manifest
from downloader.errors import UnexpectedArtifact
from downloader.formatting import format_count, names_text
from downloader.integrity.artifact import artifact_digest
from downloader.integrity.checksum_file import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from downloader.artifact import RemoteFile


@dataclass(frozen=True, slots=True)
class Expectation:
    """What an artifact has to be; without arguments it may be anything."""

    digest: str = ""
    """The artifact digest, `sha256:…`; empty: any."""
    files: Mapping[str, str] | None = field(default=None, repr=False)
    """Path → sha256 of every file; None: any."""
    name: str = ""
    """What messages call the list of the files."""
    compared: bool = False
    """The listing has been compared with the list already, under other names than those of the manifest."""

    def __bool__(self) -> bool:
        """Tell whether anything is expected."""
        return bool(self.digest) or self.files is not None

    def listed(self, manifest: Manifest, choose: Callable[[Iterable[str]], Collection[str]]) -> Manifest:
        """Return a listing with the digests of the list. `choose` returns which of all paths the filters want.

        Raises UnexpectedArtifact if it has other files, or one of which the source publishes another sha256.
        """
        if self.files is None or self.compared:
            return manifest
        wanted = self.chosen([path for path in self.files if manifest.may_have(path)], manifest, choose)
        published = {file.path: sha256_of(file) or wanted.get(file.path, "") for file in manifest.files}
        self._compare(manifest.uri, published, wanted)
        return replace(manifest, files=tuple(_expecting(file, wanted[file.path]) for file in manifest.files))

    def chosen(
        self, paths: Iterable[str], manifest: Manifest | None, choose: Callable[[Iterable[str]], Collection[str]]
    ) -> dict[str, str]:
        """Return the part of the list that the filters want; they do not apply to a single file."""
        listed = self.files or {}
        kept = paths if manifest is not None and manifest.single else choose(paths)
        return {path: listed[path] for path in kept}

    def require(self, uri: str, files: Mapping[str, str], *, whole: bool = True) -> None:
        """Raise UnexpectedArtifact unless path → sha256 is what is expected.

        `whole`: files that only the list has are missing, and not left out by filters.
        """
        if self.files is not None:
            listed = self.files
            self._compare(uri, files, listed if whole else {path: listed[path] for path in files if path in listed})
        self.require_digest(uri, files)

    def require_digest(self, uri: str, files: Mapping[str, str]) -> None:
        """Raise UnexpectedArtifact unless path → sha256 has the expected digest."""
        if self.digest and (actual := artifact_digest(files)) != self.digest:
            raise UnexpectedArtifact(f"{uri} has digest {actual}, and {self.digest} was expected")

    def _compare(self, uri: str, files: Mapping[str, str], listed: Mapping[str, str]) -> None:
        beyond = sorted(files.keys() - listed.keys())
        missing = sorted(listed.keys() - files.keys())
        different = sorted(path for path in files.keys() & listed.keys() if files[path] != listed[path])
        found = {"not in the list": beyond, "missing": missing, "different": different}
        told = [
            f"{format_count(len(paths), 'file')} {how}: {names_text(paths)}" for how, paths in found.items() if paths
        ]
        if told:
            raise UnexpectedArtifact(f"{uri} is not what {self.name} lists: {'; '.join(told)}")


def _expecting(file: RemoteFile, sha256: str) -> RemoteFile:
    """Return a file whose bytes must have this sha256, too."""
    if sha256_of(file) == sha256:
        return file
    return replace(file, digests=(*file.digests, Digest(Algorithm.SHA256, sha256, expected=True)))
