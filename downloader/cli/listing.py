"""Listing an artifact without downloading it: the check-size door."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.cli.assembly import make_source, make_web, selection_of, silence
from downloader.cli.session import Session
from downloader.meter import Ticker, Watchdog
from downloader.sources.retry import Patience, PersistentSource

if TYPE_CHECKING:
    from downloader.artifact import Manifest
    from downloader.config import Settings


def list_artifact(uri: str, settings: Settings) -> Manifest:
    """Return the manifest that a download with these settings fetches."""
    session = Session(settings.job.deadline, grace=0.0)  # a listing leaves nothing behind
    patience = Patience(silence(settings), session.meter, session.cancellation)

    def listing() -> Manifest:
        web = make_web(uri, settings, session.meter)
        source = make_source(uri, settings, web)
        persistent = PersistentSource(source, patience)
        with session.cancellation.waking(web.abort), session.meter.waiting_for_network():
            return selection_of(settings).of(persistent.manifest())

    watchdog = Watchdog(session.meter, settings.job.stall_timeout)
    watchdog.guard(session.cancellation)
    ticker = Ticker(session.meter, [watchdog.look])
    ticker.start()
    try:
        return session.run(listing)
    finally:
        ticker.stop()
