"""`verify`: every byte of a finished volume against its checksum file, offline."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm
from downloader.errors import IntegrityError, VolumeError
from downloader.integrity import hash_file
from downloader.volume.adoption import Reading
from downloader.volume.checksums import MARKER
from downloader.volume.evidence import read_checksums
from downloader.volume.files import Kind
from downloader.volume.lease import WORK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from downloader.volume.files import FileOperations

_LOST = "lost+found"
"""What the root of an ext4 file system always has."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that is not what the checksum file says."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found."""

    source: str
    revision: str
    checked: int
    """Files that are right, every byte of them."""
    proofs: Mapping[str, str]
    """Path → what proved each of those when it was downloaded, or `unknown`."""
    damaged: tuple[Damage, ...]
    unlisted: tuple[str, ...]
    """Files that the artifact does not have: somebody else's, and not judged."""


def verify(
    files: FileOperations,
    *,
    progress: Callable[[int], None],
    selected: Callable[[str], bool],
    workers: int,
) -> Verification:
    """Hash every selected file that `.artifact.sha256` lists. `progress` hears of bytes, from several threads.

    Raises IntegrityError if there is no checksum file that can be read.
    """
    found = read_checksums(files, MARKER)
    if found is None:
        raise IntegrityError(
            f"{files.name} has no {MARKER} that can be read: no download was finished here, or the file was damaged",
            hint="download the artifact again; what is right is kept",
        )
    checksums = found[0]
    # Filters choose from a folder: where there is but one file, they had no say in what was downloaded.
    paths = [path for path in checksums.files if selected(path) or len(checksums.files) == 1]
    with ThreadPoolExecutor(workers, thread_name_prefix="verify") as pool:
        reasons = list(pool.map(lambda path: _examine(files, path, checksums.files[path], progress), paths))
    damaged = tuple(Damage(path, reason) for path, reason in zip(paths, reasons, strict=True) if reason)
    unlisted = tuple(sorted(path for path in _walk(files, "") if path not in checksums.files and path != MARKER))
    proofs = {path: checksums.proof_of(path) for path, reason in zip(paths, reasons, strict=True) if not reason}
    return Verification(checksums.source, checksums.revision, len(proofs), proofs, damaged, unlisted)


def _examine(files: FileOperations, path: str, expected: str, progress: Callable[[int], None]) -> str:
    """Return what is wrong with a file; nothing if it is right."""
    found = files.stat(path)
    if found is None:
        return "is missing"
    if found.kind is not Kind.FILE:
        return f"is a {found.kind.value} instead of a file"
    try:
        with Reading(files, path) as reading:
            actual = hash_file(reading.readinto, reading.found.size, progress=progress)[Algorithm.SHA256]
    except (VolumeError, IntegrityError) as error:
        return f"cannot be read: {error}"
    return "" if actual == expected else f"has sha256 {actual}, not {expected}"


def _walk(files: FileOperations, folder: str) -> Iterator[str]:
    try:
        names = files.scan(folder)
    except VolumeError:  # private to somebody else
        yield f"{folder}/"
        return
    for name, kind in names.items():
        path = f"{folder}/{name}".lstrip("/")
        if kind is not Kind.FOLDER:
            yield path
        elif path not in (WORK, _LOST):
            yield from _walk(files, path)
