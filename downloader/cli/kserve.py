"""KServe's door: pairs of source and folder, and archives that are unpacked."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from downloader.archives import UnpackingVolume
from downloader.cli.download import Download
from downloader.cli.wiring import completion_for, make_disk
from downloader.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from downloader.cli.context import CommandContext
    from downloader.config import Settings
    from downloader.sources.registry import ArtifactUri
    from downloader.volume import Volume

log = logging.getLogger(__name__)


class KServeDownload(Download):
    """A download whose only file is unpacked if it is an archive."""

    def __init__(self, uri: ArtifactUri, settings: Settings, invocation: CommandContext) -> None:
        reporters = invocation.watchers(settings)
        super().__init__(uri, settings, invocation.environ, reporters, invocation.redactor)

    def _make_volume(self, *, simulated: bool) -> Volume:
        if simulated:
            return super()._make_volume(simulated=simulated)
        job, cancellation = self._settings.job, self._session.cancellation
        return UnpackingVolume(
            job.target,
            check=cancellation.check,
            files=make_disk(self._settings),
            ttl=job.lease_ttl,
            completion=completion_for(self._uri, self._settings, for_operator=False),
            replace=job.replace,
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
        run = KServeDownload(uri, settings, invocation)
        try:
            run.run()
        finally:
            invocation.abandoned, invocation.told = run.abandoned, True
