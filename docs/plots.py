"""Draws the figures of docs/benchmarks.md from its tables: bars for each case, and curves for growth."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from docs.drawings import FOLDER, box, svg, text
from docs.figures import OURS, Case

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

VERIFIED = ", all verified"
SHARDS, NOTHING = "1-2-4-and-8-processes-400-mbits-each", Case("", {})
WIDTH, GAP = 424, 20
"""Of a column of plots, in pixels, and the space around it."""


def files(cases: Mapping[str, Case]) -> dict[Path, str]:
    """Return path → SVG of each figure; `cases` are those of the page."""
    compared = [case for case in cases.values() if _peers(case) and "tmpfs" not in case.title]
    verified = [case for case in compared if case.title.endswith(VERIFIED)]
    return {
        FOLDER / "verified.svg": bars(
            "Wall time in seconds, less is better; every tool's includes a sync and a digest of every file", verified
        ),
        FOLDER / "benchmarks.svg": bars(
            "Wall time in seconds, less is better; that of artifact-downloader includes sha256",
            [case for case in compared if case not in verified],
        ),
        FOLDER / "growth.svg": growth(cases["growth"]),
        **({FOLDER / "scaling.svg": scaling(cases[SHARDS].rows)} if cases.get(SHARDS, NOTHING).rows else {}),
    }


def bars(title: str, cases: Iterable[Case]) -> str:
    """Draw the wall time of each tool in each case, ours in colour; shorter is faster."""
    parts = [text(GAP, 30, title, "bold")]
    tops = [48.0, 48.0]
    for case in cases:
        column = tops.index(min(tops))
        parts += _bars(case, GAP + column * (WIDTH + GAP), tops[column])
        tops[column] += 34 + 20 * len(_peers(case))
    return svg(2 * (WIDTH + GAP) + GAP, int(max(tops)) + 8, title, parts)


def _peers(case: Case) -> dict[str, float]:
    """Return tool → seconds, without what is not a tool of its own; nothing where we are alone."""
    seconds = {
        tool: wall for tool, wall in case.seconds().items() if not tool.startswith(("plain ", f"{OURS} ", f"{OURS},"))
    }
    return seconds if OURS in seconds and len(seconds) > 1 else {}


def _bars(case: Case, x: float, y: float) -> list[str]:
    seconds = _peers(case)
    longest = max(seconds.values())
    parts = [text(x, y + 14, case.title.removesuffix(VERIFIED), "note bold")]
    for number, (tool, wall) in enumerate(sorted(seconds.items(), key=lambda item: item[1])):
        top = y + 20 + number * 20
        length = max((WIDTH - 200) * wall / longest, 1)
        parts += [text(x + 128, top + 12, tool, "note bold" if tool == OURS else "note", "end")]
        parts += [box(x + 136, top + 2, length, 13, "ours" if tool == OURS else "bar")]
        parts += [text(x + 142 + length, top + 13, f"{wall:.2f}", "note")]
    return parts


# ---- growth ----


def growth(case: Case) -> str:
    """Draw time per GiB and per file, and memory, over sizes and numbers that grow by factors."""
    title = "Time and memory while artifacts grow"
    sizes, counts = _growing(case, r"([\d,]+) GiB$"), _growing(case, r"([\d,]+) x ")
    panels = {
        "seconds per GiB, by GiB": {size: _cell(row, "wall s") / size for size, row in sizes.items()},
        "peak memory in MiB, by GiB": {size: _cell(row, "peak MiB") for size, row in sizes.items()},
        "milliseconds per file, by files": {
            count: _cell(row, "wall s") / count * 1000 for count, row in counts.items()
        },
        "peak memory in MiB, by files": {count: _cell(row, "peak MiB") for count, row in counts.items()},
    }
    parts = [text(GAP, 30, title, "bold")]
    for number, (label, points) in enumerate(panels.items()):
        x, y = GAP + number % 2 * (WIDTH + GAP), 48 + number // 2 * 190
        parts += _curve(label, points, x, y)
    return svg(2 * (WIDTH + GAP) + GAP, 48 + 2 * 190, title, parts)


def scaling(rows: Mapping[str, Mapping[str, str]]) -> str:
    """Draw the time and the throughput of several processes, each over a link of its own."""
    title = "Several processes on one artifact, each over a link of 400 Mbit/s"
    panels = {
        "wall seconds, by processes": {int(count): _cell(row, "wall s") for count, row in rows.items()},
        "MiB/s, by processes": {int(count): _cell(row, "MiB/s") for count, row in rows.items()},
    }
    parts = [text(GAP, 30, title, "bold")]
    for number, (label, points) in enumerate(panels.items()):
        parts += _curve(label, points, GAP + number * (WIDTH + GAP), 48)
    return svg(2 * (WIDTH + GAP) + GAP, 48 + 190, title, parts)


def _growing(case: Case, pattern: str) -> dict[int, Mapping[str, str]]:
    """Return size or number → row, for the rows whose name it stands in."""
    found = [(re.match(pattern, name), row) for name, row in case.rows.items()]
    return {int(match[1].replace(",", "")): row for match, row in found if match}


def _cell(row: Mapping[str, str], column: str) -> float:
    return float(row[column])


def _curve(label: str, points: Mapping[int, float], x: float, y: float) -> list[str]:
    """Draw points over a logarithmic scale, from zero upwards, each with its value."""
    parts = [text(x, y + 14, label, "note bold")]
    if not points:
        return parts
    most, logs = max(points.values()), {at: math.log(at) for at in points}
    spread = max(logs.values()) - min(logs.values()) or 1
    bottom, height = y + 150, 100

    def place(at: int) -> tuple[float, float]:
        across = (logs[at] - min(logs.values())) / spread
        return x + 40 + across * (WIDTH - 80), bottom - height * points[at] / most

    places = {at: place(at) for at in points}
    parts += [f'<path class="line" d="M{x:g} {bottom:g}h{WIDTH:g}"/>']
    parts += [f'<polyline class="curve" points="{" ".join(f"{left:g},{top:g}" for left, top in places.values())}"/>']
    for at, (left, top) in places.items():
        parts += [f'<circle class="ours" cx="{left:g}" cy="{top:g}" r="4"/>']
        parts += [text(left, top - 9, f"{points[at]:.3g}", "note", "middle")]
        parts += [text(left, bottom + 16, f"{at:,}", "note", "middle")]
    return parts
