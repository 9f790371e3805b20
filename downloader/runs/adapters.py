"""The runs on the adapter disk: stage and promote an adapter, reap the disk, sync a service."""

from __future__ import annotations

import logging
import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from downloader.adapters import AdapterPaths, Reaper, Staging, sync_service
from downloader.engine import Outcome
from downloader.filesystem import Disk
from downloader.formatting import format_count
from downloader.integrity import SIZE_ONLY
from downloader.progress import Phase
from downloader.runs.download import Download
from downloader.runs.signing import require_real
from downloader.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from downloader.config import Settings
    from downloader.config.adapters import AdapterReapSettings, AdapterStageSettings, AdapterSyncSettings
    from downloader.reporters import Reporter
    from downloader.runs.ending import Ending
    from downloader.runs.runner import Runner
    from downloader.sources.registry import ArtifactUri

HUB_CACHE = ".cache/huggingface/*"
"""What `hf download` leaves in a folder, and so in copies of the folder. It does not belong to an adapter."""

log = logging.getLogger(__name__)


def stage(
    uri: ArtifactUri,
    settings: Settings,
    adapter: AdapterStageSettings,
    runner: Runner,
    reporters: Iterable[Reporter],
    *,
    environment: Mapping[str, str],
    ended: Callable[[Ending], None] = lambda _: None,
) -> Outcome:
    """Download an adapter into staging and make it live. Raises one of our errors.

    `environment` and `ended` are those of a `Download`.
    """
    paths = AdapterPaths(adapter.service, adapter.adapter, adapter.job, secrets.token_hex(8))
    job = replace(settings.job, target=adapter.root / paths.download, exclude=(*settings.job.exclude, HUB_CACHE))
    settings = replace(settings, job=job)
    download = Download(uri, settings, runner, reporters, environment=environment, ended=ended)

    def stage_and_promote() -> Outcome:
        sleep = runner.cancellation.sleep
        if adapter.simulated:
            require_real(settings)
        with Disk(adapter.root, create=False) as disk:
            staging = Staging(disk, paths, ttl=job.lease_ttl, waiting=download.show_waiting, sleep=sleep)
            with staging.held(uri.shown):
                outcome = _simulate(uri, adapter, disk, paths, runner) if adapter.simulated else download.transfer()
                runner.cancellation.check()
                staging.promote(outcome.manifest)
        return outcome

    return download.run(stage_and_promote)


def _simulate(
    uri: ArtifactUri, adapter: AdapterStageSettings, disk: Disk, paths: AdapterPaths, runner: Runner
) -> Outcome:
    runner.meter.enter(Phase.DOWNLOADING, "a simulated adapter")
    runner.cancellation.sleep(adapter.simulated_seconds)
    manifest = simulate(disk, paths.download, uri.shown, base_model=adapter.base_model, rank=adapter.rank)
    runner.meter.expect(manifest.size, len(manifest.files))
    for file in manifest.files:
        runner.meter.add_written(file.size)
        runner.meter.add_done_files(1)
    return Outcome(manifest, proofs=dict.fromkeys((file.path for file in manifest.files), SIZE_ONLY))


def reap(settings: AdapterReapSettings, runner: Runner) -> None:
    """Remove what no service needs from the adapter disk. Raises VolumeError if the disk cannot be listed."""

    def reaping() -> None:
        with Disk(settings.root, create=False) as disk:
            sleep = runner.cancellation.sleep
            Reaper(disk, settings.keep, settings.min_age, wall_clock=time.time, sleep=sleep).run()
            log.info("reaped %s, keeping %s", settings.root, format_count(len(settings.keep), "service"))

    runner.run(reaping)


def sync(settings: AdapterSyncSettings, runner: Runner) -> None:
    """Remove the adapters that a service no longer declares. Raises NotUnloaded if one of them is still served."""

    def syncing() -> None:
        with Disk(settings.root, create=False) as disk:
            sync_service(disk, settings.service, settings.keep, sleep=runner.cancellation.sleep)
            log.info(
                "synced %s/%s, keeping %s", settings.root, settings.service, format_count(len(settings.keep), "adapter")
            )

    runner.run(syncing)
