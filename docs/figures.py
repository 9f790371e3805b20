"""Fills the figures of README.md and of pages from the tables of docs/benchmarks.md, so that all of them say the same.

In prose a figure is a link to its case, whose title names row and column:
`[1.13](benchmarks.md#1-gib-http-to-disk "artifact-downloader, wall s")`. In a table, where the first cell of a row
links to cases, the other cells have what the tools in the head of the table took. A block between
`<!-- generated: missed -->` and `<!-- end -->` is written as a whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import page

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/comparison.md", "docs/performance.md")
"""Where figures are filled in."""
OURS = "artifact-downloader"
NONE = "–"  # noqa: RUF001 - the mark of an empty cell in a table of people
_BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n\n).*?(?=<!-- end -->)", re.DOTALL)
_CASE = re.compile(r"\[[^]]*\]\([^)\s]*benchmarks\.md#([\w-]+)\)")
_FIGURE = re.compile(r"\[[^]]*\](\([^)\s]*benchmarks\.md#([\w-]+)\s+\"([^\"]+),\s+([^\",]+)\"\))")


@dataclass(frozen=True)
class Case:
    """A case of docs/benchmarks.md."""

    title: str
    rows: Mapping[str, Mapping[str, str]]
    """Row → column → cell of its table; nothing where it was not measured."""

    def figure(self, row: str, column: str) -> str:
        """Return a cell, by what the name of its column begins with. Raises ValueError if it is not there."""
        if not self.rows:
            return NONE
        found = [cell for name, cell in self.rows.get(row, {}).items() if name.startswith(column)]
        if not found:
            raise ValueError(f"docs/benchmarks.md has no row {row} with a column {column} in {self.title}")
        return found[0]

    def seconds(self) -> dict[str, float]:
        """Return tool → wall time of those that were measured."""
        walls = {tool: next(iter(row.values()), "") for tool, row in self.rows.items() if "ours / it" in row}
        return {tool: float(wall) for tool, wall in walls.items() if re.fullmatch(r"[\d.]+", wall)}


def files() -> dict[Path, str]:
    """Return path → content of docs/benchmarks.md and of each page with figures."""
    results = page.load()
    benchmarks = page.text(results)
    cases = cases_of(benchmarks)
    blocks = {"missed": page.missed(results), "second_round": page.second_round(results), "slower": slower(cases)}
    pages = {ROOT / name: filled((ROOT / name).read_text(), cases, blocks) for name in PAGES}
    return {ROOT / "docs" / "benchmarks.md": benchmarks, **pages}


def cases_of(benchmarks: str) -> dict[str, Case]:
    """Return anchor → case of the page."""
    found = {}
    for title, body in re.findall(r"^### (.+?)\n(.*?)(?=^### |\Z)", benchmarks, re.DOTALL | re.MULTILINE):
        rows = [_cells(line) for line in re.findall(r"^\|.*\|$", body, re.MULTILINE)]
        head, kept = (rows[0], rows[2:]) if rows else ([], [])
        named = {row[0].strip("`"): dict(zip(head[1:], row[1:], strict=True)) for row in kept}
        found[re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")] = Case(title, named)
    return found


def filled(text: str, cases: Mapping[str, Case], blocks: Mapping[str, str]) -> str:
    """Return a page with the figures of the benchmarks, and with blocks by their names.

    Raises ValueError if a figure is of what is not there.
    """
    lines: list[str] = []
    head: list[str] = []
    for line in _BLOCK.sub(lambda it: f"{it[1]}{blocks[it[2]]}\n", text).split("\n"):
        row = _cells(line) if line.startswith("|") else []
        head = (head or row) if row else []
        linked = [_case(cases, anchor) for anchor in _CASE.findall(row[0])] if row else []
        lines.append(_row(row[0], head[1:], linked) if linked else line)
    return _FIGURE.sub(
        lambda it: f"[{_case(cases, it[2]).figure(' '.join(it[3].split()), it[4])}]{it[1]}", "\n".join(lines)
    )


def slower(cases: Mapping[str, Case]) -> str:
    """Return the table of the cases in which another tool took less time."""
    lines = ["| case | what took less time, of ours |", "|---|---|"]
    for case in cases.values():
        seconds = case.seconds()
        others = [tool for tool in seconds if not tool.startswith((OURS, "plain "))]
        faster = [f"{tool} {seconds[tool] / seconds[OURS]:.2f}" for tool in others if seconds[tool] < seconds[OURS]]
        lines += [f"| {case.title} | {', '.join(faster)} |"] if faster else []
    return "\n".join(lines) + "\n"


def _row(label: str, tools: list[str], linked: list[Case]) -> str:
    known = [tool.strip("`") for tool in tools]
    values = [
        " / ".join(f"{case.seconds()[tool]:.2f}" if tool in case.seconds() else NONE for case in linked)
        for tool in known
    ]
    shown = [f" {value}" if set(value) - set(f"{NONE} /") else "" for value in values]
    return f"| {label} |{' |'.join(shown)} |"


def _case(cases: Mapping[str, Case], anchor: str) -> Case:
    if anchor not in cases:
        raise ValueError(f"docs/benchmarks.md has no case #{anchor}")
    return cases[anchor]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
