"""`StallWatchdog`: ends an attempt in which no byte arrives."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from downloader.artifact import TransferProtocol
from downloader.errors import Stalled
from downloader.progress.snapshot import Phase

if TYPE_CHECKING:
    from downloader.cancellation import Cancellation
    from downloader.progress.meter import ProgressMeter
    from downloader.progress.snapshot import Snapshot

FLOOR_RATE = 1024
"""Bytes per second below which an attempt counts as stalled. Some gateways keep a dead transfer open with a trickle."""


class StallWatchdog:
    """Cancels an attempt, or a listing, that has stalled for `timeout` seconds.

    Its clock stops during a pause that the server asked for and while the volume does not answer: neither is the
    network's fault, and another protocol would not help.
    """

    def __init__(self, meter: ProgressMeter, timeout: float) -> None:
        self._meter = meter
        self._timeout = timeout
        self._history: deque[tuple[float, int]] = deque()
        """Time and received bytes, the oldest from before the last `timeout` seconds."""
        self._metadata_responses = 0
        self._attempt: Cancellation | None = None

    def guard(self, attempt: Cancellation | None) -> None:
        """Watch this attempt, or the run while it lists, from now on; None to watch nothing."""
        self._attempt = attempt
        self._history = deque()

    def check(self, snapshot: Snapshot) -> None:
        """Cancel the attempt with Stalled if less than FLOOR_RATE arrived during the whole timeout."""
        # Taken once: `guard` is called by another thread, and an old history must not end a new attempt.
        attempt, history = self._attempt, self._history
        if attempt is None:
            return
        now = self._meter.clock()
        if snapshot.stuck_volume or not self._meter.stall_clock_running:
            history.clear()
            return
        # hf_xet asks its servers in another process: the last host that this process asked only gave a token.
        by_child = snapshot.protocol is TransferProtocol.XET and snapshot.phase is not Phase.LISTING
        host = "" if by_child else self._meter.last_host
        count, how = snapshot.received_bytes, f"over {snapshot.protocol}"
        if snapshot.phase is Phase.LISTING:
            # The pages of a listing may be small: each complete response is progress, whatever its size.
            responses, count = self._meter.metadata
            how = "of the listing"
            if responses != self._metadata_responses:
                self._metadata_responses = responses
                history.clear()
        history.append((now, count))
        while len(history) > 1 and now - history[1][0] >= self._timeout:
            history.popleft()
        since, before = history[0]
        arrived = count - before
        if now - since >= self._timeout and arrived < FLOOR_RATE * self._timeout:
            what = "no byte" if arrived == 0 else f"only {arrived} bytes"
            who = f" from {host}" if host else ""
            attempt.cancel(Stalled(f"{what} arrived{who} {how} for {self._timeout:g} s"))
