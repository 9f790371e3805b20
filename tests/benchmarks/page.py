"""docs/benchmarks.md: made of what each case found last, so that cases can be run one by one."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.bars import verdicts
from tests.benchmarks.bench import Outcome
from tests.benchmarks.peers import PEERS, program

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PAGE = Path("docs/benchmarks.md")
_FOUND = PEERS / "found"
_HEAD = """# Benchmarks

Written by `make bench` on {cpus} CPUs, {system} {release}, Python {python}. Servers share the machine with the
contenders, who take turns after a warm-up round that does not count; each round's contents are compared. Read ratios:
below 1 we are faster. Our side verifies every byte by sha256, journals, syncs and writes the list of checksums; the
others verify nothing and are synced afterwards, within their time.

## The bars

{verdicts}
## The cases
"""


def keep(title: str, outcome: Outcome) -> None:
    """Keep what a case found, with the day and the commit."""
    _FOUND.mkdir(exist_ok=True)
    command = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    facts = {"title": title, "day": time.strftime("%Y-%m-%d"), "commit": commit, **asdict(outcome)}
    _path(title).write_text(json.dumps(facts))


def write(titles: Iterable[str]) -> None:
    """Write the page of everything that was kept, in this order, and its figures."""
    kept = {title: json.loads(_path(title).read_text()) for title in titles if _path(title).exists()}
    outcomes = {title: Outcome(found["text"], found["values"], found["figures"]) for title, found in kept.items()}
    parts = [
        _HEAD.format(
            cpus=os.cpu_count(),
            system=platform.system(),
            release=platform.release(),
            python=platform.python_version(),
            verdicts=verdicts(outcomes),
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
