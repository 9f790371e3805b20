"""docs/benchmarks.json has the last result of each case, and docs/benchmarks.md is generated from it by `make docs`.

So cases can be measured one by one, and a target can change without measuring anything again.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.targets import REASONS, SECOND_ROUND, TARGETS, targets_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from tests.benchmarks.bench import Outcome

RESULTS = Path(__file__).parents[2] / "docs" / "benchmarks.json"
_HEAD = """# Benchmarks

Measured by `make bench`; the results are also there [as JSON](benchmarks.json). Servers share the machine with the
tools under test. They run in turn after an uncounted warm-up round, and the files of each round are compared. Read the
ratios: below 1 we are faster. Our tool verifies every byte by sha256, journals, syncs and writes the checksum file. The
others verify nothing, except that rclone compares the MD5 of a store that has one, and their measured time includes a
sync afterwards. In the cases that end in *all verified* they are given what we always do: the download is followed by
`sync`, and by `openssl dgst -sha256` of as many files at once as there are processors, or by `hf cache verify`.

![Wall time of each tool, all of them verified](pictures/verified.svg)

![Wall time of each tool in each other case](pictures/benchmarks.svg)

![Time and memory while artifacts grow](pictures/growth.svg)

## Targets

{targets_table}
## Cases
"""


def commit() -> str:
    """Return what is measured, by git."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def keep(title: str, outcome: Outcome, measured: str, titles: Iterable[str]) -> None:
    """Store the result of a case with the day, the commit and the machine; `titles` are all cases in their order."""
    results = load()
    machine = f"{os.cpu_count()} CPUs, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    facts = {"day": time.strftime("%Y-%m-%d"), "commit": measured, "machine": machine, **asdict(outcome)}
    kept = {one: facts if one == title else results.get(one) for one in titles}
    RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


def load() -> dict[str, Any]:
    """Return title → what was stored, None for a case that was not measured yet."""
    results: dict[str, Any] = json.loads(RESULTS.read_text())
    return results


def text(results: Mapping[str, Any]) -> str:
    """Return docs/benchmarks.md."""
    parts = [_HEAD.format(targets_table=targets_table(_values(results)))]
    for title, found in results.items():
        parts.append(
            f"\n### {title}\n\n{found['text']}\n{_when(found)}\n" if found else f"\n### {title}\n\nNot measured yet.\n"
        )
    return "".join(parts)


def missed(results: Mapping[str, Any]) -> str:
    """Return the table of the targets that are missed, with what limits each case."""
    values = _values(results)
    lines = ["| case | target | measured | what limits it |", "|---|---|---|---|"]
    for target in TARGETS:
        measured = values.get(target.case, {}).get(target.value)
        if measured is not None and not target.met(measured):
            reason = REASONS.get(target.case, "not examined yet")
            lines.append(f"| {target.case} | {target} | {target.shown(measured)} | {reason} |")
    return "\n".join(lines) + "\n"


def second_round(results: Mapping[str, Any]) -> str:
    """Return the table of the second round: how each bar stands, and what limits the case where it is missed."""
    values = _values(results)
    lines = ["| case | bar | measured | |", "|---|---|---|---|"]
    for target in SECOND_ROUND:
        measured = values.get(target.case, {}).get(target.value)
        if measured is None:
            lines.append(f"| {target.case} | {target} | not measured yet | |")
        else:
            missed_by = (
                f"missed by {abs(measured / target.limit - 1):.0%}: {REASONS.get(target.case, 'not examined yet')}"
            )
            verdict = "met" if target.met(measured) else missed_by
            lines.append(f"| {target.case} | {target} | {target.shown(measured)} | {verdict} |")
    return "\n".join(lines) + "\n"


def _values(results: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    return {title: found["values"] for title, found in results.items() if found}


def _when(found: Mapping[str, str]) -> str:
    return f"Measured on {found['day']} at {found['commit']}, {found['machine']}."
