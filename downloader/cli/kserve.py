"""The entry point of KServe's storage initializer: pairs of source and folder, and archives that are unpacked."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from downloader.cli.download import ending_for
from downloader.errors import ConfigurationError
from downloader.runs.unpacking import unpacking_download

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from downloader.cli.context import CommandContext
    from downloader.sources.registry import ArtifactUri

log = logging.getLogger(__name__)


def initialize(pairs: Sequence[tuple[ArtifactUri, Path]], context: CommandContext) -> None:
    """Download one pair after the other. Raises the error of the first one that fails; the rest is then left alone."""
    prepared = []
    for uri, target in pairs:
        settings = context.settings(uri)
        if settings.kserve.confidential:
            raise ConfigurationError(
                "CONFIDENTIAL_ENABLED asks for a model that is decrypted after the download: nothing is decrypted here",
                hint="use KServe's own storage initializer for it, or unset the variable",
            )
        if len(pairs) > 1 and (settings.job.expect_digest or settings.job.expect_list):
            raise ConfigurationError(
                f"AIM_EXPECTED_DIGEST and AIM_EXPECTED_LIST are of one artifact, and there are {len(pairs)}",
                hint="use an init container for each of them",
            )
        if settings.job.mirrors and len(pairs) > 1:
            raise ConfigurationError(
                f"AIM_MIRRORS names the mirrors of one artifact, and {len(pairs)} are to be downloaded",
                hint="unset it, or download one artifact in each container",
            )
        prepared.append((uri, replace(settings, job=replace(settings.job, target=target))))
    for uri, settings in prepared:
        log.info("downloading %s to %s", uri.shown, settings.job.target)
        unpacking_download(
            uri,
            settings,
            context.runner(settings.job.deadline),
            context.reporters(settings),
            environment=context.environ,
            ended=ending_for(settings, context),
        ).run()
