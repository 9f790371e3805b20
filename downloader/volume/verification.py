"""`verify`: every byte of a finished volume against its checksum file, offline.

What rotted in silence has the size and the time that it always had, and runs believe these. So `verify` gives a damaged
file another time: the next run reads it, and fetches it again.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm
from downloader.errors import IntegrityError, VolumeError
from downloader.integrity import hash_file
from downloader.volume import completion
from downloader.volume.adoption import Reading
from downloader.volume.checksums import MARKER
from downloader.volume.files import Kind
from downloader.volume.lease import WORK
from downloader.words import names_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from downloader.integrity import ContentCheck
    from downloader.volume.checksums import Checksums
    from downloader.volume.files import FileOperations

_WORKERS = 2
_DEEPEST = 128
"""Folders in folders that an artifact may have (`sources/names.py`)."""
_LOST = "lost+found"
"""What the root of an ext4 file system always has."""
_CACHES = ".cache/"
"""What `hf download` leaves beside a model."""
_SECOND_NS = 1_000_000_000
"""No file system counts more coarsely than twice that."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that is not what the checksum file says."""

    path: str
    reason: str
    believed: bool = False
    """The next run may take it for right all the same, since it could not be dated anew."""

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found."""

    source: str
    """The URI of the artifact; empty where the list does not say, or somebody else wrote it."""
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
    expect: Callable[[int, int], None],
    progress: Callable[[int], None],
    selected: Callable[[str], bool],
    content: ContentCheck,
) -> Verification:
    """Hash every selected file that `.artifact.sha256` lists, and judge by `content` what kind of file each is.

    `expect` hears how many bytes and files that will be, `progress` of bytes, from several threads.

    Raises IntegrityError if there is no checksum file that can be read, if it may have been cut off, or if there is
    nothing to verify: what nobody has looked at is not right.
    """
    checksums = _whole_list(files)
    # Filters choose from a folder: where there is but one file, they had no say in what was downloaded.
    paths = [path for path in checksums.files if selected(path) or len(checksums.files) == 1]
    if not paths and checksums.files:
        raise IntegrityError(
            f"none of the {len(checksums.files)} files in {files.name} passes the filters, so nothing was verified",
            hint="check AIM_HF_INCLUDE and AIM_HF_EXCLUDE, or --include and --exclude",
        )
    sizes = [there.size for path in paths if (there := files.stat(path)) is not None]
    expect(sum(sizes), len(paths))
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="verify") as pool:
        found_damage = pool.map(_Examination(files, checksums, content, progress).damage, paths)
        damaged = (*filter(None, found_damage), *_gone(checksums), *_other_list(files, checksums))
    broken = {damage.path for damage in damaged}
    unlisted = tuple(sorted(path for path in _walk(files) if path not in checksums.files and path != MARKER))
    beside = [path for path in unlisted if not path.startswith(_CACHES)]
    if beside and not damaged and not checksums.counted and not checksums.expected:
        raise IntegrityError(
            f"{files.name}/{MARKER} does not say how many files it has, and {len(beside)} files are not in it: it may"
            f" have been cut off ({names_text(beside)})",
            hint="download the artifact again, or move these files away",
        )
    proofs = {path: checksums.proof_of(path) for path in paths if path not in broken}
    return Verification(checksums.source, checksums.revision, len(proofs), proofs, damaged, unlisted)


def _gone(checksums: Checksums) -> tuple[Damage, ...]:
    """Return what to say of files whose names went with them, which happens where the mark is in their attributes."""
    count = checksums.expected - len(checksums.files)
    if count <= 0:
        return ()
    return (Damage("(names unknown)", f"{count} of {checksums.expected} files are gone, or were replaced"),)


def _other_list(files: FileOperations, checksums: Checksums) -> Iterator[Damage]:
    """Yield what is wrong with the source's own list, where the mark is in extended attributes."""
    if not checksums.raw and files.stat(MARKER) is not None:
        listed = completion.in_file(files, MARKER)
        if listed is None or any(checksums.files.get(path, digest) != digest for path, digest in listed.files.items()):
            yield Damage(MARKER, "is not the list of these files")


def _whole_list(files: FileOperations) -> Checksums:
    checksums = completion.require(files)
    if not checksums.files and not checksums.expected:
        raise IntegrityError(
            f"{files.name}/{MARKER} lists no files, so nothing was verified", hint="download the artifact again"
        )
    return checksums


@dataclass(frozen=True, slots=True)
class _Examination:
    """Reads files and compares them with the checksums. For several threads."""

    files: FileOperations
    checksums: Checksums
    content: ContentCheck
    progress: Callable[[int], None]

    def damage(self, path: str) -> Damage | None:
        """Return what is wrong with a file, dated so that runs do not believe it; None if it is right."""
        found = self.files.stat(path)
        if found is None:
            return Damage(path, "is missing")
        if found.kind is not Kind.FILE:
            return Damage(path, f"is a {found.kind.value} instead of a file")
        try:
            reading = Reading(self.files, path)
        except VolumeError as error:
            return Damage(path, f"cannot be read: {error}", believed=True)
        with reading:
            reason = self._compare(path, reading)
            return Damage(path, reason, believed=not _doubt(reading)) if reason else None

    def _compare(self, path: str, reading: Reading) -> str:
        size, expected = reading.found.size, self.checksums.files[path]
        try:
            hasher = hash_file(reading.readinto, size, progress=self.progress)
        except (VolumeError, IntegrityError) as error:
            return f"cannot be read: {error}"
        actual = hasher.results()[Algorithm.SHA256]
        if actual != expected:
            return f"has sha256 {actual}, not {expected}"
        return self.content.instead(path, size, hasher.head, proved=True)


def _doubt(reading: Reading) -> bool:
    """See to it that the next run reads the file; tell whether it will."""
    with suppress(VolumeError):
        reading.redate(reading.found.mtime_ns + 2 * _SECOND_NS)
        return True
    return False


def _walk(files: FileOperations) -> Iterator[str]:
    """Yield each file; of a folder that is private to somebody else, or too deep to be an artifact's, its own name."""
    todo = [""]
    while todo:
        folder = todo.pop()
        try:
            names = files.scan(folder) if folder.count("/") < _DEEPEST else None
        except VolumeError:
            names = None
        if names is None:
            yield f"{folder}/"
            continue
        for name, kind in names.items():
            path = f"{folder}/{name}".lstrip("/")
            if kind is not Kind.FOLDER:
                yield path
            elif path not in (WORK, _LOST):
                todo.append(path)
