"""The figures of a soak."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.soak.artifact import MIB
from tests.soak.disturbances import Disturbance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.soak.volumes import Tally

OVERHEAD = 1.10
PER_KILL = 64 * MIB
HEADS = (
    "",
    "volumes",
    "runs",
    *(disturbance.value for disturbance in Disturbance),
    "faults",
    "needed MiB",
    "served MiB",
    "allowed MiB",
    "again per kill MiB",
)


def allowed(tally: Tally) -> float:
    """Return how many bytes may have been served."""
    return OVERHEAD * tally.needed + PER_KILL * tally.kills


def table(tallies: Mapping[str, Tally]) -> str:
    """Return a row for each protocol and one for all of them, in aligned columns."""
    rows = [HEADS, *(_row(name, tally) for name, tally in tallies.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    names = [row[0].ljust(widths[0]) for row in rows]
    numbers = [[cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)] for row in rows]
    return "\n".join("  ".join([name, *cells]) for name, cells in zip(names, numbers, strict=True))


def _row(name: str, tally: Tally) -> tuple[str, ...]:
    sums = (tally.needed, tally.served, allowed(tally), (tally.served - tally.needed) / max(1, tally.kills))
    counts = (
        tally.volumes,
        tally.runs,
        *(tally.disturbances[kind] for kind in Disturbance),
        tally.faults,
    )
    return (name, *map(str, counts), *(f"{number / MIB:.0f}" for number in sums))
