"""The console: a progress line on a terminal, plain log lines everywhere else."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING, Final

from downloader.deadlines import LINE_INTERVAL
from downloader.events import Event, Finished, Progress
from downloader.formatting import format_duration, format_size
from downloader.progress import Phase

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from downloader.progress import Snapshot

log = logging.getLogger(__name__)

BAR: Final = 14
"""The smallest number of columns for a bar, with the marks around it."""
GAP: Final = "  "
"""Stands between words and facts if there is no room for a bar."""
EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
"""A column of the bar, from empty to full."""
ASCII: Final = " #"
"""The same for a stream that cannot encode others."""
CLEAR_TO_END: Final = "\x1b[K"


class Console:
    """Shows a run to its user. Its lines are log records, so they are redacted and reworded like all others."""

    def __init__(
        self,
        stream: TextIO,
        *,
        interval: float = LINE_INTERVAL,
        quiet: bool = False,
        drawing: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`drawing`: `stream` is a terminal that can move its cursor. `quiet`: show nothing."""
        self._quiet = quiet
        self._line = _ProgressLine(stream) if drawing and not quiet else None
        self._interval = interval
        self._clock = clock
        self._started = self._spoken = clock()
        self._last: Snapshot | None = None

    def report(self, snapshot: Snapshot) -> None:
        """Show a snapshot: in the progress line, or in a log line if there is news or the interval is over."""
        if self._quiet or snapshot.phase in (Phase.DONE, Phase.FAILED):
            return  # `close` writes the summary
        last, self._last = self._last, snapshot
        if self._line is not None:
            if snapshot.message and (last is None or snapshot.message != last.message):
                log.info("%s", snapshot.message)
            self._line.show(snapshot)
        elif last is None or _news(last) != _news(snapshot) or self._clock() - self._spoken >= self._interval:
            log.info("%s", progress_text(snapshot), extra=progress_event(snapshot).extra())
            self._spoken = self._clock()

    def close(self, final: Snapshot) -> None:
        """Remove the progress line and log the summary of the run."""
        self.clear()
        if not self._quiet:
            seconds = self._clock() - self._started
            log.info("%s", summary_text(final, seconds), extra=_last_event(final, seconds).extra())

    def clear(self) -> None:
        """Remove the progress line."""
        if self._line is not None:
            self._line.close()


def progress_text(snapshot: Snapshot) -> str:
    """Describe what a run is doing. The protocol comes last: before a number, `HTTP 404` could seem to be a status."""
    text = str(snapshot.phase)
    if snapshot.total_bytes:
        text += f": {snapshot.percentage} %, {_amount(snapshot)}, {_pace(snapshot)}".removesuffix(", ")
    if snapshot.discarded_bytes:
        text += f", {format_size(snapshot.discarded_bytes)} discarded"
    if snapshot.phase is Phase.DOWNLOADING and snapshot.protocol:
        text += f" ({snapshot.protocol}, attempt {snapshot.attempt} of {len(snapshot.sequence)})"
    for remark in (snapshot.message, _waiting(snapshot), snapshot.stuck_volume):
        if remark:
            text += f"; {remark}"
    return text


def progress_event(snapshot: Snapshot) -> Progress:
    """Return what a program is told of a snapshot."""
    return Progress(
        phase=snapshot.phase,
        percentage=snapshot.percentage,
        done_bytes=snapshot.done_bytes,
        total_bytes=snapshot.total_bytes,
        received_bytes=snapshot.received_bytes,
        done_files=snapshot.done_files,
        total_files=snapshot.total_files,
        rate=round(snapshot.rate, 1),
        seconds_left=None if snapshot.eta is None else round(snapshot.eta, 1),
        protocol=snapshot.protocol,
        attempt=snapshot.attempt,
        waiting=snapshot.waiting or snapshot.stuck_volume,
    )


def _last_event(final: Snapshot, seconds: float) -> Event:
    if final.phase is not Phase.DONE:
        return progress_event(final)  # the last line of the log has the failure
    return Finished(
        exit_status=0,
        seconds=round(seconds, 3),
        files=final.total_files,
        bytes=final.total_bytes,
        received_bytes=final.received_bytes,
    )


def summary_text(final: Snapshot, seconds: float) -> str:
    """Describe how a run that took so many seconds ended."""
    took = format_duration(seconds)
    discarded = f", {format_size(final.discarded_bytes)} of it discarded" if final.discarded_bytes else ""
    if final.phase is not Phase.DONE:
        return _failure_text(final, took) + discarded.replace(" of it", "")
    came = "nothing had to be fetched"
    if final.received_bytes:
        pace = format_size((final.received_bytes - final.discarded_bytes) / max(seconds, 0.001))
        came = f"{format_size(final.received_bytes)} received{discarded}, {pace}/s"
    return f"done after {took}: {final.total_files} files, {format_size(final.total_bytes)}; {came}"


def _failure_text(final: Snapshot, took: str) -> str:
    if not final.total_bytes and not final.total_files:
        return f"{final.phase} after {took}, before the source was listed"
    amount = _amount(final) if final.total_bytes else format_size(final.done_bytes)
    text = f"{final.phase} after {took}: {amount} on the volume"
    if final.total_files:
        text += f", {final.done_files} of {final.total_files} files"
    if final.protocol:
        text += f", attempt {final.attempt} of {len(final.sequence)} ({final.protocol})"
    return text


def _amount(snapshot: Snapshot) -> str:
    return f"{format_size(snapshot.done_bytes)} of {format_size(snapshot.total_bytes)}"


def _pace(snapshot: Snapshot) -> str:
    parts = [f"{format_size(snapshot.rate)}/s"] if snapshot.rate else []
    if snapshot.eta is not None:
        parts.append(f"{format_duration(snapshot.eta)} left")
    return ", ".join(parts)


def _waiting(snapshot: Snapshot) -> str:
    return "" if snapshot.wait_left is None else f"{snapshot.waiting} ({format_duration(snapshot.wait_left)} to go)"


def _news(snapshot: Snapshot) -> tuple[object, ...]:
    """Return the parts of a snapshot whose change is logged at once. Texts that contain a time are not among them."""
    return (snapshot.phase, snapshot.protocol, snapshot.attempt, snapshot.message, bool(snapshot.stuck_volume))


def _layout(snapshot: Snapshot, columns: int) -> tuple[str, str]:
    """Return the text before the bar and the text after it; the latter is empty if there is no room for a bar.

    On a narrow terminal, rate and time left have priority; bar, amounts and protocol are left out.
    """
    percentage = [f"{snapshot.percentage:3} %"] if snapshot.total_bytes else []
    protocol = []
    if snapshot.phase is Phase.DOWNLOADING and snapshot.protocol:
        protocol = [f"{snapshot.protocol} {snapshot.attempt}/{len(snapshot.sequence)}"]
    head, short_head = [str(snapshot.phase), *protocol, *percentage], percentage or [str(snapshot.phase)]
    pace = _waiting(snapshot) or _pace(snapshot)
    facts = f"{_amount(snapshot)}, {pace}".removesuffix(", ") if snapshot.total_bytes else pace
    if snapshot.total_bytes and len(" ".join(head)) + BAR + len(facts) <= columns:
        return " ".join(head), facts
    shortest = _pace(snapshot) if snapshot.wait_left is None else f"{format_duration(snapshot.wait_left)} to go"
    layouts = ((head, facts), (head, pace), (short_head, facts), (short_head, pace), (short_head, shortest))
    lines = [GAP.join(filter(None, (" ".join(words), tail))) for words, tail in layouts]
    return next((line for line in lines if len(line) <= columns), lines[-1][:columns]), ""


def _line(snapshot: Snapshot, columns: int, marks: str) -> str:
    """Return the line for a terminal of so many columns; `marks` are the fillings of one column of the bar."""
    words, facts = _layout(snapshot, columns)
    if not facts:
        return words
    bar = _bar(snapshot.done_bytes / snapshot.total_bytes, columns - len(words) - len(facts) - len(" || "), marks)
    return f"{words} |{bar}| {facts}"


def _bar(fraction: float, columns: int, marks: str) -> str:
    """Return a bar that is filled to this fraction, with what `marks` has for a column that is partly filled."""
    steps = len(marks) - 1
    full, part = divmod(int(min(fraction, 1.0) * columns * steps), steps)
    return f"{marks[-1] * full}{marks[part]}"[:columns].ljust(columns)


class _ProgressLine:
    """The last line of a terminal, drawn over itself with each snapshot (ADR 63)."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._marks = EIGHTHS if "utf" in (stream.encoding or "").lower() else ASCII
        self._closed = False
        self._write("starting")

    def show(self, snapshot: Snapshot) -> None:
        """Draw the line as it is at this moment."""
        if self._closed:
            return
        # The size is read each time, since a window can be resized. Some terminals report no columns.
        with contextlib.suppress(OSError):
            columns = os.get_terminal_size(self._stream.fileno()).columns or 80
            # A character in the last column would make some terminals wrap.
            self._write(_line(snapshot, columns - 1, self._marks))

    def close(self) -> None:
        """Remove the line. Nothing is drawn after that."""
        if not self._closed:
            self._closed = True
            self._write("")

    def _write(self, text: str) -> None:
        # The terminal may be gone, which must not end the run.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(f"\r{text}{CLEAR_TO_END}")
            self._stream.flush()
