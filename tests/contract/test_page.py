"""The pages that promise proofs name tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TEST_NAME = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
MODULE = re.compile(r"`(?:downloader/)?([\w/]+/\w+\.py)`")
PAGES = sorted(str(path) for path in [Path("README.md"), *Path("docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)#:\s]+)?(?:#([^)\s]*))?\)")


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_exists(page: str) -> None:
    for path, name in TEST_NAME.findall(Path(page).read_text()):
        assert Path(path).is_file(), path
        assert not name or re.search(rf"def {name}\b", Path(path).read_text()), f"{path}::{name}"


@pytest.mark.parametrize("page", [page for page in PAGES if "docs/adr" not in page])
def test_every_module_that_a_page_names_exists(page: str) -> None:
    named = set(MODULE.findall(Path(page).read_text())) - {"sources/memory.py"}  # the toy that a page adds
    assert [name for name in named if not Path(name).exists() and not Path("downloader", name).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_to_a_page_and_a_heading(page: str) -> None:
    for path, anchor in LINK.findall(Path(page).read_text()):
        target = Path(page).parent / path if path else Path(page)
        assert target.exists(), path
        assert not anchor or anchor in anchors_of(target), f"{path}#{anchor}"


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page: its own, and those of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    own = re.findall(r'<a id="([^"]+)"></a>', page.read_text())
    return {*own, *(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)}


@pytest.mark.parametrize("page", ["operator-contract", "reliability"])
def test_a_page_of_promises_names_a_proof_in_every_row(page: str) -> None:
    rows = [line for line in Path(f"docs/{page}.md").read_text().splitlines() if line.startswith("| ")]
    promises = [row for row in rows if not row.startswith(("| clause", "| promise", "| scenario"))]
    assert len(promises) > 30
    assert [row for row in promises if not TEST_NAME.search(row)] == []


def test_the_reliability_page_has_all_ten_promises() -> None:
    headings = re.findall(r"^## (\d+)\. ", Path("docs/reliability.md").read_text(), re.MULTILINE)
    assert headings == [str(number) for number in range(1, 11)]
