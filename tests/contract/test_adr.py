"""The decision records agree with each other and with their index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path("docs/adr")
RECORDS = sorted(FOLDER.glob("[0-9]*.md"))
LINK = re.compile(r"\[ADR (\d+)\]\(([^)]+)\)")
INVERSE = {"supersedes": "superseded by", "superseded by": "supersedes", "amends": "amended by", "amended by": "amends"}


def number_of(record: Path) -> int:
    return int(record.name[:4])


def relations(record: Path) -> set[tuple[str, int]]:
    """Return what the status line of a record says of others: ("amends", 3) for one."""
    status = record.read_text().splitlines()[2]
    clauses = [clause.strip() for clause in status.removeprefix("Status: ").split(";")]
    return {
        (verb, int(number))
        for clause in clauses
        for verb in INVERSE
        if clause.startswith(verb)
        for number, _ in LINK.findall(clause)
    }


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_a_record_has_its_number_status_and_sections(record: Path) -> None:
    lines = record.read_text().splitlines()
    assert lines[0].startswith(f"# {number_of(record)}. ")
    assert re.match(r"Status: (accepted|superseded by \[)", lines[2])
    assert [line for line in lines if line.startswith("## ")] == ["## Context", "## Decision", "## Consequences"]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_links_between_records_have_the_right_file_and_lead_both_ways(record: Path) -> None:
    by_number = {number_of(other): other for other in RECORDS}
    assert [name for number, name in LINK.findall(record.read_text()) if by_number[int(number)].name != name] == []
    for verb, number in relations(record):
        assert (INVERSE[verb], number_of(record)) in relations(by_number[number])


def test_the_index_lists_every_record_once_in_order_with_its_title() -> None:
    rows = re.findall(r"^\| (\d+) \| \[(.+?)\]\((.+?)\) \|", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert rows == [
        (str(number_of(record)), record.read_text().split("\n")[0].split(". ", 1)[1], record.name) for record in RECORDS
    ]
    assert [number_of(record) for record in RECORDS] == list(range(1, len(RECORDS) + 1))


def test_every_record_has_a_topic() -> None:
    topics = (FOLDER / "README.md").read_text().partition("## By topic\n")[2].partition("## Index\n")[0]
    links = re.findall(r"\[(\d+)\]\(([^)]+)\)", topics)
    assert {(int(number), name) for number, name in links} == {(number_of(record), record.name) for record in RECORDS}
