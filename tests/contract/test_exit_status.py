from __future__ import annotations

import inspect
import re
import signal
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from downloader import errors
from downloader.errors import Cancelled, Category, DownloadError, explained

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "exit-status.md").read_text()

REASONS = {
    Category.OTHER: "PodFailed",
    Category.NOT_FOUND: "SourceNotFound",
    Category.DENIED: "AuthError",
    Category.STORAGE_FULL: "StorageFull",
}
"""What the operator calls its categories."""


BY_CONTRACT = {"NotUnloaded"}
"""The contract asks for a status outside of sysexits(3), of a Job that has no AIMArtifact."""


class Row(NamedTuple):
    status: int
    kind: str
    category: str
    meaning: str
    advice: str
    retry: str


def rows() -> list[Row]:
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")
    ]
    return [Row(int(status), *rest) for status, *rest in cells[2:]]


def statuses() -> set[tuple[int, str, str]]:
    """Return how each class of the tree ends a run."""
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, DownloadError)]
    ends = {(kind.exit_status, kind.__name__, REASONS[kind.category]) for kind in kinds} - {
        (DownloadError.exit_status, "DownloadError", "PodFailed"),
        (Cancelled.exit_status, "Cancelled", "PodFailed"),
    }
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        ends.add((Cancelled(number).exit_status, "Cancelled", REASONS[Cancelled.category]))
    return ends


def test_the_page_has_one_row_for_each_way_a_run_can_end() -> None:
    success, *failures = rows()
    assert success.status == 0
    assert {(row.status, row.kind, row.category) for row in failures} == statuses()
    assert len(failures) == len(statuses())
    assert [row.status for row in failures] == sorted(row.status for row in failures)


def test_every_failure_has_a_meaning_an_advice_and_its_own_range() -> None:
    for row in rows()[1:]:
        assert row.meaning
        assert row.advice
        assert 64 <= row.status < 126 or row.status in (129, 130, 143) or row.kind in BY_CONTRACT


def test_one_click_leads_from_each_status_to_its_row() -> None:
    numbers = sorted({str(row.status) for row in rows()}, key=int)
    assert re.findall(r"^\[(\d+)\]\(#status-\1\) ", PAGE, re.MULTILINE) == numbers
    for number in numbers:
        first = next(line for line in PAGE.splitlines() if line.startswith(f"| {number} |"))
        assert PAGE.count(f'<a id="status-{number}"></a>') == 1
        assert f'id="{explained(int(number)).partition("#")[2]}"' in first


def test_a_status_is_either_worth_a_retry_or_not() -> None:
    for status in {row.status for row in rows()} - {0, 129, 130}:
        assert {row.retry for row in rows() if row.status == status} in ({"yes"}, {"no"})


def test_the_last_lines_advise_what_the_page_says() -> None:
    lasting = {row.kind: row.retry == "no" for row in rows()[1:] if row.kind != "Cancelled"}
    assert {name: getattr(errors, name).lasting for name in lasting} == lasting


def test_the_job_of_the_page_gives_up_where_a_retry_cannot_help() -> None:
    found = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert found
    policy = yaml.safe_load(found[1])["spec"]["podFailurePolicy"]["rules"]
    assert policy[0] == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert policy[1]["action"] == "FailJob"
    assert policy[1]["onExitCodes"] == {
        "operator": "In",
        "values": sorted({row.status for row in rows() if row.retry == "no"}),
    }


def test_the_page_of_the_operator_has_each_status_in_the_row_of_its_category() -> None:
    page = (DOCS / "operator.md").read_text()
    lines = [line for line in page.splitlines() if re.match(r"\| [0-9, ]+ \|", line)]
    shown: dict[int, str] = {}
    for line in lines:
        numbers, reason, *_ = (cell.strip() for cell in line.strip("|").split("|"))
        shown |= dict.fromkeys(map(int, numbers.split(",")), reason.partition(" or ")[0])
    assert shown.pop(0) == "Ready"
    assert shown.pop(137).startswith("judged without the log")
    assert shown == {status: category for status, name, category in statuses() if name not in BY_CONTRACT}


@pytest.mark.parametrize("status", [137, 1, 2])
def test_statuses_of_others_are_left_free(status: int) -> None:
    assert status not in {row.status for row in rows() if row.kind not in BY_CONTRACT}
