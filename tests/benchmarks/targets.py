"""What must be true: case → what is measured → limit. The only place where the targets are listed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.benchmarks.bench import Outcome


@dataclass(frozen=True)
class Target:
    """A target. Ratios are ours divided by theirs, so below 1 we are faster."""

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
TARGETS = (
    Target("1 GiB, HTTPS to disk", "wall / best peer", 1.0),
    Target("1 GiB, HTTPS to disk", "wall / best of four", 0.9),
    Target("1 GiB, HTTP to disk", "wall / aria2c", 0.4),
    Target("1 GiB, HTTP to disk", "wall / s5cmd", 0.7),
    Target("1 GiB, HTTP to disk", "wall / hf_transfer", 0.5),
    Target("8 x 512 MiB, HTTP to disk", "wall / aria2c", 0.4),
    Target("8 x 512 MiB, HTTP to disk", "wall / s5cmd", 0.7),
    Target("8 x 512 MiB, HTTP to disk", "wall / hf_transfer", 0.5),
    Target("8 x 512 MiB, HTTPS to disk", "wall / best of four", 0.9),
    Target("1 GiB, HTTP to tmpfs", "wall / s5cmd", 1.2),
    Target("1 GiB, HTTPS to tmpfs", "wall / s5cmd", 1.2),
    Target("8 x 512 MiB, HTTP to tmpfs", "wall / s5cmd", 1.2),
    Target("8 x 512 MiB, HTTPS to tmpfs", "wall / s5cmd", 1.2),
    *(
        target
        for case in ("8 x 512 MiB, S3, signed", "8 x 512 MiB, S3, signed, with our list")
        for target in (
            Target(case, "wall / s5cmd", 0.9),
            Target(case, "wall / awscrt", 0.6),
            Target(case, "wall / aws CLI", 0.6),
        )
    ),
    Target(f"{_MANY}, HTTP", "files/s", 4000, at_least=True),
    Target(f"{_MANY}, S3, signed", "files/s", 4000, at_least=True),
    Target(f"{_MANY}, hf:// without Xet", "files/s", 4000, at_least=True),
    Target("1,000 x 20 KiB, 40 ms away, 16 connections", "files/s / best peer", 2.0, at_least=True),
    Target("1 GiB, 40 ms away, 1 Gbit/s link", "share of what the link carries", 0.97, at_least=True),
    Target("1 GiB, each connection capped at 100 Mbit/s", "wall / aria2c", 1.0),
    Target("2 x 512 MiB, hf:// over Xet", "wall / hf download", 1.0),
    *(
        target
        for what in ("1 GiB", "1,000 files", "64 GiB sparse file")
        for target in (
            Target(_CELL, f"peak, {what}", 96, unit=" MiB"),
            *([] if "sparse" in what else [Target(_CELL, f"wall inside / outside, {what}", 1.05)]),
        )
    ),
    Target("Verification after the last byte", "share of the wall time, 1 GiB", 0.02),
    Target("Verification after the last byte", "share of the wall time, 8 x 512 MiB", 0.02),
    Target("Rerun on a finished volume of 10,000 files", "wall, 100 GB", 1, unit=" s"),
    Target("Rerun on a finished volume of 10,000 files", "wall, S3, 20 KiB each", 1, unit=" s"),
    Target("Rerun on a finished volume of 10,000 files", "wall, hf://, 20 KiB each", 1, unit=" s"),
    Target("Cold start", "CPU, --help", 0.15, unit=" s"),
    Target("Cold start", "CPU, size http://", 0.5, unit=" s"),
    Target("Cold start", "CPU, size hf://", 0.5, unit=" s"),
    Target("Cold start", "CPU, size s3://", 0.5, unit=" s"),
    Target("Growth", "wall per GiB, largest / smallest", 1.15),
    Target("Growth", "peak memory, largest / smallest", 1.15),
    Target("Growth", "wall per file, most / 1,000", 1.15),
    Target("Growth", "peak memory, most files / 1,000", 1.15),
    Target("Bandwidth 200 MB/s over 10 s", "deviation", 0.05),
    Target("1 processor, 2 x 512 MiB + 200 x 20 KiB", "failures", 0),
)


def targets_table(outcomes: Mapping[str, Outcome]) -> str:
    """Return the table of all targets as Markdown."""
    lines = ["| case | target | measured | met |", "|---|---|---|---|"]
    for target in TARGETS:
        outcome = outcomes.get(target.case)
        measured = outcome.values.get(target.value) if outcome else None
        if measured is None:
            lines.append(f"| {target.case} | {target} | not measured | - |")
        else:
            number = (
                f"{measured:,.0f}" if measured >= 100 else f"{measured:.2f}" if measured >= 0.1 else f"{measured:.3f}"
            )
            lines.append(
                f"| {target.case} | {target} | {number}{target.unit} | {'yes' if target.met(measured) else '**no**'} |"
            )
    return "\n".join(lines) + "\n"
