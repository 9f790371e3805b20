"""The figures of a soak."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.soak.artifact import MIB
from tests.soak.mischief import Blow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.soak.volumes import Tally

OVERHEAD = 1.10
PER_KILL = 64 * MIB
HEADS = (
    "protocol",
    "volumes",
    "runs",
    *(blow.value for blow in Blow),
    "faults",
    "needed MiB",
    "served MiB",
    "allowed MiB",
    "again per kill MiB",
)


def allowed(tally: Tally) -> float:
    """Return how many bytes may have been served: what is promised, and the files of which a byte came wrong."""
    return OVERHEAD * tally.needed + PER_KILL * tally.kills + tally.spoiled


def table(tallies: Mapping[str, Tally]) -> str:
    """Return a row for each protocol and one for all of them, in Markdown."""
    rows = [HEADS, *(_row(name, tally) for name, tally in tallies.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "-|-".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)


def _row(name: str, tally: Tally) -> tuple[str, ...]:
    again = (tally.served - tally.needed - tally.spoiled) / max(1, tally.kills)
    sums = (tally.needed, tally.served, allowed(tally), again)
    counts = (tally.volumes, tally.runs, *(tally.blows[blow] for blow in Blow), tally.faults)
    return (name, *map(str, counts), *(f"{number / MIB:.0f}" for number in sums))
