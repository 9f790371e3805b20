"""The console: a few lines that are drawn on a terminal, plain log lines everywhere else."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from downloader.deadlines import LINE_INTERVAL
from downloader.progress import Phase
from downloader.reporters.frame import MAX_FILE_ROWS, Sheet, frame
from downloader.reporters.sentences import last_event, progress_event, progress_text, summary_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.progress import FileProgress, Snapshot
    from downloader.terminal import Terminal

log = logging.getLogger(__name__)

TEXTS: Final = ("message", "waiting", "stuck_volume", "host", "place")
"""What a snapshot has of words from elsewhere."""
CALM: Final = 0.2
"""Seconds between two drawings if only numbers have changed."""


class Console:
    """Shows a run to its user. Its lines are log records, so they are redacted and reworded like all others."""

    def __init__(
        self,
        *,
        interval: float | None = LINE_INTERVAL,
        quiet: bool = False,
        display: Display | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`display` draws what would otherwise be log lines, at each change and once in `interval` seconds.

        Without an interval there are no such lines, only a summary at the end. `quiet`: show nothing.
        """
        self._quiet = quiet
        self._display = display
        self._interval = interval
        self._clock = clock
        self._started = self._spoken = clock()
        self._last: Snapshot | None = None

    def report(self, snapshot: Snapshot) -> None:
        """Show a snapshot: in the display, or in a log line if there is news or the interval is over."""
        if self._quiet or snapshot.phase in (Phase.DONE, Phase.FAILED):
            return  # `close` writes the summary
        last, self._last = self._last, snapshot
        now = self._clock()
        news = last is None or _news(last) != _news(snapshot)
        if self._display is not None:
            if news or now - self._spoken >= CALM:
                self._display.show(snapshot, now - self._started)
                self._spoken = now
        elif self._interval is not None and (news or now - self._spoken >= self._interval):
            log.info("%s", progress_text(snapshot), extra=progress_event(snapshot).extra())
            self._spoken = self._clock()

    def close(self, final: Snapshot) -> None:
        """Remove the display and log the summary of the run."""
        self.clear()
        if not self._quiet:
            seconds = self._clock() - self._started
            event = last_event(final, seconds).extra()
            log.info("%s", summary_text(final, seconds), extra=None if final.digest else event)
            if final.digest:
                log.info("digest %s", final.digest, extra=event)

    def clear(self) -> None:
        """Remove the display. Nothing is drawn after that."""
        if self._display is not None:
            self._display.close()


def _news(snapshot: Snapshot) -> tuple[object, ...]:
    """Return the parts of a snapshot whose change is logged at once. Texts that contain a time are not among them."""
    return (snapshot.phase, snapshot.protocol, snapshot.attempt, snapshot.message, bool(snapshot.stuck_volume))


class Display:
    """The last lines of a terminal, drawn over themselves with each snapshot (ADR 63)."""

    def __init__(self, terminal: Terminal, redact: Callable[[str], str] = str, *, colour: bool = False) -> None:
        """`redact` removes secrets from a text: what is drawn does not pass through the log."""
        self._terminal = terminal
        self._redact = redact
        self._colour = colour
        self._closed = False
        self._before: frozenset[str] = frozenset()
        terminal.draw(["starting"])

    def show(self, snapshot: Snapshot, seconds: float) -> None:
        """Draw a snapshot, some seconds after the beginning of the run."""
        if self._closed:
            return
        size = self._terminal.size
        sheet = Sheet(size.columns, size.rows, self._terminal.unicode, self._colour)
        self._terminal.draw(frame(self._redacted(snapshot), self._lasting(snapshot), sheet, seconds))

    def _lasting(self, snapshot: Snapshot) -> list[FileProgress]:
        """Return the first files that were there the last time, too: names of small ones would only flicker by."""
        before, self._before = self._before, frozenset(file.path for file in snapshot.files)
        lasting = [file for file in snapshot.files if file.path in before]
        return [replace(file, path=self._redact(file.path)) for file in lasting[:MAX_FILE_ROWS]]

    def _redacted(self, snapshot: Snapshot) -> Snapshot:
        """Return a snapshot without secrets: they are removed before a text is shortened, when they are still whole."""
        safe: dict[str, Any] = {name: self._redact(text) for name in TEXTS if (text := getattr(snapshot, name))}
        return replace(snapshot, **safe)

    def close(self) -> None:
        """Remove the lines. Nothing is drawn after that."""
        if not self._closed:
            self._closed = True
            self._terminal.erase()
