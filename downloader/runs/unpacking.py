"""Downloads an artifact and unpacks its only file if that is an archive, as KServe's storage initializer does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.archives import ArchiveUnpacker
from downloader.runs.download import Download

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from downloader.config import Settings
    from downloader.reporters import Reporter
    from downloader.runs.ending import Ending
    from downloader.runs.runner import Runner
    from downloader.sources.registry import ArtifactUri


def unpacking_download(
    uri: ArtifactUri,
    settings: Settings,
    runner: Runner,
    reporters: Iterable[Reporter],
    *,
    environment: Mapping[str, str],
    ended: Callable[[Ending], None] = lambda _: None,
) -> Download:
    """Return a download that unpacks archives. The parameters are those of `Download`."""
    finalizer = ArchiveUnpacker(replace=settings.job.replace)
    return Download(
        uri,
        settings,
        runner,
        reporters,
        environment=environment,
        finalizer=finalizer,
        for_operator=False,
        ended=ended,
    )
