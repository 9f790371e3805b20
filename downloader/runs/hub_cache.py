"""Downloads a repository of the Hub into a cache of `huggingface_hub` instead of a plain folder."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from downloader.artifact import Layout
from downloader.errors import UsageError
from downloader.hub_cache import CachedRepository, RepositoryLayout
from downloader.sources.hub_address import HubAddress

if TYPE_CHECKING:
    from downloader.config import Settings
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
    return CachedRepository(Path(cache).absolute() / layout.folder, layout, symlinks=not settings.hub.disable_symlinks)
