"""Downloads a repository of the Hub into a cache of `huggingface_hub` instead of a plain folder."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from downloader.artifact import Layout
from downloader.engine import Outcome
from downloader.errors import UsageError
from downloader.filesystem import absolute, is_folder
from downloader.filters import FileFilter
from downloader.hub_cache import CachedRepository, RepositoryLayout
from downloader.integrity import Expectation
from downloader.runs.target import TargetFolder
from downloader.runs.wiring import make_filter
from downloader.sources import Recalling, ability
from downloader.sources.hub_address import HubAddress
from downloader.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from downloader.artifact import Manifest, RemoteFile
    from downloader.config import Settings
    from downloader.engine import Plan, Preview
    from downloader.errors import DownloadError
    from downloader.filesystem import ReadOnlyDisk
    from downloader.sources import Source
    from downloader.sources.registry import ArtifactUri
    from downloader.sources.retrying import RetryingSource

log = logging.getLogger(__name__)


def layout_of(uri: ArtifactUri, settings: Settings) -> tuple[Settings, CachedRepository | None]:
    """Return the settings of a run, aimed at the folder of a repository if that is in a cache, and this repository.

    The volume of the operator is mounted as a plain folder, so for its Jobs the variable is ignored.
    """
    if settings.job.hub_cache is None and settings.cluster.artifact_name:
        log.warning("AIM_LAYOUT=%s is ignored: the operator mounts plain folders", settings.job.layout)
        return settings, None
    cache = cached_repository(uri, settings)
    return replace(settings, job=replace(settings.job, target=cache.folder)), cache


def cached_repository(uri: ArtifactUri, settings: Settings) -> CachedRepository:
    """Return the repository's folder in the cache that the settings name. Nothing is created yet.

    Raises UsageError for a URI of another scheme, and without a cache.
    """
    if not uri.scheme.has_cache:
        raise UsageError(
            f"--hub-cache (AIM_LAYOUT={Layout.HUB_CACHE}) does not apply to {uri.prefix}",
            hint="a cache of huggingface_hub holds repositories of the Hub, hf://…; leave it out for a plain folder",
        )
    cache = settings.job.hub_cache or settings.hub.cache
    if cache is None:
        raise UsageError("there is no cache: HF_HUB_CACHE, HF_HOME and HOME are unset", hint="write --hub-cache DIR")
    layout = RepositoryLayout.of(HubAddress.parse(uri.text))
    return CachedRepository(
        absolute(Path(cache)) / layout.folder,
        layout,
        symlinks=not settings.hub.disable_symlinks,
        offline=settings.hub.offline,
    )


def require_offline(cache: CachedRepository, source: Source, settings: Settings) -> None:
    """Raise ConfigurationError unless a cache has all that the settings choose: by metadata, as in an offline run."""
    blobs = cache.wrap(source, make_filter(settings), Expectation())
    with Volume(cache.folder, files=cache.open()) as volume:
        recall_cached(cache, source)
        cache.inventory(volume, blobs.manifest())


def recall_cached(cache: CachedRepository, source: Source) -> None:
    """Tell a source which commit its revision is in the cache, if it has one."""
    recalling = ability(source, Recalling)
    if recalling is not None and (commit := cache.commit):
        recalling.recall(commit)


class CachedFolder(TargetFolder):
    """The folder of a repository in a cache, where files have the names of blobs."""

    def __init__(self, uri: ArtifactUri, settings: Settings, cache: CachedRepository) -> None:
        super().__init__(uri, settings, cache, for_operator=False)
        self._cache = cache

    @property
    def is_cached(self) -> bool:
        """The folder is in a cache of the Hub."""
        return True

    @property
    def converts(self) -> bool:
        """The same files are published under other names."""
        return False

    def listed(self, manifest: Manifest) -> Manifest:
        """Return the files under the names that the repository has for them."""
        revision = self._cache.listed
        return manifest if revision is None else revision.manifest

    def path_of(self, path: str) -> str:
        """Return where in the folder the bytes of a file are."""
        revision = self._cache.listed
        return path if revision is None else revision.blobs.get(path, path)

    def wrap(self, source: Source, plan: Plan) -> tuple[Source, Plan]:
        """Return the source whose files are the blobs, and a plan without what has been applied to names already."""
        blobs = self._cache.wrap(source, plan.file_filter, plan.expectation)
        compared = replace(plan.expectation, compared=True)
        return blobs, replace(plan, file_filter=FileFilter(), expectation=compared, keeps_revisions=True)

    def prepare(self, source: RetryingSource) -> None:
        """Ask for the version: a repository that the Hub does not have leaves nothing in the cache."""
        if not self._settings.hub.offline and not is_folder(self._cache.folder):
            source.version()

    def open(self, *, simulated: bool) -> Volume:
        """Return the folder, which is made where it is missing. Raises VolumeError."""
        del simulated
        disk = self._cache.open()
        disk.keeps_pages = self._settings.job.keep_pages
        return self._volume_on(disk)

    def look(self) -> tuple[Volume, ReadOnlyDisk]:
        """Return the folder of a run that changes nothing, and its file system. Raises VolumeError."""
        disk = self._cache.look()
        return self._volume_on(disk), disk

    def recall(self, source: Source, volume: Volume) -> None:
        """Tell the source which commit its revision is in the cache."""
        del volume
        recall_cached(self._cache, source)

    def locate(
        self, manifest: Manifest, ask: Callable[[Manifest], Mapping[str, RemoteFile]]
    ) -> Mapping[str, RemoteFile]:
        """Return the blobs that `ask` finds by the names of their files."""
        revision = self._cache.listed
        if revision is None:
            return ask(manifest)
        found = ask(revision.manifest)
        return {revision.blobs[path]: file for path, file in found.items() if path in revision.blobs}

    def name(self, error: DownloadError) -> None:
        """Put the name of a file before each blob that an error names."""
        error.message = self._cache.named(error.message)

    def outcome(self, outcome: Outcome) -> Outcome:
        """Return an outcome by the names of the files."""
        revision = self._cache.listed
        if revision is None:
            return outcome
        done = {path: blob for path, blob in revision.blobs.items() if blob in outcome.checksums}
        checksums = {path: outcome.checksums[blob] for path, blob in done.items()}
        proofs = {path: outcome.proofs[blob] for path, blob in done.items()}
        fetched = {path for path, blob in done.items() if blob in outcome.fetched}
        places = {path: outcome.places[blob] for path, blob in done.items() if blob in outcome.places}
        return Outcome(revision.manifest, checksums, proofs, fetched=fetched, places=places, digest=outcome.digest)

    def preview(self, preview: Preview) -> Preview:
        """Return a preview by these names. The bytes of equal files are fetched once, for the first of them."""
        revision = self._cache.listed
        if revision is None:
            return preview
        planned = {file.path: file for file in preview.files}
        first: dict[str, str] = {}
        files = []
        for path, blob in sorted(revision.blobs.items()):
            same = first.setdefault(blob, path)
            files.append(replace(planned[blob], path=path, same_as="" if same == path else same))
        for error in preview.problems:
            self.name(error)
        return replace(preview, files=tuple(files))
