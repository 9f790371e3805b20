"""The console: a bar on a terminal, plain lines everywhere else."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tqdm import tqdm

from downloader.artifact import Phase
from downloader.words import bytes_text, seconds_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from downloader.artifact import Snapshot

log = logging.getLogger(__name__)

INTERVAL: Final = 10.0
"""Seconds between two plain lines when nothing but numbers has changed."""


class Console:
    """Shows a run to whoever looks at it. Its lines are log records, so they are filtered like all others."""

    def __init__(
        self,
        stream: TextIO,
        *,
        interval: float = INTERVAL,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Draw a bar if `stream` is a terminal; `quiet` shows nothing at all."""
        self._quiet = quiet
        self._bar = _Bar(stream) if stream.isatty() and not quiet else None
        self._interval = interval
        self._clock = clock
        self._started = self._spoken = clock()
        self._last: Snapshot | None = None

    def report(self, snapshot: Snapshot) -> None:
        """Show a snapshot: in the bar, or in a line if something has happened or none was written for long."""
        if self._quiet or snapshot.phase in (Phase.DONE, Phase.FAILED):
            return  # `close` tells how it ended
        last, self._last = self._last, snapshot
        if self._bar is not None:
            if snapshot.message and (last is None or snapshot.message != last.message):
                log.info("%s", snapshot.message)
            self._bar.show(snapshot)
        elif last is None or _news(last) != _news(snapshot) or self._clock() - self._spoken >= self._interval:
            log.info("%s", progress_text(snapshot))
            self._spoken = self._clock()

    def close(self, final: Snapshot) -> None:
        """Take the bar away and write how the run ended."""
        if self._bar is not None:
            self._bar.close()
        if not self._quiet:
            log.info("%s", summary_text(final, self._clock() - self._started))


def progress_text(snapshot: Snapshot) -> str:
    """Tell what a run is doing. The protocol stands last: before a number it could be read as a server's answer."""
    text = str(snapshot.phase)
    if snapshot.total_bytes:
        text += f": {snapshot.percentage} %, {_amount(snapshot)}, {_pace(snapshot)}".removesuffix(", ")
    if snapshot.phase is Phase.DOWNLOADING and snapshot.protocol:
        text += f" ({snapshot.protocol}, attempt {snapshot.attempt} of {len(snapshot.sequence)})"
    for remark in (snapshot.message, snapshot.stuck_volume):
        if remark:
            text += f"; {remark}"
    return text


def summary_text(final: Snapshot, seconds: float) -> str:
    """Tell how a run of so many seconds ended."""
    took = seconds_text(seconds)
    if final.phase is not Phase.DONE:
        return f"{final.phase} after {took}" + (f": {_amount(final)} on the volume" if final.total_bytes else "")
    came = "nothing had to be fetched"
    if final.received_bytes:
        pace = bytes_text(final.received_bytes / max(seconds, 0.001))
        came = f"{bytes_text(final.received_bytes)} received, {pace}/s"
    return f"done after {took}: {final.total_files} files, {bytes_text(final.total_bytes)}; {came}"


def _amount(snapshot: Snapshot) -> str:
    return f"{bytes_text(snapshot.done_bytes)} of {bytes_text(snapshot.total_bytes)}"


def _pace(snapshot: Snapshot) -> str:
    parts = [f"{bytes_text(snapshot.rate)}/s"] if snapshot.rate else []
    if snapshot.eta is not None:
        parts.append(f"{seconds_text(snapshot.eta)} left")
    return ", ".join(parts)


def _news(snapshot: Snapshot) -> tuple[object, ...]:
    stuck = bool(snapshot.stuck_volume)  # its text tells the time, so it always changes
    return (snapshot.phase, snapshot.protocol, snapshot.attempt, snapshot.message, stuck)


class _Bar(tqdm):  # type: ignore[type-arg] # it iterates over nothing
    """A progress bar that shows the numbers of the snapshot instead of measuring its own."""

    monitor_interval: ClassVar[int] = 0  # no thread that redraws
    _lock = threading.RLock()  # tqdm's own needs semaphores of the system

    def __init__(self, stream: TextIO) -> None:
        self.facts = ""
        self._stream = stream
        super().__init__(file=stream, desc="starting", bar_format="{desc}", ncols=79, nrows=24, leave=False)

    @property
    def format_dict(self) -> dict[str, Any]:
        """What `bar_format` can name: tqdm's own and our facts."""
        return {**super().format_dict, "facts": self.facts}

    def show(self, snapshot: Snapshot) -> None:
        """Draw the bar as it is at this moment."""
        words = [str(snapshot.phase)]
        if snapshot.phase is Phase.DOWNLOADING and snapshot.protocol:
            words.append(f"{snapshot.protocol} {snapshot.attempt}/{len(snapshot.sequence)}")
        self.bar_format = "{desc}"
        if snapshot.total_bytes:
            words.append(f"{snapshot.percentage:3} %")
            self.bar_format = "{desc} |{bar}| {facts}"
        self.desc = " ".join(words)
        self.facts = f"{_amount(snapshot)}, {_pace(snapshot)}".removesuffix(", ")
        self.n, self.total = snapshot.done_bytes, snapshot.total_bytes
        # Some terminals say that they have no rows and columns, and tqdm believes it.
        self.ncols = (os.get_terminal_size(self._stream.fileno()).columns or 80) - 1
        self.refresh()
