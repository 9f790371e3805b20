"""Whether time per GiB, time per file and memory stay the same while artifacts grow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.benchmarks.bench import SMALL, Outcome
from tests.benchmarks.measure import GIB, MIB
from tests.benchmarks.peers import OURS, ours
from tests.benchmarks.web_cases import serve

if TYPE_CHECKING:
    from tests.benchmarks.bench import Bench
    from tests.benchmarks.measure import Score

LONGEST = 900.0
"""Seconds that the largest may take."""
REFERENCE = 1000
"""Files whose time each is compared with: fewer show the start of the process and nothing else."""


def growth(bench: Bench) -> Outcome:
    """Download larger and larger files, then more and more small ones."""
    gibs = [1, 2, 4, 8, *([16] if bench.long else [])]
    counts = [10, 100, REFERENCE, 10_000, *([100_000] if bench.long else [])]
    large = {gib: _score(bench, 1, int(gib * GIB * bench.scale)) for gib in gibs}
    small = {count: _score(bench, max(1, int(count * min(1, bench.scale))), SMALL) for count in counts}
    failures = [score.failure for score in (*large.values(), *small.values()) if not score.runs]
    if failures:
        return Outcome(f"Not measured: {failures[0]}\n")
    lines = ["| artifact | wall s | per GiB or per 1,000 files | CPU s | peak MiB |", "|---|---|---|---|---|"]
    for gib, score in large.items():
        lines.append(f"| {gib} GiB | {score.wall:.2f} | {score.wall / gib:.2f} s | {score.cpu:.2f} | {_mib(score)} |")
    for count, score in small.items():
        each = score.wall / count * 1000
        lines.append(f"| {count:,} x 20 KiB | {score.wall:.2f} | {each:.2f} s | {score.cpu:.2f} | {_mib(score)} |")
    text = "\n".join(lines) + "\n\nOver HTTP, sparse files; the memory of the process, without page cache.\n"
    values = {
        "wall per GiB, largest / smallest": large[gibs[-1]].wall / gibs[-1] / large[1].wall,
        "peak memory, largest / smallest": large[gibs[-1]].peak / large[1].peak,
        "wall per file, most / 1,000": small[counts[-1]].wall / counts[-1] / (small[REFERENCE].wall / REFERENCE),
        "peak memory, most files / 1,000": small[counts[-1]].peak / small[REFERENCE].peak,
    }
    return Outcome(text, values)


def _score(bench: Bench, count: int, size: int) -> Score:
    files = bench.zeros(count, size)
    with serve(bench) as server:
        return bench.compare(
            lambda files: [replace(ours(f"{server.url}/{files.name}/"), timeout=LONGEST)], files, rounds=1
        )[OURS]


def _mib(score: Score) -> str:
    return f"{score.peak / MIB:.0f}"
