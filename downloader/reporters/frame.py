"""The lines that show a run on a terminal: pure functions of a snapshot and the size of the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from downloader.formatting import format_duration, format_size, single_line
from downloader.progress import Phase
from downloader.terminal import shortened, shortened_path, width

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from downloader.progress import FileProgress, Snapshot

BAR: Final = 14
"""The smallest number of columns for a bar, with the marks around it."""
GAP: Final = "  "
"""Stands between words and facts if there is no room for a bar."""
EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
"""A column of the bar, from empty to full."""
ASCII: Final = " #"
"""The same for a terminal that cannot show others."""
INDENT: Final = "  "
MAX_FILE_ROWS: Final = 5
MAX_ROWS: Final = 9
ROOMY: Final = 12
"""Rows from which on an empty one separates the log from what is drawn."""
WIDE: Final = 60
"""Columns from which on the attempt is told in words."""
NAMED: Final = 0.45
"""The share of the columns that the name of a file takes at most, where its bar is shown."""
LONG: Final = 10.0
"""Seconds after which the time that it has taken is shown, if nothing else shows that the run goes on."""
LONGEST_FACTS, LONGEST_PACE = (
    len("1023 MiB of 1023 MiB, 1023 MiB/s, 59 min 59 s left"),
    len("1023 MiB/s, 59 min 59 s left"),
)
"""Columns that are kept behind the bar: facts of a few columns more or less must not move its end."""
CYAN, PLAIN = "\x1b[36m", "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Sheet:
    """What can be drawn on."""

    columns: int
    rows: int
    unicode: bool = True
    colour: bool = False

    @property
    def usable(self) -> int:
        """Columns of a line. A character in the last column would make some terminals begin another row."""
        return max(1, self.columns - 1)

    def fit(self, text: str, indent: str = "") -> str:
        """Return a text, shortened to a line, in characters that the terminal has."""
        return indent + shortened(self.readable(text), max(1, self.usable - len(indent)), self.mark)

    def readable(self, text: str) -> str:
        """Return a text as one line of characters that the terminal has."""
        text = single_line(text)
        return text if self.unicode else text.encode("ascii", "backslashreplace").decode()

    @property
    def mark(self) -> str:
        """Stands for what was left out."""
        return "…" if self.unicode else "..."

    def bar(self, fraction: float, columns: int) -> str:
        """Return a bar of `columns`, the marks around it included, that is filled to `fraction`."""
        columns -= len("||")
        marks = EIGHTHS if self.unicode else ASCII
        steps = len(marks) - 1
        full, part = divmod(int(min(max(fraction, 0.0), 1.0) * columns * steps), steps)
        filled = f"{marks[-1] * full}{marks[part]}"[:columns].rstrip()
        rest = " " * (columns - len(filled))
        return f"|{CYAN}{filled}{PLAIN}{rest}|" if self.colour and filled else f"|{filled}{rest}|"


def frame(snapshot: Snapshot, files: Sequence[FileProgress], sheet: Sheet, seconds: float) -> list[str]:
    """Return the lines to draw, some seconds after the run began. `files` are those to name, in this order.

    The most important line comes first, and at most half of the rows are used: so a log above stays in sight.
    """
    space = [""] if sheet.rows >= ROOMY else []
    room = max(1, min(MAX_ROWS, sheet.rows // 2) - len(space))
    total = _total(snapshot, sheet, seconds, alone=room == 1)
    lines = [total, *(sheet.fit(line) for line in _remarks(snapshot, sheet))][:room]
    return [*space, *lines, *_file_lines(snapshot, files, sheet, room - len(lines))]


def _remarks(snapshot: Snapshot, sheet: Sheet) -> Iterator[str]:
    """Yield what there is to say besides numbers: why nothing arrives, and where bytes come from."""
    if snapshot.stuck_volume:
        yield snapshot.stuck_volume
    elif snapshot.wait_left is not None:
        yield f"waiting {format_duration(snapshot.wait_left)}: {snapshot.waiting}"
    elif snapshot.message and snapshot.phase in (Phase.WAITING, Phase.CHECKING):
        yield snapshot.message
    if snapshot.phase is Phase.DOWNLOADING and snapshot.protocol:
        attempt, attempts = snapshot.attempt, len(snapshot.sequence)
        count = f", attempt {attempt} of {attempts}" if sheet.columns >= WIDE else f" {attempt}/{attempts}"
        files = f", {snapshot.done_files} of {snapshot.total_files} files" if snapshot.total_files > 1 else ""
        whence = snapshot.place or snapshot.host
        yield f"{snapshot.protocol}{count}{files}{f', from {whence}' if whence else ''}"
    elif snapshot.phase is Phase.LISTING and snapshot.host:
        answers = "1 answer" if snapshot.responses == 1 else f"{snapshot.responses} answers"
        yield f"{answers} so far, the last request to {snapshot.host}"


def _file_lines(snapshot: Snapshot, files: Sequence[FileProgress], sheet: Sheet, room: int) -> list[str]:
    """Return at most `room` lines about the files under way: some of them, and how many more there are."""
    shown = files[: min(room, MAX_FILE_ROWS)]
    hidden = len(snapshot.files) - len(shown)
    if hidden and len(shown) == room:
        shown, hidden = shown[:-1], hidden + 1
    if not shown:
        return []
    names = max(width(sheet.readable(file.path)) for file in shown)
    lines = [_file_line(file, sheet, names) for file in shown]
    return [*lines, sheet.fit(f"+ {hidden} more", INDENT)] if hidden else lines


def _file_line(file: FileProgress, sheet: Sheet, names: int) -> str:
    done = "" if not file.size else f"{min(100, file.done_bytes * 100 // file.size):3} %"
    amount = format_size(file.done_bytes) + (f" of {format_size(file.size)}" if file.size else "")
    path, room = sheet.readable(file.path), sheet.usable - len(INDENT)
    column = min(names, int(sheet.columns * NAMED))
    bar = room - column - len(f" {done}  ") - max(len("1023 MiB of 1023 MiB"), len(amount))
    if file.size and bar >= BAR:
        name = shortened_path(path, column, sheet.mark)
        name += " " * (column - width(name))
        return f"{INDENT}{name} {done} {sheet.bar(file.done_bytes / file.size, bar)} {amount}"
    facts = done or amount
    name = shortened_path(path, max(0, room - len(facts) - 1), sheet.mark)
    return sheet.fit(f"{name} {facts}", INDENT)


def _total(snapshot: Snapshot, sheet: Sheet, seconds: float, *, alone: bool) -> str:
    """Return the line about the whole artifact. If it stands alone, it has the protocol and the reason of a wait."""
    words, columns, facts = _layout(snapshot, sheet, seconds, alone=alone)
    if not columns:
        return words
    return f"{words} {sheet.bar(snapshot.done_bytes / snapshot.total_bytes, columns)} {facts}"


def _layout(snapshot: Snapshot, sheet: Sheet, seconds: float, *, alone: bool) -> tuple[str, int, str]:
    """Return the text before the bar, its columns and the text after it. Without room for a bar, all is in the first.

    On a narrow terminal, rate and time left have priority; protocol, amounts and bar are left out, in this order.
    """
    percentage = [f"{snapshot.percentage:3} %"] if snapshot.total_bytes else []
    downloading = snapshot.phase is Phase.DOWNLOADING
    protocol = []
    if alone and downloading and snapshot.protocol:
        protocol = [f"{snapshot.protocol} {snapshot.attempt}/{len(snapshot.sequence)}"]
    head, short_head = [str(snapshot.phase), *protocol, *percentage], percentage or [str(snapshot.phase)]
    pace = pace_text(snapshot)
    if not snapshot.total_bytes and seconds >= LONG:
        pace = f"for {format_duration(seconds)}"
    left = "" if snapshot.eta is None else f"{format_duration(snapshot.eta)} left"
    if snapshot.wait_left is not None:
        left = f"{format_duration(snapshot.wait_left)} to go"
        pace = sheet.readable(f"{snapshot.waiting} ({left})") if alone else left
    facts = f"{amount_text(snapshot)}, {pace}".removesuffix(", ") if snapshot.total_bytes else pace
    shortest = left.removesuffix(" left")
    layouts = [(head, facts), (head, pace), (short_head, facts), (short_head, pace), (short_head, left)]
    if snapshot.total_bytes:
        # What is done to the bytes is only worth the place of the bar if it is not the usual.
        with_bar = [(head, facts, LONGEST_FACTS), (short_head, facts, LONGEST_FACTS), (short_head, pace, LONGEST_PACE)]
        for words, tail, longest in with_bar if downloading else with_bar[:1]:
            columns = sheet.usable - width(" ".join(words)) - max(width(tail), longest) - len("  ")
            if columns >= BAR:
                return " ".join(words), columns, tail
    lines = [GAP.join(filter(None, (" ".join(words), tail))) for words, tail in (*layouts, (short_head, shortest))]
    return next((line for line in lines if width(line) <= sheet.usable), sheet.fit(lines[-1])), 0, ""


def amount_text(snapshot: Snapshot) -> str:
    """Return how much is done of how much."""
    return f"{format_size(snapshot.done_bytes)} of {format_size(snapshot.total_bytes)}"


def pace_text(snapshot: Snapshot) -> str:
    """Return the rate and the time left, as far as they are known."""
    parts = [f"{format_size(snapshot.rate)}/s"] if snapshot.rate else []
    if snapshot.eta is not None:
        parts.append(f"{format_duration(snapshot.eta)} left")
    return ", ".join(parts)
