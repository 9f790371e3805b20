"""The figures of README.md and of the pages are those of docs/benchmarks.md, and none is written by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import figures, plots
from tests.benchmarks import page
from tests.benchmarks.cases import CASES

README = Path("README.md").read_text()
BENCHMARKS = """
### 1 GiB, HTTP to disk

| tool | wall s (median) | CPU s/GiB | ours / it |
|---|---|---|---|
| rclone | 1.01 | 0.86 | 1.12 |
| artifact-downloader | 1.13 | 1.47 | 1.00 |
| curl | not measured: it failed | | |

### 1 GiB, HTTP to disk, all verified

Not measured yet.
"""
KNOWN = figures.cases_of(BENCHMARKS)


def filled(text: str) -> str:
    return figures.filled(text, KNOWN, {"slower": "| a |\n"})


def table() -> list[list[str]]:
    """Return the README's first table, without the line below its head."""
    found = re.search(r"(?:^\|.*\n)+", README, re.MULTILINE)
    assert found
    head, _, *rows = found[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in [head, *rows]]


@pytest.mark.parametrize("path", figures.files(), ids=lambda path: path.name)
def test_a_page_has_the_figures_of_the_stored_results(path: Path) -> None:
    assert path.read_text() == figures.files()[path]


def test_the_stored_results_are_of_all_cases_in_their_order() -> None:
    assert list(page.load()) == list(CASES)


def test_every_row_of_the_readme_with_seconds_names_its_cases() -> None:
    with_figures = [row[0] for row in table() if re.match(r"\d+\.\d", row[1])]
    assert len(with_figures) >= 4
    assert [label for label in with_figures if label.count("](docs/benchmarks.md#") != 2] == []


def test_a_figure_is_a_cell_by_its_row_and_column() -> None:
    link = '(benchmarks.md#1-gib-http-to-disk\n  "artifact-downloader, CPU s/GiB")'
    assert filled(f"It takes [9.99]{link} seconds.") == f"It takes [1.47]{link} seconds."


def test_a_row_has_what_each_tool_of_the_head_took() -> None:
    label = "[HTTP](b/benchmarks.md#1-gib-http-to-disk) / [verified](b/benchmarks.md#1-gib-http-to-disk-all-verified)"
    head = "|  | artifact-downloader | `rclone` | curl | aria2c |\n|---|---|---|---|---|\n"
    assert filled(f"{head}| {label} | 5 | | 7 | |") == f"{head}| {label} | 1.13 / – | 1.01 / – | | |"  # noqa: RUF001


@pytest.mark.parametrize(
    "wrong", ['#1-gib "rclone, wall s"', '#1-gib-http-to-disk "wget, wall s"', '#1-gib-http-to-disk "curl, peak"']
)
def test_a_figure_of_what_is_not_there_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"has no (case|row)"):
        filled(f"[1](benchmarks.md{wrong})")


def test_a_block_is_written_as_a_whole() -> None:
    page = "<!-- generated: slower -->\n\n{}<!-- end -->\n"
    assert filled(page.format("what was there\n")) == page.format("| a |\n\n")


def test_the_cases_that_we_lose_are_all_listed() -> None:
    assert figures.slower(KNOWN).splitlines()[2:] == ["| 1 GiB, HTTP to disk | rclone 0.89 |"]


def test_a_missed_target_is_given_with_what_limits_it() -> None:
    values = {"wall / aria2c": 0.41, "wall / s5cmd": 0.69}
    (line,) = page.missed({"1 GiB, HTTP to disk": {"values": values}, "Growth": None}).splitlines()[2:]
    assert line.startswith("| 1 GiB, HTTP to disk | wall / aria2c ≤ 0.4 | 0.41 | sha256 ")


def test_every_compared_case_is_in_a_figure() -> None:
    drawn = "".join(plots.files(figures.cases_of(page.text(page.load()))).values())
    compared = [title for title, found in page.load().items() if found and "| rclone | " in found["text"]]
    assert compared
    assert [title for title in compared if title.removesuffix(plots.VERIFIED) not in drawn] == []
