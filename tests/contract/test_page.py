"""The pages that promise proofs name tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TEST_NAME = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
PAGES = sorted(str(path) for path in Path("docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_exists(page: str) -> None:
    for path, name in TEST_NAME.findall(Path(page).read_text()):
        assert Path(path).is_file(), path
        assert not name or re.search(rf"def {name}\b", Path(path).read_text()), f"{path}::{name}"


@pytest.mark.parametrize("page", ["operator-contract", "reliability"])
def test_a_page_of_promises_names_a_proof_in_every_row(page: str) -> None:
    rows = [line for line in Path(f"docs/{page}.md").read_text().splitlines() if line.startswith("| ")]
    promises = [row for row in rows if not row.startswith(("| clause", "| promise", "| scenario"))]
    assert len(promises) > 30
    assert [row for row in promises if not TEST_NAME.search(row)] == []


def test_the_reliability_page_has_all_ten_promises() -> None:
    headings = re.findall(r"^## (\d+)\. ", Path("docs/reliability.md").read_text(), re.MULTILINE)
    assert headings == [str(number) for number in range(1, 11)]
