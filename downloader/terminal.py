"""A terminal on which a few lines are drawn over themselves, below the lines of the log (ADR 63).

Between two drawings the cursor rests where the drawn lines begin, and not behind them. A terminal that is resized takes
its cursor along, however it breaks lines then, so erasing from the cursor on removes what was drawn. Nothing has to be
counted, and the cursor is never hidden: a process that is killed leaves a terminal that works.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import unicodedata
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TextIO

ERASE: Final = "\r\x1b[J"
"""Erases everything from the cursor's line on."""
CLEAR_TO_END, CLEAR_BELOW = "\x1b[K", "\x1b[J"
REPAIR: Final = 5.0
"""Seconds after which all lines are drawn, also unchanged ones: other programs and the keyboard write here, too."""
USUAL: Final = (80, 24)
"""Columns and rows of a terminal that does not tell them."""


class Size(NamedTuple):
    """What fits on the terminal."""

    columns: int
    rows: int


class Terminal:
    """A stream whose last lines can be drawn again. Thread-safe; no method but `write` and `flush` raises OSError."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        # A signal handler may log while the main thread is in `write`.
        self._lock = threading.RLock()
        self._drawn: tuple[str, ...] = ()
        self._size = Size(*USUAL)
        self._repaired = 0.0

    @property
    def unicode(self) -> bool:
        """Whether it can show any character."""
        return "utf" in (self._stream.encoding or "").lower()

    @property
    def size(self) -> Size:
        """Its size now: a window can be resized at any time."""
        try:
            found = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            return Size(*USUAL)
        return Size(found.columns or USUAL[0], found.lines or USUAL[1])

    def write(self, text: str) -> int:
        """Write whole lines above those that are drawn."""
        with self._lock:
            if self._drawn:
                # At another size they would be broken into more rows: the next drawing brings them back.
                self._drawn = self._drawn if self.size == self._size else ()
                text = f"{ERASE}{text}{_block(self._drawn)}"
            return self._stream.write(text)

    def flush(self) -> None:
        """Pass on what was written."""
        with self._lock:
            self._stream.flush()

    def draw(self, lines: Sequence[str]) -> None:
        """Draw these lines in place of those that are drawn. Each must be shorter than a row, all fewer than the rows.

        Only lines that differ are written, all at once; nothing while another program has the terminal.
        """
        with self._lock, contextlib.suppress(OSError, ValueError):
            if not self._in_foreground():
                self._drawn = ()
                return
            new, size, now = tuple(lines), self.size, self._clock()
            if len(new) == len(self._drawn) and size == self._size and now - self._repaired < REPAIR:
                text = "".join(_changes(self._drawn, new))
            else:
                # At another size the old lines may take more rows than they are; else each is replaced where it stands.
                text = (ERASE if size != self._size else "\r") + _block(new)
                self._repaired = now
            self._drawn, self._size = new, size
            if text:
                self._put(text)

    def erase(self) -> None:
        """Remove the lines that are drawn. The cursor is then at the beginning of an empty line."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            if self._drawn:
                self._drawn = ()
                self._put(ERASE)

    @contextlib.contextmanager
    def erased(self) -> Iterator[None]:
        """Remove the lines that are drawn, and keep all threads from drawing and writing during a block."""
        with self._lock:
            self.erase()
            yield

    def _put(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def _in_foreground(self) -> bool:
        """Whether the shell has not put this process into the background, where it would draw over the prompt."""
        try:
            return os.tcgetpgrp(self._stream.fileno()) == os.getpgrp()
        except OSError:
            return True  # not the terminal of this session: no shell either


def _block(lines: Sequence[str]) -> str:
    """Return what draws all lines from the cursor on, and takes the cursor back."""
    if not lines:
        return ""
    up = f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""
    return "\r\n".join(f"{line}{CLEAR_TO_END}" for line in lines) + f"{CLEAR_BELOW}\r{up}"


def _changes(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    """Yield what draws the lines that differ, and takes the cursor back."""
    row = -1
    for number, (before, line) in enumerate(zip(old, new, strict=True)):
        if line != before:
            down = number - max(row, 0)
            yield (f"\x1b[{down}B" if down else "") + f"\r{line}{CLEAR_TO_END}"
            row = number
    if row >= 0:
        yield "\r" + (f"\x1b[{row}A" if row else "")


def width(text: str) -> int:
    """Return the columns that a printable text takes: two for each wide character, none for a combining one."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def shortened(text: str, columns: int, mark: str = "…") -> str:
    """Return the text, or its beginning and `mark` where it is wider than `columns`."""
    if width(text) <= columns:
        return text
    return _beginning(text, columns - len(mark)) + mark if columns > len(mark) else _beginning(text, columns)


def shortened_path(text: str, columns: int, mark: str = "…") -> str:
    """Return the text, or `mark` and its end: the end of a path tells more than its beginning."""
    if width(text) <= columns:
        return text
    return mark + _beginning(text[::-1], columns - len(mark))[::-1] if columns > len(mark) else ""


def _beginning(text: str, columns: int) -> str:
    taken = 0
    for position, character in enumerate(text):
        taken += _columns(character)
        if taken > columns:
            return text[:position]
    return text


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Me", "Mn", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
