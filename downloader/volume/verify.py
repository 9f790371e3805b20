"""Hashes files on the volume: all of a finished artifact for `verify`, one at a time for a run that finds it there.

A file that was damaged silently still has the size and time of its record, by which runs trust it. So `verify` changes
the time of a damaged file: the next run hashes it, and fetches it again.

Longer than most modules: the report of `verify` and what a run adopts come from one way of reading a file.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm
from downloader.cgroups import processors
from downloader.errors import IntegrityError, VolumeError
from downloader.filesystem import LOST_AND_FOUND, Kind, Reading
from downloader.formatting import format_count, names_text
from downloader.integrity import MARKER, SIZE_ONLY, ContentCheck, artifact_digest, compare_digests, hash_file
from downloader.lease import WORK
from downloader.volume import completion
from downloader.volume.publication import of_mark

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from downloader.artifact import RemoteFile
    from downloader.filesystem import FileOperations
    from downloader.integrity import Checksums, ContentCheck

MAX_AT_ONCE = 32
"""Files that are hashed at the same time. More of them would only compete for the volume."""
_DEEPEST = 128
"""Depth of folders that an artifact may have (`sources/paths.py`)."""
LEFT_BY_TOOLS = ".cache/"
"""How the paths begin of what other programs, such as `hf download`, leave beside a model."""
_SECOND_NS = 1_000_000_000
"""Nanoseconds. No file system has times coarser than two seconds."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that differs from what the completion mark says."""

    path: str
    reason: str
    believed: bool = False
    """The next run may still trust it, since its time could not be changed."""

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found."""

    source: str
    """The URI of the artifact; empty if the list does not say, or was not written by this program."""
    revision: str
    checked: int
    """Number of files of which every byte is right."""
    proofs: Mapping[str, str]
    """Path → what verified each of those when it was downloaded, or `unknown`."""
    damaged: tuple[Damage, ...]
    unlisted: tuple[str, ...]
    """Files that do not belong to the artifact. They are not checked."""
    digest: str = ""
    """The artifact digest; empty unless every file of the artifact that was downloaded last is right."""
    digests: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Path → sha256 of each file of which every byte is right."""


def verify(
    files: FileOperations,
    *,
    expect: Callable[[int, int], None],
    progress: Callable[[int], None],
    begun: Callable[[str, int], None],
    choose: Callable[[Collection[str]], Collection[str]],
    content: ContentCheck,
) -> Verification:
    """Hash the files that the completion mark lists, and check with `content` what kind of file each is.

    `choose` returns which of all paths to hash. `expect` is called once with the bytes and files to hash. Several
    threads hash: each calls `begun` with the path and the size of a file, and then `progress` with the bytes hashed.

    Raises IntegrityError if there is no mark that can be read, if it may have been cut off, or if there is nothing to
    verify: success must mean that something was verified.
    """
    checksums = _whole_list(files)
    listed = checksums.files
    passing = choose(listed.keys())  # always: a cache learns from the question what is listed
    # Filters choose from a folder: an artifact of a single file is downloaded whatever they are.
    chosen = frozenset(listed if len(listed) == 1 else passing)
    paths = [path for path in listed if path in chosen]
    if not paths and checksums.files:
        raise IntegrityError(
            f"none of the {format_count(len(checksums.files), 'file')} in {files.name} passes the filters,"
            " so nothing was verified",
            hint="check AIM_HF_INCLUDE and AIM_HF_EXCLUDE, or --include and --exclude",
        )
    sizes = [there.size for path in paths if (there := files.stat(path)) is not None]
    expect(sum(sizes), len(paths))
    with ThreadPoolExecutor(hashing_threads(), thread_name_prefix="verify") as pool:
        found_damage = pool.map(_FileCheck(files, checksums, content, progress, begun).damage, paths)
        damaged = (*filter(None, found_damage), *_gone(checksums), *_other_list(files, checksums))
    broken = {damage.path for damage in damaged}
    unlisted = tuple(beside(files, checksums.files))
    others = [path for path in unlisted if not path.startswith(LEFT_BY_TOOLS)]
    if others and not damaged and not checksums.counted and not checksums.expected:
        raise IntegrityError(
            f"{files.name}/{MARKER} does not say how many files it has, and lacks"
            f" {format_count(len(others), 'file')}: it may have been cut off ({names_text(others)})",
            hint="download the artifact again, or move these files away",
        )
    proofs = {path: checksums.proof_of(path) for path in paths if path not in broken}
    right = {path: checksums.files[path] for path in proofs}
    artifact = of_mark(checksums).digests
    digest = artifact_digest(artifact) if checksums.whole and artifact.keys() <= right.keys() else ""
    return Verification(checksums.source, checksums.revision, len(proofs), proofs, damaged, unlisted, digest, right)


def beside(files: FileOperations, paths: Collection[str]) -> list[str]:
    """Return the files of the target that are not among these, and no mark, sorted. See `_walk` for folders."""
    return sorted(path for path in _walk(files) if path not in paths and path != MARKER)


def hashing_threads() -> int:
    """Return how many files to hash at the same time: a digest takes bytes in order, so one file keeps one CPU busy."""
    return min(processors(), MAX_AT_ONCE)


def _gone(checksums: Checksums) -> tuple[Damage, ...]:
    """Return the damage of lost files whose names only their own attributes had."""
    if checksums.whole:
        return ()
    what = f"{checksums.lost} of {format_count(checksums.expected, 'file')} gone, replaced or without a mark"
    return (Damage("(names unknown)", what),)


def _other_list(files: FileOperations, checksums: Checksums) -> Iterator[Damage]:
    """Yield what is wrong with the checksum file, where the mark is in extended attributes."""
    if checksums.raw:
        return
    listed = completion.in_file(files, MARKER)
    if files.stat(MARKER) is None:
        if checksums.own:
            yield Damage(MARKER, "is missing")
    elif checksums.own:
        if listed is None or not completion.is_own(checksums, listed):
            yield Damage(MARKER, "is not the list that the source has")
    elif listed is None or any(checksums.files.get(path, digest) != digest for path, digest in listed.files.items()):
        yield Damage(MARKER, "is not the list of these files")


def _whole_list(files: FileOperations) -> Checksums:
    checksums = completion.require(files)
    if not checksums.files and not checksums.expected:
        raise IntegrityError(
            f"{files.name}/{MARKER} lists no files, so nothing was verified", hint="download the artifact again"
        )
    return checksums


@dataclass(frozen=True, slots=True)
class _FileCheck:
    """Hashes files and compares them with their checksums. Thread-safe."""

    files: FileOperations
    checksums: Checksums
    content: ContentCheck
    progress: Callable[[int], None]
    begun: Callable[[str, int], None]

    def damage(self, path: str) -> Damage | None:
        """Return what is wrong with a file, after changing its time so that runs hash it; None if it is right."""
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
            return Damage(path, reason, believed=not _distrust(reading)) if reason else None

    def _compare(self, path: str, reading: Reading) -> str:
        size, expected = reading.found.size, self.checksums.files[path]
        self.begun(path, size)
        try:
            hasher = hash_file(reading.readinto, size, progress=self.progress)
        except (VolumeError, IntegrityError) as error:
            return f"cannot be read: {error}"
        actual = hasher.results()[Algorithm.SHA256]
        if actual != expected:
            return f"has sha256 {actual}, not {expected}"
        return self.content.contradiction(path, size, hasher.head, verified=True)


def _distrust(reading: Reading) -> bool:
    """Make the next run hash the file, by changing its time; return whether that was possible."""
    with suppress(VolumeError):
        reading.redate(reading.found.mtime_ns + 2 * _SECOND_NS)
        return True
    return False


def _walk(files: FileOperations) -> Iterator[str]:
    """Yield each file; for a folder that is not readable, or too deep to be an artifact's, only its own path."""
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
            elif path not in (WORK, LOST_AND_FOUND):
                todo.append(path)


def adopt(
    files: FileOperations,
    file: RemoteFile,
    expected: str | None,
    content: ContentCheck,
    progress: Callable[[int], None],
) -> tuple[str, str]:
    """Hash a file that is on the volume already; return its sha256 and what verified it.

    `expected` is its sha256 if that is known; `progress` is called with the bytes of each piece. Raises IntegrityError
    if it is another file or nothing can verify it, VolumeError if it cannot be read.
    """
    with Reading(files, file.path) as reading:
        hasher = hash_file(reading.readinto, file.size, file.digests, progress)
        results = hasher.results()
        sha256 = results[Algorithm.SHA256]
        if expected not in (None, sha256):
            raise IntegrityError(f"{file.path} has sha256 {sha256} and should have {expected}")
        proof = compare_digests(file, results).proof
        if proof == SIZE_ONLY and expected is None:
            raise IntegrityError(f"nothing that the source publishes can prove {file.path}")
        content.require(file.path, file.size, hasher.head, verified=True)
        reading.sync()
        if not reading.is_unchanged() or reading.found.size != file.size:
            raise IntegrityError(f"{file.path} was written to while it was read")
        files.sync_folder(file.path.rpartition("/")[0])
        return sha256, proof
