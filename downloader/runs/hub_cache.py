"""Downloads a repository of the Hub into a cache of `huggingface_hub` instead of a plain folder."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from downloader.artifact import Layout
from downloader.engine import Outcome
from downloader.errors import UsageError
from downloader.filesystem import absolute
from downloader.hub_cache import CachedRepository, RepositoryLayout
from downloader.integrity import Expectation
from downloader.runs.wiring import make_filter
from downloader.sources import Recalling, ability
from downloader.sources.hub_address import HubAddress
from downloader.volume import Volume

if TYPE_CHECKING:
    from downloader.config import Settings
    from downloader.engine import Preview
    from downloader.sources import Source
    from downloader.sources.registry import ArtifactUri

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


def outcome_by_name(cache: CachedRepository, outcome: Outcome) -> Outcome:
    """Return an outcome by the names that the artifact has for its files: the volume has others."""
    revision = cache.listed
    if revision is None:
        return outcome
    done = {path: blob for path, blob in revision.blobs.items() if blob in outcome.checksums}
    checksums = {path: outcome.checksums[blob] for path, blob in done.items()}
    proofs = {path: outcome.proofs[blob] for path, blob in done.items()}
    fetched = {path for path, blob in done.items() if blob in outcome.fetched}
    places = {path: outcome.places[blob] for path, blob in done.items() if blob in outcome.places}
    return Outcome(revision.manifest, checksums, proofs, fetched=fetched, places=places, digest=outcome.digest)


def preview_by_name(cache: CachedRepository, preview: Preview) -> Preview:
    """Return a preview by these names. The bytes of files that are the same are fetched once, for the first of them."""
    revision = cache.listed
    if revision is None:
        return preview
    planned = {file.path: file for file in preview.files}
    first: dict[str, str] = {}
    files = []
    for path, blob in sorted(revision.blobs.items()):
        same = first.setdefault(blob, path)
        files.append(replace(planned[blob], path=path, same_as="" if same == path else same))
    for error in preview.problems:
        error.message = cache.named(error.message)
    return replace(preview, files=tuple(files))
