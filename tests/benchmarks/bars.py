"""What must be true: case → what is measured → limit. The only place where the goals stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.benchmarks.bench import Outcome


@dataclass(frozen=True)
class Bar:
    """A goal. Ratios are ours divided by theirs, so below 1 we are faster."""

    case: str
    """Title of the case."""
    value: str
    """What the case measures, under the name that it gives it."""
    limit: float
    at_least: bool = False
    """The limit is the least and not the most."""
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.value} {'≥' if self.at_least else '≤'} {self.limit:,g}{self.unit}"

    def met(self, measured: float) -> bool:
        return measured >= self.limit if self.at_least else measured <= self.limit


_MANY, _CELL = "10,000 x 20 KiB", "256 MiB memory cgroup"
BARS = (
    Bar("1 GiB, HTTPS to disk", "wall / best peer", 1.0),
    Bar("1 GiB, HTTPS to disk", "wall / best of four", 0.9),
    Bar("1 GiB, HTTP to disk", "wall / aria2c", 0.4),
    Bar("1 GiB, HTTP to disk", "wall / s5cmd", 0.7),
    Bar("1 GiB, HTTP to disk", "wall / hf_transfer", 0.5),
    Bar("8 x 512 MiB, HTTP to disk", "wall / aria2c", 0.4),
    Bar("8 x 512 MiB, HTTP to disk", "wall / s5cmd", 0.7),
    Bar("8 x 512 MiB, HTTP to disk", "wall / hf_transfer", 0.5),
    Bar("8 x 512 MiB, HTTPS to disk", "wall / best of four", 0.9),
    Bar("1 GiB, HTTP to tmpfs", "wall / s5cmd", 1.2),
    Bar("1 GiB, HTTPS to tmpfs", "wall / s5cmd", 1.2),
    Bar("8 x 512 MiB, HTTP to tmpfs", "wall / s5cmd", 1.2),
    Bar("8 x 512 MiB, HTTPS to tmpfs", "wall / s5cmd", 1.2),
    *(
        bar
        for case in ("8 x 512 MiB, S3, signed", "8 x 512 MiB, S3, signed, with our list")
        for bar in (
            Bar(case, "wall / s5cmd", 0.9),
            Bar(case, "wall / awscrt", 0.6),
            Bar(case, "wall / aws CLI", 0.6),
        )
    ),
    Bar(f"{_MANY}, HTTP", "files/s", 4000, at_least=True),
    Bar(f"{_MANY}, S3, signed", "files/s", 4000, at_least=True),
    Bar(f"{_MANY}, hf:// without Xet", "files/s", 4000, at_least=True),
    Bar("1,000 x 20 KiB, 40 ms away, 16 connections", "files/s / best peer", 2.0, at_least=True),
    Bar("1 GiB, 40 ms away, 1 Gbit/s link", "share of what the link carries", 0.97, at_least=True),
    Bar("1 GiB, each connection capped at 100 Mbit/s", "wall / aria2c", 1.0),
    Bar("2 x 512 MiB, hf:// over Xet", "wall / hf download", 1.0),
    *(
        bar
        for what in ("1 GiB", "1,000 files", "64 GiB sparse file")
        for bar in (
            Bar(_CELL, f"peak, {what}", 96, unit=" MiB"),
            *([] if "sparse" in what else [Bar(_CELL, f"wall inside / outside, {what}", 1.05)]),
        )
    ),
    Bar("Verification after the last byte", "share of the wall time, 1 GiB", 0.02),
    Bar("Verification after the last byte", "share of the wall time, 8 x 512 MiB", 0.02),
    Bar("Rerun on a finished volume of 10,000 files", "wall, 100 GB", 1, unit=" s"),
    Bar("Rerun on a finished volume of 10,000 files", "wall, S3, 20 KiB each", 1, unit=" s"),
    Bar("Rerun on a finished volume of 10,000 files", "wall, hf://, 20 KiB each", 1, unit=" s"),
    Bar("Cold start", "CPU, --help", 0.15, unit=" s"),
    Bar("Cold start", "CPU, size http://", 0.5, unit=" s"),
    Bar("Cold start", "CPU, size hf://", 0.5, unit=" s"),
    Bar("Cold start", "CPU, size s3://", 0.5, unit=" s"),
    Bar("Growth", "wall per GiB, largest / smallest", 1.15),
    Bar("Growth", "peak memory, largest / smallest", 1.15),
    Bar("Growth", "wall per file, most / 1,000", 1.15),
    Bar("Growth", "peak memory, most files / 1,000", 1.15),
    Bar("Bandwidth 200 MB/s over 10 s", "deviation", 0.05),
    Bar("1 processor, 2 x 512 MiB + 200 x 20 KiB", "failures", 0),
)


def verdicts(outcomes: Mapping[str, Outcome]) -> str:
    """Return the table of all bars as Markdown."""
    lines = ["| case | bar | measured | met |", "|---|---|---|---|"]
    for bar in BARS:
        outcome = outcomes.get(bar.case)
        measured = outcome.values.get(bar.value) if outcome else None
        if measured is None:
            lines.append(f"| {bar.case} | {bar} | not measured | - |")
        else:
            number = (
                f"{measured:,.0f}" if measured >= 100 else f"{measured:.2f}" if measured >= 0.1 else f"{measured:.3f}"
            )
            lines.append(f"| {bar.case} | {bar} | {number}{bar.unit} | {'yes' if bar.met(measured) else '**no**'} |")
    return "\n".join(lines) + "\n"
