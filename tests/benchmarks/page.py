"""docs/benchmarks.md: generated from the last result of each case, so that cases can be run one by one."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.bench import Outcome
from tests.benchmarks.peers import PEERS, program
from tests.benchmarks.targets import targets_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PAGE = Path("docs/benchmarks.md")
_FOUND = PEERS / "found"
_HEAD = """# Benchmarks

Written by `make bench` on {cpus} CPUs, {system} {release}, Python {python}. Servers share the machine with the
tools under test. They run in turn after an uncounted warm-up round, and the files of each round are compared. Read the
ratios: below 1 we are faster. Our tool verifies every byte by sha256, journals, syncs and writes the checksum file. The
others verify nothing, except that rclone compares the MD5 of a store that has one, and their measured time includes a
sync afterwards.

![Wall time of each tool in each case](pictures/benchmarks.svg)

## Targets

{targets_table}
## Cases
"""


def keep(title: str, outcome: Outcome) -> None:
    """Store the result of a case, with the day and the commit."""
    _FOUND.mkdir(exist_ok=True)
    command = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    facts = {"title": title, "day": time.strftime("%Y-%m-%d"), "commit": commit, **asdict(outcome)}
    _path(title).write_text(json.dumps(facts))


def write(titles: Iterable[str]) -> None:
    """Write the page from the stored results, in this order, and its figures."""
    kept = {title: json.loads(_path(title).read_text()) for title in titles if _path(title).exists()}
    outcomes = {title: Outcome(found["text"], found["values"], found["figures"]) for title, found in kept.items()}
    parts = [
        _HEAD.format(
            cpus=os.cpu_count(),
            system=platform.system(),
            release=platform.release(),
            python=platform.python_version(),
            targets_table=targets_table(outcomes),
        )
    ]
    for title, outcome in outcomes.items():
        parts.append(f"\n### {title}\n\n{outcome.text}\nMeasured on {kept[title]['day']} at {kept[title]['commit']}.\n")
        parts.extend(_figure(name, shown) for name, shown in outcome.figures.items())
    PAGE.write_text("".join(parts))


def _figure(name: str, shown: Mapping[str, object]) -> str:
    """Draw a figure beside the page and return the line that shows it."""
    place = PAGE.parent / f"{name}.svg"
    if subprocess.run(program("draw", str(place)), input=json.dumps(shown), text=True, check=False).returncode:
        return f"\nThe figure {place.name} could not be drawn: matplotlib could not be installed.\n"
    return f"\n![{shown['title']}]({place.name})\n"


def _path(title: str) -> Path:
    return _FOUND / f"{''.join(letter if letter.isalnum() else '-' for letter in title)}.json"
