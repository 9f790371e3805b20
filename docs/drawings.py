"""Draws the pictures of the pages from their sources, so that a picture is right or `make lint` fails.

The layers come from `.importlinter`, the life of a partial from the docstring of `downloader/volume/partial.py`, the
places and proofs from the table of `docs/mirrors.md`. The figures of the benchmarks are in `docs/plots.py`.
"""

from __future__ import annotations

import ast
import configparser
import re
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "pictures"
STYLE = """
  text { font: 14px system-ui, sans-serif; fill: #24292f }
  .note { font-size: 12px; fill: #57606a }
  .bold { font-weight: 600 }
  .paper { fill: #ffffff; stroke: #d0d7de }
  .box { fill: #eef4fb; stroke: #8ea9c8 }
  .done { fill: #e7f5ea; stroke: #7fb58c }
  .bar { fill: #b6c2cf }
  .ours { fill: #2f7fd6 }
  .curve { stroke: #2f7fd6; stroke-width: 2px; fill: none }
  .line { stroke: #57606a; fill: none }
  .tip { fill: #57606a }
"""


def files() -> dict[Path, str]:
    """Return path → SVG of each picture."""
    return {
        FOLDER / "layers.svg": layers_picture(),
        FOLDER / "partial.svg": partial_picture(),
        FOLDER / "mirrors.svg": mirrors_picture(),
    }


def svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    """Return a whole SVG with a title for readers who cannot see it."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">'
    paper = box(0.5, 0.5, width - 1, height - 1, "paper")
    return "\n".join([head, f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>", paper, *parts, "</svg>\n"])


def box(x: float, y: float, width: float, height: float, kind: str) -> str:
    """Return a rectangle of a class of the style."""
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4"/>'


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """Return a line of text."""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def arrow(x: float, top: float, bottom: float) -> str:
    """Return an arrow that points down."""
    line = f'<path class="line" d="M{x:g} {top:g}V{bottom - 5:g}"/>'
    return line + f'<path class="tip" d="M{x - 4:g} {bottom - 7:g}h8l-4 7z"/>'


# ---- the layers ----


def layers() -> list[list[str]]:
    """Return the layers of `.importlinter` from top to bottom, each with the packages that are side by side."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    rows = parser["importlinter:contract:layers"]["layers"].split("\n")
    return [[name.strip() for name in row.split("|")] for row in rows if row.strip()]


def purposes() -> dict[str, str]:
    """Return what docs/contributing/packages.md says of each package, up to the first comma or the like."""
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|$", (ROOT / "docs/contributing/packages.md").read_text(), re.MULTILINE)
    return {name: re.split(r"[:;,(]", purpose.replace("`", ""), maxsplit=1)[0].strip() for name, purpose in rows}


def layers_picture() -> str:
    """Draw the layers as rows, the highest first; a package that has a row of its own has its purpose beside it."""
    left, width, step, alone = 24, 812, 40, 150
    rows, purpose = layers(), purposes()
    parts = []
    for number, names in enumerate(rows):
        each, y = (width / len(names) if len(names) > 1 else alone), 44 + number * step
        for place, name in enumerate(names):
            x = left + place * each
            parts += [box(x + 2, y, each - 4, 30, "box"), text(x + each / 2, y + 20, name, "bold", "middle")]
        if len(names) == 1:
            parts += [text(left + alone + 12, y + 20, purpose.get(names[0], ""), "note")]
    height = 44 + len(rows) * step + 12
    parts += [text(left, 28, "downloader/: a package imports only what is below it", "note")]
    return svg(left * 2 + width, height, "The layers of the packages", parts)


# ---- the life of a partial ----


@dataclass
class State:
    """A state of a partial, and the step that leads to it."""

    name: str
    step: str = ""
    note: str = ""


def states() -> list[State]:
    """Return the states in order, as the docstring draws them."""
    doc = ast.get_docstring(ast.parse((ROOT / "downloader/volume/partial.py").read_text())) or ""
    drawn = [line.strip() for line in doc.split("\n") if line.startswith("    ")]
    found: list[State] = []
    step = note = ""
    for line in drawn:
        if line.startswith(("|", "v")):
            first, *rest = re.split(r"\s{2,}", line.lstrip("|v").strip())
            step, note = (first or step), (rest[0] if rest else note)
            continue
        first, *rest = re.split(r"\s{2,}", line)
        if found:
            found[-1].note = found[-1].note or note
        found.append(State(first, step, rest[0] if rest else ""))
        step = note = ""
    return found


def exits() -> list[tuple[str, str]]:
    """Return the ways out before a partial is synced: the call and what it means."""
    doc = ast.get_docstring(ast.parse((ROOT / "downloader/volume/partial.py").read_text())) or ""
    return re.findall(r"^- `(\w+\(\))`: (.+?)$", doc.replace("`.", ".").replace(">`", ">"), re.MULTILINE)


def partial_picture() -> str:
    """Draw the states from top to bottom, and the ways out beside them."""
    width, step = 860, 76
    parts = [text(24, 28, "From the first byte to the final name", "bold")]
    found = states()
    for number, state in enumerate(found):
        y = 44 + number * step
        if number:
            parts += [arrow(158, y - step + 32, y), text(170, y - 15, state.step, "note")]
        last = number >= len(found) - 2
        parts += [box(24, y, 268, 32, "done" if last else "box"), text(158, y + 21, state.name, "bold", "middle")]
        parts += [text(306, y + 21, state.note.replace("`", ""), "note")]
    y = 44 + len(found) * step
    parts += [text(24, y, "Until it is synced, it can leave this path:", "bold")]
    for call, meaning in exits():
        for number, line in enumerate(wrap(meaning, 96)):
            y += 22
            parts += [text(24, y, call, "note bold")] * (number == 0) + [text(120, y, line, "note")]
    return svg(width, y + 20, "The life of a partial", parts)


# ---- who lists, who serves, what proves ----


NOTHING = "–"  # noqa: RUF001 - the mark of an empty cell in a table of people


def proofs() -> list[list[str]]:
    """Return the rows of the table "What is trusted when", without their marks."""
    page = (ROOT / "docs/mirrors.md").read_text().partition("## What is trusted when")[2].partition("## ")[0]
    rows = [line.strip("|").split("|") for line in page.split("\n") if line.startswith("|")]
    return [[cell.strip().replace("`", "") for cell in row] for row in rows[2:]]


def mirrors_picture() -> str:
    """Draw each case as a row: its name, and three boxes from the listing to the proof."""
    columns = ((24, 0, "case"), (244, 196, "lists"), (466, 196, "serves bytes"), (688, 196, "proves them"))
    step, top, width = 56, 62, 908
    found = proofs()
    parts = [text(x, 36, title, "bold") for x, _, title in columns]
    for number, (case, *cells) in enumerate(found):
        y = top + number * step
        lines = wrap(case, 32, break_on_hyphens=False)
        parts += [text(24, y + 26 - 8 * (len(lines) - 1) + 16 * at, line, "note") for at, line in enumerate(lines)]
        for (x, wide, _), cell in zip(columns[1:], cells, strict=True):
            kind = "paper" if NOTHING in cells else "done" if x == columns[-1][0] else "box"
            lines = wrap(cell, 29)
            parts += [box(x, y, wide, 44, kind)]
            parts += [
                text(x + wide / 2, y + 26 - 8 * (len(lines) - 1) + 16 * at, line, "note", "middle")
                for at, line in enumerate(lines)
            ]
        for (x, wide, _), (following, _, _) in pairwise(columns[1:]):
            start, end = x + wide + 2, following - 2
            parts += [f'<path class="line" d="M{start:g} {y + 22:g}H{end - 5:g}"/>']
            parts += [f'<path class="tip" d="M{end - 7:g} {y + 18:g}v8l7 -4z"/>']
    return svg(width, top + len(found) * step + 12, "Who lists, who serves and what proves", parts)
