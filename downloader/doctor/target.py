"""The target folder: whether we may write there, what its file system can do, who works in it, and its space."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from downloader.doctor.finding import note, ok, problem
from downloader.doctor.rights import UserIds, check_owner, remedy_of
from downloader.errors import DownloadError, NoSpace, VolumeError
from downloader.filesystem import Disk, NotThere, absolute, ownership_of, try_out
from downloader.formatting import format_count, format_duration, format_size, single_line
from downloader.hub_cache import BLOBS
from downloader.lease import find_lease
from downloader.runs.target import completion_for
from downloader.volume import FileState, Volume

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.artifact import Manifest
    from downloader.config import Settings
    from downloader.doctor.finding import Finding
    from downloader.filesystem import Abilities, Ownership
    from downloader.lease import FoundLease
    from downloader.sources.registry import ArtifactUri

OBJECT_STORES = "use another volume, or download elsewhere and copy: mounts of object stores cannot do it"


class Target:
    """The target folder, or where it would be made."""

    def __init__(self, settings: Settings, uri: ArtifactUri | None) -> None:
        self._settings = settings
        self._uri = uri
        self._path = settings.job.target
        self._folder = self._path
        self._missing = False
        self._denied: Finding | None = None
        """Why nothing can be written, where that matters only if something is missing."""

    def check(self) -> Iterator[Finding]:
        """Yield everything but whether there is room for an artifact."""
        try:
            owned = self._find_folder()
        except VolumeError as error:
            yield problem("target", error)
            return
        where = f"; it will be made in {self._folder}" if self._missing else ""
        yield ok("target", f"{self._path} {'does not exist yet' if self._missing else 'is a folder'}{where}")
        ids = UserIds.current()
        found = None
        try:
            found = try_out(self._folder)
        except DownloadError as error:
            denied = isinstance(error.__cause__, PermissionError) or owned.read_only
            finding = problem("write", error, remedy=remedy_of(owned, ids) if denied else "")
            if self._holds_artifact():
                self._denied = finding
                yield finding.as_note()
            else:
                yield finding
        else:
            yield ok("write", f"a file could be made, written, synced and removed in {self._folder}")
        yield from check_owner(owned, ids, found)
        yield from _check_file_system(owned, found)
        yield from self._check_free()
        if not self._missing:
            yield from self._check_lease(found)

    def check_room(self, uri: ArtifactUri, manifest: Manifest) -> Iterator[Finding]:
        """Yield whether what is missing of an artifact fits."""
        self._find_folder()
        mark = completion_for(uri, self._settings, for_operator=bool(self._settings.cluster.artifact_name))
        with Volume(self._folder, create=False, completion=mark) as volume:
            total = len(manifest.files)
            needed, missing, published = self._lacking(volume, manifest)
            if self._denied is not None and not published:
                yield self._denied
            try:
                volume.require_space(needed, missing)
            except NoSpace as error:
                yield problem("space", error)
            else:
                yield ok(
                    "space",
                    f"the artifact needs {format_size(needed)} more;"
                    f" {total - missing} of {format_count(total, 'file')} there",
                )

    def _lacking(self, volume: Volume, manifest: Manifest) -> tuple[int, int, bool]:
        """Return how many bytes and files are missing, and whether nothing is left to do."""
        if self._missing:
            return manifest.size, len(manifest.files), False
        if self._settings.job.in_hub_cache:  # revisions share their blobs, whose names are digests
            lacking = [
                file
                for file in manifest.files
                if not any(volume.has(f"{BLOBS}/{digest.value}") for digest in file.digests)
            ]
            return sum(file.size for file in lacking), len(lacking), not lacking
        found = volume.inventory(manifest)
        return found.needed_bytes, len(found.having(FileState.PARTIAL, FileState.MISSING)), found.published

    def _holds_artifact(self) -> bool:
        """Tell whether the artifact was finished here: then a run writes only if its source has another version."""
        if self._uri is None or self._missing:
            return False
        with Volume(self._folder, create=False) as volume:
            completed = volume.completed()
        return completed is not None and completed.manifest.uri == single_line(self._uri.shown)

    def _find_folder(self) -> Ownership:
        """Find the target, or the existing folder above it. Raises VolumeError."""
        start = folder = absolute(self._path)
        while True:
            try:
                found = ownership_of(folder)
            except NotThere:
                if folder == folder.parent:
                    raise
                folder = folder.parent
            else:
                self._folder, self._missing = folder, folder != start
                return found

    def _check_free(self) -> Iterator[Finding]:
        with Disk(self._folder, create=False) as disk:
            space = disk.space()
        free = "an unknown number of bytes" if space.free_bytes is None else format_size(space.free_bytes)
        files = "no limit of inodes" if space.free_files is None else f"{space.free_files} inodes free"
        yield ok("free", f"{free} free, {files}")

    def _check_lease(self, found: Abilities | None) -> Iterator[Finding]:
        with Disk(self._folder, create=False) as disk:
            lease = find_lease(disk)
        if lease is None:
            yield ok("lease", "no process works in the target")
            return
        who = f"{lease.holder}" if lease.holder else "a process that has not said who it is"
        since = _since(lease)
        if lease.abandoned:
            text = f"{who} has ended{since} without giving back the lease"
            yield note("lease", text, "nothing: the next download takes it over at once")
            return
        # Both times are the volume's own, so that no clock is compared with another machine's.
        age = (found.made_ns - lease.beat_ns) / 1e9 if found is not None else 0.0
        ttl = self._settings.job.lease_ttl
        if age > ttl:
            text = f"{who} holds the target{since}, and gave no sign of life for {format_duration(age)}"
            yield note("lease", text, f"nothing: a download takes it over after watching it for {ttl:g} s")
        else:
            text = f"{who} holds the target{since}"
            yield note("lease", text, "a download waits until that process ends")


def _since(lease: FoundLease) -> str:
    if lease.holder is None or not lease.holder.since:
        return ""
    with suppress(ValueError, OverflowError):
        return f" (since {datetime.fromtimestamp(lease.holder.since, UTC):%Y-%m-%d %H:%M:%S} UTC)"
    return ""


def _check_file_system(owned: Ownership, found: Abilities | None) -> Iterator[Finding]:
    kind = single_line(owned.kind) or "unknown"
    if found is None:
        yield ok("filesystem", kind)
        return
    can = {
        "O_DIRECT": found.direct,
        "fallocate": found.allocates,
        "syncfs": found.syncs_whole,
        "extended attributes": found.attributes,
        "rename": found.replaces,
        "hard links": found.links,
        "random writes": not found.in_order,
    }
    has, lacks = ([name for name, able in can.items() if able is wanted] for wanted in (True, False))
    text = f"{kind}, with {', '.join(has)}" + (f"; without {', '.join(lacks)}" if lacks else "")
    if not found.replaces:
        yield problem("filesystem", VolumeError(f"{text}; files cannot be renamed there", hint=OBJECT_STORES))
    elif found.in_order:
        yield note("filesystem", text, "nothing, but an interrupted file is fetched again: each comes in one stream")
    else:
        yield ok("filesystem", text)
