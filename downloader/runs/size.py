"""Lists an artifact without downloading it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from downloader.errors import ProtocolFailed
from downloader.progress import StallWatchdog
from downloader.runs.wiring import make_client, make_filter, make_retrying, make_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.artifact import Manifest
    from downloader.config import Settings
    from downloader.progress import Snapshot
    from downloader.runs.runner import Runner
    from downloader.sources.registry import ArtifactUri


def list_artifact(
    uri: ArtifactUri,
    settings: Settings,
    runner: Runner,
    observer: Callable[[Snapshot], None],
    *,
    unsized: bool = False,
) -> Manifest:
    """Return the manifest that a download with these settings would fetch.

    Raises one of our errors: ProtocolFailed where the server does not tell the size of a file, unless files may be
    `unsized`.
    """

    def listing() -> Manifest:
        with (
            closing(make_client(uri, settings, runner.meter)) as client,
            closing(make_source(uri, settings, client)) as source,
            runner.cancellation.waking(client.abort),
            runner.meter.waiting_for_network(),
        ):
            manifest = make_filter(settings).of(make_retrying(source, settings, runner).manifest())
        untold = next((file.path for file in manifest.files if not file.sized), None)
        if untold is not None and not unsized:
            raise ProtocolFailed(f"the server of {manifest.uri} does not tell how many bytes {untold} has")
        return manifest

    watchdog = StallWatchdog(runner.meter, settings.deadlines.stall)
    watchdog.guard(runner.cancellation)
    return runner.run(listing, observers=[watchdog.check, observer])
