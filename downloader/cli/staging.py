"""The adapter door that brings something: a download into staging, and its promotion."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from downloader.adapters import AdapterDisk, AdapterPaths, Staging
from downloader.artifact import Phase
from downloader.cli.download import Download
from downloader.config import ClusterSettings
from downloader.config.adapters import AdapterStageSettings
from downloader.engine import Outcome
from downloader.integrity import SIZE_ONLY
from downloader.simulation import simulate

if TYPE_CHECKING:
    from downloader.cli.context import CommandContext
    from downloader.progress import StallWatchdog
    from downloader.sources.registry import ArtifactUri

HUB_CACHE = ".cache/huggingface/*"
"""What `hf download` leaves in a folder, and with it in copies of the folder: no part of an adapter."""


class AdapterDownload(Download):
    """A download into staging, promoted when it is complete."""

    def __init__(self, uri: ArtifactUri, invocation: CommandContext) -> None:
        self._door = door = AdapterStageSettings.from_environment(invocation.environ)
        self._place = AdapterPaths(door.service, door.adapter, door.job, secrets.token_hex(8))
        settings = invocation.settings(uri)
        job = replace(
            settings.job,
            target=door.root / self._place.download,
            exclude=(*settings.job.exclude, HUB_CACHE),
        )
        settings = replace(settings, job=job, cluster=ClusterSettings())  # an adapter has no status
        reporters = invocation.watchers(settings)
        super().__init__(uri, settings, invocation.environ, reporters, invocation.redactor)

    def _bring(self, watchdog: StallWatchdog) -> Outcome:
        cancellation = self._session.cancellation
        with AdapterDisk(self._door.root) as disk:
            ttl = self._settings.job.lease_ttl
            staging = Staging(disk, self._place, ttl=ttl, waiting=self._wait_for, sleep=cancellation.sleep)
            with staging.held(self._uri.shown):
                outcome = self._simulate(disk) if self._door.simulated else super()._bring(watchdog)
                cancellation.check()
                staging.promote(outcome.manifest)
        return outcome

    def _simulate(self, disk: AdapterDisk) -> Outcome:
        door, session = self._door, self._session
        session.meter.enter(Phase.DOWNLOADING, "a simulated adapter")
        session.cancellation.sleep(door.simulated_seconds)
        manifest = simulate(disk, self._place.download, self._uri.shown, base_model=door.base_model, rank=door.rank)
        session.meter.expect(manifest.size, len(manifest.files))
        for file in manifest.files:
            session.meter.landed(file.size)
            session.meter.files_done(1)
        return Outcome(manifest, proofs=dict.fromkeys((file.path for file in manifest.files), SIZE_ONLY))


def stage_adapter(uri: ArtifactUri, invocation: CommandContext) -> None:
    """Download an adapter and make it live."""
    run = AdapterDownload(uri, invocation)
    try:
        run.run()
    finally:
        invocation.abandoned, invocation.told = run.abandoned, True
