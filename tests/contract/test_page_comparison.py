"""Each figure in the README's comparison is a row of docs/benchmarks.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path("README.md").read_text()
BENCHMARKS = Path("docs/benchmarks.md").read_text()
CASES = {
    "8 x 512 MiB over HTTP": ["8 x 512 MiB, HTTP to disk"],
    "8 x 512 MiB over HTTPS": ["8 x 512 MiB, HTTPS to disk"],
    "2 x 512 MiB from the Hub, Xet / without": ["2 x 512 MiB, hf:// over Xet", "2 x 512 MiB, hf:// without Xet"],
}
"""Label of a row in the README → titles of the benchmarks that its figures come from, in this order."""


VERIFIED = "CPU seconds per GiB for that, if all compute sha256"
CPU = 5
"""Column of CPU seconds per GiB in docs/benchmarks.md."""


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def table() -> list[list[str]]:
    """Return the README's first table, without the line below its head."""
    found = re.search(r"(?:^\|.*\n)+", README, re.MULTILINE)
    assert found
    head, _, *rows = found[0].splitlines()
    return [cells(line) for line in [head, *rows]]


def measured(title: str, column: int = 1) -> dict[str, str]:
    """Return tool → a figure of a benchmark, by default the wall time."""
    body = BENCHMARKS.partition(f"\n### {title}\n")[2].partition("\n### ")[0]
    return {row[0]: row[column] for row in map(cells, re.findall(r"^\|.*$", body, re.MULTILINE))}


@pytest.mark.parametrize("label", CASES)
def test_the_figures_are_those_of_the_benchmarks(label: str) -> None:
    head, *rows = table()
    tools = [tool.strip("`") for tool in head[1:]]
    (values,) = [row[1:] for row in rows if row[0].removesuffix(", seconds") == label]

    for tool, value in zip(tools, values, strict=True):
        assert not value or value.split(" / ") == [measured(title)[tool] for title in CASES[label]]


def test_every_row_with_figures_is_checked() -> None:
    with_figures = {row[0].removesuffix(", seconds") for row in table() if re.match(r"\d+\.\d", row[1])}
    assert with_figures == {*CASES, VERIFIED}


def test_the_cpu_time_with_sha256_is_that_of_the_benchmarks_and_of_hashing() -> None:
    head, *rows = table()
    (values,) = [row[1:] for row in rows if row[0] == VERIFIED]
    readers = measured("1 GiB, HTTP to tmpfs", CPU)
    hashing = float(readers["plain reader with sha256"]) - float(readers["plain reader"])
    cpu = measured("8 x 512 MiB, HTTP to disk", CPU)

    for tool, value in zip(head[1:], values, strict=True):
        if value:
            assert value == f"{float(cpu[tool]) + (0 if tool == 'artifact-downloader' else hashing):.2f}"


def test_no_tool_of_a_benchmark_that_is_shown_is_left_out() -> None:
    head, *rows = table()
    tools = [tool.strip("`") for tool in head[1:]]
    for row in rows:
        for title in CASES.get(row[0].removesuffix(", seconds"), []):
            shown = {tool for tool, value in zip(tools, row[1:], strict=True) if value}
            assert shown == set(tools) & set(measured(title))
