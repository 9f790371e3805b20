"""`TargetFolder`: the folder that a run fills, its completion mark, and the names that files have there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from downloader import integrity
from downloader.artifact import Completion
from downloader.filesystem import ReadOnlyDisk
from downloader.formatting import format_duration, single_line
from downloader.runs.wiring import make_disk
from downloader.simulation import RoomyDisk, slow_looks_of
from downloader.sources import Recalling, ability
from downloader.volume import SHA256, Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from downloader.artifact import Manifest, RemoteFile
    from downloader.config import Settings
    from downloader.engine import Finalizer, Outcome, Plan, Preview
    from downloader.errors import DownloadError
    from downloader.filesystem import FileOperations
    from downloader.sources import Source
    from downloader.sources.registry import ArtifactUri
    from downloader.sources.retrying import RetryingSource

MARKS = {
    Completion.FILE: integrity.MARKER,
    Completion.XATTR: f"extended attributes, {SHA256} of each file",
    Completion.NONE: "none, a rerun hashes everything",
}

log = logging.getLogger(__name__)


class TargetFolder:
    """A plain folder, whose files have the names of the artifact. `CachedFolder` is one in a cache of the Hub."""

    def __init__(self, uri: ArtifactUri, settings: Settings, step: Finalizer | None, *, for_operator: bool) -> None:
        """Prepare. `step` turns the verified files into others, if it is there.

        `for_operator`: an operator looks for the completion mark, and users may want it elsewhere.
        """
        self.step = step
        """What works on the verified files before they are published."""
        self._uri = uri
        self._settings = settings
        self._for_operator = for_operator
        self._volume: Volume | None = None
        self._slow_looks = slow_looks_of(settings)

    @property
    def is_cached(self) -> bool:
        """The folder is in a cache of the Hub."""
        return False

    @property
    def converts(self) -> bool:
        """Other files are published than are fetched."""
        return self.step is not None

    def listed(self, manifest: Manifest) -> Manifest:
        """Return the artifact as users know it, for the `manifest` of what the folder gets."""
        return manifest

    def path_of(self, path: str) -> str:
        """Return where in the folder the file is that users find under this path."""
        return path

    def wrap(self, source: Source, plan: Plan) -> tuple[Source, Plan]:
        """Return the source whose files are those of the folder, and a plan for these."""
        return source, plan

    def prepare(self, source: RetryingSource) -> None:
        """Do what has to be done before the folder is made. Raises the source's errors."""

    def open(self, *, simulated: bool) -> Volume:
        """Return the folder, which is made where it is missing. Raises VolumeError."""
        if simulated:
            return self._volume_on(RoomyDisk(self._settings.job.target))
        completion = completion_for(self._uri, self._settings, for_operator=self._for_operator)
        return self._volume_on(make_disk(self._settings), completion)

    def look(self) -> tuple[Volume, ReadOnlyDisk]:
        """Return the folder of a run that changes nothing, which may be missing, and its file system."""
        disk = ReadOnlyDisk(self._settings.job.target)
        completion = completion_for(self._uri, self._settings, for_operator=self._for_operator)
        return self._volume_on(disk, completion), disk

    def _volume_on(self, disk: FileOperations, completion: Completion = Completion.FILE) -> Volume:
        job = self._settings.job
        self._volume = Volume(job.target, files=disk, ttl=job.lease_ttl, completion=completion)
        return self._volume

    def stuck(self) -> str:
        """Return what the volume has not answered for too long; nothing if it has answered all."""
        waiting = [
            self._volume.oldest_operation() if self._volume is not None else None,
            self._slow_looks.oldest() if self._slow_looks is not None else None,
        ]
        doing, seconds = max(filter(None, waiting), key=lambda operation: operation[1], default=("", 0.0))
        if seconds < self._settings.job.volume_timeout:
            return ""
        return f"the volume has not answered for {format_duration(seconds)}: {doing}"

    def recall(self, source: Source, volume: Volume) -> None:
        """Tell the source which version of it is here: offline, no server may be asked."""
        recall(self._uri, source, volume)

    def locate(
        self, manifest: Manifest, ask: Callable[[Manifest], Mapping[str, RemoteFile]]
    ) -> Mapping[str, RemoteFile]:
        """Return the files that `ask` finds by the names of the artifact, by their paths in the folder."""
        return ask(manifest)

    def name(self, error: DownloadError) -> None:
        """Put the names that the artifact has for its files into an error."""

    def outcome(self, outcome: Outcome) -> Outcome:
        """Return an outcome by these names."""
        return outcome

    def preview(self, preview: Preview) -> Preview:
        """Return a preview by these names."""
        return preview


def completion_for(uri: ArtifactUri, settings: Settings, *, for_operator: bool) -> Completion:
    """Return where the artifact is marked as complete."""
    job, chosen = settings.job, settings.job.completion
    if chosen is Completion.AUTO:
        chosen = uri.scheme.operator_mark if for_operator else Completion.FILE
    log.info("completion mark: %s (AIM_COMPLETION=%s)", MARKS[chosen], job.completion)
    return chosen


def recall(uri: ArtifactUri, source: Source, volume: Volume) -> bool:
    """Tell a source which version of it a volume has: offline, no server may be asked. Return whether it has one."""
    completed, recalling = volume.completed(), ability(source, Recalling)
    if completed is None or recalling is None:
        return False
    manifest = completed.manifest
    if not manifest.revision or manifest.uri != single_line(uri.shown):
        return False
    recalling.recall(manifest.revision)
    return True
