"""KServe's door: pairs of source and folder, and archives that are unpacked."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from downloader.archives import ArchiveUnpacker
from downloader.cli.download import Download
from downloader.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from downloader.cli.context import CommandContext
    from downloader.config import Settings
    from downloader.sources.registry import ArtifactUri

log = logging.getLogger(__name__)


def kserve_download(uri: ArtifactUri, settings: Settings, invocation: CommandContext) -> Download:
    """Return a download whose only file is unpacked if it is an archive."""
    return Download(
        uri,
        settings,
        invocation.environ,
        invocation.watchers(settings),
        invocation.redactor,
        finalizer=ArchiveUnpacker(replace=settings.job.replace),
        for_operator=False,
    )


def initialize(pairs: Sequence[tuple[ArtifactUri, Path]], invocation: CommandContext) -> None:
    """Download one pair after the other. Raises what ended the first one that fails; the rest is then left alone."""
    prepared = []
    for uri, target in pairs:
        settings = invocation.settings(uri)
        if settings.kserve.confidential:
            raise ConfigurationError(
                "CONFIDENTIAL_ENABLED asks for a model that is decrypted after the download: nothing is decrypted here",
                hint="use KServe's own storage initializer for it, or unset the variable",
            )
        prepared.append((uri, replace(settings, job=replace(settings.job, target=target))))
    for uri, settings in prepared:
        log.info("%s goes to %s", uri.shown, settings.job.target)
        run = kserve_download(uri, settings, invocation)
        try:
            run.run()
        finally:
            invocation.abandoned, invocation.told = run.abandoned, True
