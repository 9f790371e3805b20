"""The seal: one line of `.artifact.sha256` by which a finished artifact is known again without a listing of its source.

It is a sha256 over the version that the source had (`Source.version`, with the filters) and over each file: what the
list says of it, and its size, time of change and inode. So it fits the very same files and nothing else, and it is
only compared, never read: whatever does not fit is left to the survey. Times and inodes are in it because a list that
is kept verbatim was written by whoever serves the artifact. They cannot know what a volume will make of its files, so
such a list cannot pass them off as some other artifact.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm, Digest, Manifest, RemoteFile
from downloader.volume.checksums import MARKER, hash_of_lines
from downloader.volume.evidence import read_checksums
from downloader.volume.files import Kind, stats_of
from downloader.volume.lease import WORK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.volume.checksums import Checksums
    from downloader.volume.files import FileOperations, Stat


@dataclass(frozen=True, slots=True)
class Sealed:
    """Files that stand as a finished run left them, as far as the volume can tell, and the seal that it set on them."""

    checksums: Checksums
    found: Mapping[str, Stat] = field(repr=False)

    def fits(self, version: str) -> bool:
        """Tell whether these are the files of this version."""
        return self.checksums.seal == seal_of(version, self.checksums, self.found)

    @property
    def manifest(self) -> Manifest:
        """The files as an artifact of their own: nothing of where they can be fetched."""
        digests = sorted(self.checksums.files.items())
        files = (
            RemoteFile(path, self.found[path].size, (Digest(Algorithm.SHA256, digest),)) for path, digest in digests
        )
        return Manifest(self.checksums.source, tuple(files), self.checksums.revision or None)

    @property
    def proofs(self) -> dict[str, str]:
        """What proved each path when it was downloaded."""
        return {path: self.checksums.proof_of(path) for path in self.checksums.files}


def seal_of(version: str, checksums: Checksums, found: Mapping[str, Stat]) -> str:
    """Return the seal for these files of this version. Raises KeyError if one was not found."""

    def line(path: str) -> str:
        details = found[path]
        facts = f"{details.size} {details.mtime_ns} {details.inode} {checksums.proof_of(path)}"
        return f"{checksums.files[path]} {facts}  {path}"

    return hash_of_lines(chain([version], map(line, sorted(checksums.files))))


def find_sealed(files: FileOperations) -> Sealed | None:
    """Return what is sealed here if nothing but metadata shows that it was touched, or that a run has to go on."""
    read = read_checksums(files, MARKER)
    if read is None or not read[0].seal or files.scan(WORK):
        return None
    checksums, written = read
    found = stats_of(files, checksums.files)
    for path in checksums.files:
        details = found.get(path)
        if details is None or details.kind is not Kind.FILE or details.mtime_ns > written:
            return None
    return Sealed(checksums, found)
