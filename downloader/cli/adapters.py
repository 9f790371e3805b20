"""The entry points of the adapter disk: their variables become settings, and a run with them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from downloader.cli.download import ending_for
from downloader.config import ClusterSettings
from downloader.config.adapters import AdapterReapSettings, AdapterStageSettings, AdapterSyncSettings
from downloader.runs import adapters

if TYPE_CHECKING:
    from downloader.cli.context import CommandContext
    from downloader.sources.registry import ArtifactUri


def stage_adapter(uri: ArtifactUri, context: CommandContext) -> None:
    """Download an adapter and make it live."""
    adapter = AdapterStageSettings.from_environment(context.environ)
    settings = replace(context.settings(uri), cluster=ClusterSettings())  # an adapter has no status
    adapters.stage(
        uri,
        settings,
        adapter,
        context.runner(settings.job.deadline),
        context.reporters(settings),
        environment=context.environ,
        ended=ending_for(settings, context),
    )


def reap_adapters(context: CommandContext) -> None:
    """Remove what no service needs any more."""
    adapters.reap(AdapterReapSettings.from_environment(context.environ), context.runner())


def sync_adapters(context: CommandContext) -> None:
    """Remove the adapters that a service no longer declares."""
    adapters.sync(AdapterSyncSettings.from_environment(context.environ), context.runner())
