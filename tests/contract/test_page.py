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


def test_the_contract_page_names_a_proof_in_every_row() -> None:
    rows = [line for line in Path("docs/operator-contract.md").read_text().splitlines() if line.startswith("| ")]
    clauses = [row for row in rows if not row.startswith("| clause")]
    assert len(clauses) > 30
    assert all(TEST_NAME.search(row) for row in clauses)
