"""`Ticker`: takes snapshots and passes them to the listeners."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.progress.meter import ProgressMeter
    from downloader.progress.snapshot import Snapshot

log = logging.getLogger(__name__)


class Ticker:
    """The clock of a run, in a thread of its own: one snapshot every `interval` seconds, or when something changes."""

    def __init__(
        self,
        meter: ProgressMeter,
        listeners: list[Callable[[Snapshot], None]],
        *,
        stuck_volume: Callable[[], str] = lambda: "",
        interval: float = 0.5,
    ) -> None:
        self._meter = meter
        self._listeners = listeners
        self._stuck_volume = stuck_volume
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.tick()
            self._meter.changed.wait(self._interval)
            self._meter.changed.clear()

    def tick(self) -> None:
        """Pass one snapshot to all listeners."""
        snapshot = self._meter.snapshot(self._stuck_volume())
        for listener in self._listeners:
            try:
                listener(snapshot)
            except BaseException as error:  # noqa: BLE001 - a reporter that fails must not end the run
                log.debug("a listener failed: %r", error)

    def stop(self) -> None:
        """Stop the thread and wait for it; no listener is called afterwards."""
        self._stop.set()
        self._meter.changed.set()
        if self._thread.is_alive():
            self._thread.join()
