"""The table of a case, and the ratios that the targets limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks.bench import per_gib
from tests.benchmarks.measure import MIB, best
from tests.benchmarks.peers import OURS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tests.benchmarks.bench import Files
    from tests.benchmarks.measure import Score


def table(files: Files, scores: Mapping[str, Score]) -> str:
    """Return a case as Markdown, the fastest first, tools that could not run last."""
    lines = [
        "| tool | wall s (median) | MiB/s | files/s | spread s | CPU s/GiB | peak MiB | ours / it |",
        "|---|---|---|---|---|---|---|---|",
    ]
    done = {name: score for name, score in scores.items() if score.runs}
    for name, score in sorted(done.items(), key=lambda item: item[1].wall):
        ratio = f"{done[OURS].wall / score.wall:.2f}" if OURS in done else "-"
        lines.append(
            f"| {name} | {score.wall:.2f} "
            f"| {files.size / MIB / score.wall:.0f} | {len(files.digests) / score.wall:,.0f} "
            f"| {score.spread} | {per_gib(score.cpu, files.size):.2f} | {score.peak / MIB:.0f} | {ratio} |"
        )
    lines += [
        f"| {name} | not measured: {score.failure} | | | | | | |" for name, score in scores.items() if not score.runs
    ]
    return "\n".join(lines) + "\n"


def ratios(files: Files, scores: Mapping[str, Score], *, aside: Collection[str] = ()) -> dict[str, float]:
    """Return our wall time divided by each other's and by the best one's; `aside` names tools that are not peers."""
    if not scores[OURS].runs:
        return {}
    mine = scores[OURS].wall
    peers = [name for name in scores if name != OURS and name not in aside]
    values = {f"wall / {name}": mine / score.wall for name, score in scores.items() if score.runs and name != OURS}
    if (fastest := best(scores, peers)) is not None:
        values["wall / best peer"] = mine / fastest
    values["files/s"] = len(files.digests) / mine
    return values
