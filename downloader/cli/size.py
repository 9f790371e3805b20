"""Listing an artifact without downloading it: the check-size door."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from downloader.cli.runner import Runner
from downloader.cli.wiring import make_source, make_web, selection_of
from downloader.errors import ProtocolFailed
from downloader.progress import StallWatchdog, Ticker
from downloader.sources.retry import RetryPolicy
from downloader.sources.retrying import RetryingSource

if TYPE_CHECKING:
    from downloader.artifact import Manifest
    from downloader.config import Settings
    from downloader.reporters.console import Console
    from downloader.sources.registry import ArtifactUri


def list_artifact(uri: ArtifactUri, settings: Settings, console: Console) -> Manifest:
    """Return the manifest that a download with these settings fetches."""
    session = Runner(settings.job.deadline, grace=0.0)  # a listing leaves nothing behind
    patience = RetryPolicy(settings.deadlines.retry_budget, session.meter, session.cancellation, session.pause)

    def listing() -> Manifest:
        with (
            closing(make_web(uri, settings, session.meter)) as web,
            closing(make_source(uri, settings, web)) as source,
            session.cancellation.waking(web.abort),
            session.meter.waiting_for_network(),
        ):
            manifest = selection_of(settings).of(RetryingSource(source, patience).manifest())
        untold = next((file.path for file in manifest.files if not file.sized), None)
        if untold is not None:
            raise ProtocolFailed(f"the server of {manifest.uri} does not tell how many bytes {untold} has")
        return manifest

    watchdog = StallWatchdog(session.meter, settings.deadlines.stall)
    watchdog.guard(session.cancellation)
    ticker = Ticker(session.meter, [watchdog.look, console.report])
    ticker.start()
    try:
        return session.run(listing)
    finally:
        ticker.stop()
        console.clear()
