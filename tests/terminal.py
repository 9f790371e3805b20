r"""Runs the command on a terminal: a real pseudo-terminal, whose other end is an emulated screen.

    with OnTerminal("download", uri, folder, columns=80, rows=24) as terminal:
        terminal.wait_for("25 %")
        terminal.press("\x03")
        assert terminal.end() == 130
    assert terminal.shown()[-1].startswith("cancelled")

The command leads a session of its own whose terminal this is, so keys become signals and a new size becomes SIGWINCH,
as in a window.
"""

from __future__ import annotations

import fcntl
import io
import itertools
import os
import re
import struct
import subprocess
import sys
import termios
import threading
from typing import TYPE_CHECKING, Self

import pyte

from downloader.terminal import ERASE
from tests.command import PEOPLE, TIMEOUT, environment
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

HISTORY = 5000
"""Lines that have left the screen at its top and can still be read."""


class Screen:
    """What a person sees of the bytes that were written to a terminal. Thread-safe."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.raw = bytearray()
        """Everything that was written."""
        self._lock = threading.Lock()
        self._screen = pyte.HistoryScreen(columns, rows, history=HISTORY, ratio=0.5)
        self._stream = pyte.ByteStream(self._screen)
        self._rows: list[str] | None = None
        """The rows, until something changes them: a test looks much more often."""

    def feed(self, data: bytes) -> None:
        """Show what was written."""
        with self._lock:
            self.raw += data
            self._stream.feed(data)
            self._rows = None

    def resize(self, columns: int, rows: int) -> None:
        """Change the size as terminals do: the cursor stays in its row, and rows are cut off below it."""
        with self._lock:
            screen, cursor = self._screen, self._screen.cursor
            for _ in range(cursor.y - rows + 1):
                below = [screen.buffer[row] for row in range(1, screen.lines)]
                screen.buffer.update(enumerate(below))
                cursor.y -= 1
            for row in range(rows, screen.lines):
                screen.buffer.pop(row, None)
            screen.lines = rows
            screen.resize(rows, columns)
            self._rows = None

    @property
    def cursor(self) -> tuple[int, int]:
        """Column and row of the cursor, from 0."""
        with self._lock:
            return self._screen.cursor.x, self._screen.cursor.y

    @property
    def cursor_hidden(self) -> bool:
        """Whether the cursor cannot be seen."""
        with self._lock:
            return bool(self._screen.cursor.hidden)

    def lines(self) -> list[str]:
        """Return what was written as lines, whatever the columns; for a screen on which nothing is drawn any more."""
        with self._lock:
            return self.raw.decode().rpartition(ERASE)[2].splitlines()

    def rows(self) -> list[str]:
        """Return the rows of the screen, without blanks at their ends."""
        with self._lock:
            if self._rows is None:
                self._rows = [row.rstrip() for row in self._screen.display]
            return list(self._rows)

    def pieces(self) -> list[list[tuple[int, str, str]]]:
        """Return the pieces of one colour of each row: where it begins, what it says, and the name of the colour."""
        with self._lock:
            rows = [self._screen.buffer[row] for row in range(self._screen.lines)]
            cells = [[row[column] for column in range(self._screen.columns)] for row in rows]
        found: list[list[tuple[int, str, str]]] = []
        for row in cells:
            pieces, column = [], 0
            for colour, same in itertools.groupby(row, lambda cell: cell.fg):
                taken = list(same)
                pieces.append((column, "".join(cell.data for cell in taken), colour))
                column += len(taken)
            found.append([piece for piece in pieces if piece[1].strip()])
        return found

    def shown(self) -> list[str]:
        """Return what is below the last row that was scrolled away, up to the last row that is not empty."""
        rows = self.rows()
        while rows and not rows[-1]:
            rows.pop()
        return rows

    def all_rows(self) -> list[str]:
        """Return the rows that have left the screen at its top, and those of the screen."""
        with self._lock:
            gone = [
                "".join(line[column].data for column in range(self._screen.columns)).rstrip()
                for line in self._screen.history.top
            ]
        return gone + self.shown()


class OnScreen(io.StringIO):
    """A stream whose text is shown on a screen, as the driver of a terminal passes it on."""

    encoding = "utf-8"

    def __init__(self) -> None:
        super().__init__()
        self.screen = Screen()
        self.written: list[str] = []

    def write(self, text: str) -> int:
        self.written.append(text)
        self.screen.feed(text.replace("\n", "\r\n").encode())
        return len(text)


class OnTerminal(Screen):
    """The command on a terminal. Leaving the context ends it."""

    def __init__(
        self,
        *arguments: str | Path,
        extra: Mapping[str, str] | None = None,
        columns: int = 80,
        rows: int = 24,
        program: Sequence[str] = (sys.executable, "-m", "downloader"),
    ) -> None:
        """Start the command, or another program in its place, with variables that only a test gives it."""
        super().__init__(columns, rows)
        self._ours, theirs = os.openpty()
        self._set_size(columns, rows)
        usual = {**PEOPLE, "STALL_TIMEOUT": "300", "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *program, *map(str, arguments)],
            env=environment({**usual, **(extra or {})}),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        os.close(self._ours)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # the last process with the terminal has ended
                return
            if not data:
                return
            self.feed(data)

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window."""
        super().resize(columns, rows)
        self._set_size(columns, rows)

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def wait_for(self, *patterns: str) -> list[str]:
        """Return the rows of the screen as soon as each of these patterns is in one of them."""
        found: list[str] = []

        def there() -> bool:
            found[:] = self.rows()
            return all(any(re.search(pattern, row) for row in found) for pattern in patterns)

        assert eventually(there), f"{patterns} did not appear:\n" + "\n".join(self.all_rows())
        return found

    def wait_until(self, condition: Callable[[list[str]], bool]) -> list[str]:
        """Return the rows of the screen as soon as they fulfil a condition."""
        found: list[str] = []

        def fulfilled() -> bool:
            found[:] = self.rows()
            return condition(found)

        assert eventually(fulfilled), "\n".join(self.all_rows())
        return found

    def end(self) -> int:
        """Wait for the end of the command; return its exit status."""
        status = self.process.wait(TIMEOUT)
        self._reader.join()
        return status
