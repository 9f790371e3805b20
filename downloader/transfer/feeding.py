"""Adds work to a transport that runs: a thread that asks the feed, and what it gives the work to."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from downloader.transfer.file_transfer import FileTransfer
from downloader.transfer.workers import guarded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from downloader.artifact import RemoteFile, Span
    from downloader.cancellation import Cancellation
    from downloader.transfer.base import Feed, FileSink
    from downloader.transfer.config import TransferConfig
    from downloader.transfer.scheduler import Scheduler

LOW_WATER = 8 << 20
"""Bytes that no worker has taken below which more are claimed: few, so that the last ones are not kept from others."""


class FeedThread:
    """Runs a feed until it has no more work, or the attempt ends."""

    def __init__(
        self, feed: Feed, scheduler: Scheduler, sink: FileSink, cancellation: Cancellation, config: TransferConfig
    ) -> None:
        self._feed = feed
        self._scheduler = scheduler
        self._cancellation = cancellation
        self._intake = _Intake(scheduler, sink, cancellation, config)
        scheduler.feed(more=True)
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait at most that long for its end."""
        self._thread.join(seconds)

    def _run(self) -> None:
        guarded(partial(self._feed.run, self._intake), self._cancellation)
        self._scheduler.feed(more=False)


class _Intake:
    """Gives work to a scheduler."""

    def __init__(
        self, scheduler: Scheduler, sink: FileSink, cancellation: Cancellation, config: TransferConfig
    ) -> None:
        self.connections = config.initial_connections
        self._scheduler = scheduler
        self._sink = sink
        self._cancellation = cancellation
        self._low_water = max(LOW_WATER, 2 * config.buffer_size)
        self._shared: dict[str, FileTransfer] = {}

    def add(self, files: Sequence[RemoteFile]) -> None:
        self._scheduler.add(files)

    def share(self, file: RemoteFile, spans: Sequence[Span], found: Sequence[Span] = (), *, hashes: bool) -> None:
        transfer = self._shared.get(file.path)
        if transfer is None:
            opened = self._sink.begin(file)
            transfer = FileTransfer(
                file, opened, self._cancellation.check, self._sink.inspect, shared=True, hashes=hashes
            )
            self._shared[file.path] = transfer
            self._scheduler.add_transfer(transfer)
        if found:
            transfer.partial.add_found(found)
        self._scheduler.extend(transfer, spans, found if transfer.hashes else ())

    def drop(self, file: RemoteFile) -> None:
        transfer = self._shared.pop(file.path, None)
        if transfer is not None and self._scheduler.drop(transfer):
            transfer.partial.close()

    def wait(self, seconds: float) -> bool:
        hungry = self._scheduler.wait(self._low_water, seconds)
        self._cancellation.check()
        return hungry

    def sleep(self, seconds: float) -> None:
        self._cancellation.sleep(seconds)

    @property
    def is_idle(self) -> bool:
        return self._scheduler.is_idle
