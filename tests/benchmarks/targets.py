"""What must be true: case → what is measured → limit. The only place where the targets are listed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


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

    def shown(self, measured: float) -> str:
        """Return a measured value in words."""
        number = f"{measured:,.0f}" if measured >= 100 else f"{measured:.2f}" if measured >= 0.1 else f"{measured:.3f}"
        return f"{number}{self.unit}"

    def met(self, measured: float) -> bool:
        return measured >= self.limit if self.at_least else measured <= self.limit


_MANY, _CELL = "10,000 x 20 KiB", "256 MiB memory cgroup"
_ONE_HTTP, _ONE_HTTPS = "1 GiB, HTTP to disk", "1 GiB, HTTPS to disk"
_EIGHT_HTTP, _EIGHT_HTTPS = "8 x 512 MiB, HTTP to disk", "8 x 512 MiB, HTTPS to disk"
_VERIFIED = ", all verified"
_SIGNED = "8 x 512 MiB, HTTP, with a signature"
_SHARDS = "1, 2, 4 and 8 processes, 400 Mbit/s each"
_ONE_CPU = "our threads share one processor and the server has the other"
_BESIDE = "web server, client and storage share the two processors with us and take most of them"
_SOURCES = ("HTTP", "HTTPS", "HTTP, long pieces", "S3", "Xet")
_LOCK, _OBJECTS = "Interpreter lock", "1,000,000 objects in a listing"
_HASHING, _READING = "Hashing what is there, 8 x 512 MiB", "Reading back after a download, 8 x 512 MiB"
_MOUNTED = tuple(f"{size}, HTTPS onto {kind}" for kind in ("GlusterFS", "CephFS") for size in ("1 GiB", "8 x 512 MiB"))
SECOND_ROUND = (
    *(Target(f"{case}{_VERIFIED}", "wall / best peer", 0.5) for case in (_ONE_HTTP, _ONE_HTTPS)),
    *(Target(f"{case}{_VERIFIED}", "wall / best peer", 0.6) for case in (_EIGHT_HTTP, _EIGHT_HTTPS)),
    Target(f"2 x 512 MiB, hf:// over Xet{_VERIFIED}", "wall / hf download", 0.5),
    Target(f"2 x 512 MiB, hf:// without Xet{_VERIFIED}", "wall / hf download", 0.5),
    *(Target(_HASHING, f"wall, {what}", 2.2, unit=" s") for what in ("verify", "adoption", "after a restart")),
    Target(_EIGHT_HTTPS, "CPU s/GiB", 1.65),
    Target(_EIGHT_HTTPS, "hand-overs", 8000),
    Target(_LOCK, "lock s/GiB, HTTP at full speed, 1", 0.15),
    Target(_LOCK, "lock s/GiB, HTTPS at full speed, 1", 0.30),
    *(Target(_LOCK, f"lock, {source}, 4 / 1", 1.0) for source in _SOURCES),
    *(Target(_LOCK, f"largest share, {source}, 4", 0.3) for source in _SOURCES),
    Target(f"{_MANY}, HTTP", "files/s", 4500, at_least=True),
    Target(f"{_MANY}, S3, signed", "files/s", 3500, at_least=True),
    Target(f"{_MANY}, hf:// without Xet", "files/s", 3500, at_least=True),
    Target("8 x 512 MiB, S3, signed", "wall / s5cmd", 0.95),
    *(Target(case, "wall / best peer", 0.35) for case in _MOUNTED),
    Target(_READING, "read back, keep / warm", 1.1),
    Target(_OBJECTS, "growth, 1,000,000", 100, unit=" bytes"),
    Target(_OBJECTS, "first byte, 1,000,000", 2, unit=" s"),
)
"""Of equal assurance, real file systems and very many files: docs/performance.md says of each how it stands."""
TARGETS = (
    Target(_ONE_HTTPS, "wall / best peer", 1.0),
    Target(_ONE_HTTPS, "wall / best of four", 0.9),
    Target(_ONE_HTTP, "wall / aria2c", 0.4),
    Target(_ONE_HTTP, "wall / s5cmd", 0.7),
    Target(_ONE_HTTP, "wall / hf_transfer", 0.5),
    Target(_EIGHT_HTTP, "wall / aria2c", 0.4),
    Target(_EIGHT_HTTP, "wall / s5cmd", 0.7),
    Target(_EIGHT_HTTP, "wall / hf_transfer", 0.5),
    Target(_EIGHT_HTTPS, "wall / best of four", 0.9),
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
    Target(_SHARDS, "wall, 2 / 1", 0.55),
    Target(_SHARDS, "wall, 4 / 1", 0.30),
    Target(_SHARDS, "bytes served, most", 1.02),
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
    *(
        Target(_SIGNED, f"wall / with {what}", 0.97, at_least=True)
        for what in ("a signature", "--formats safe", "both")
    ),
    Target("8 x 512 MiB, HTTP, from a near mirror", "wall / without a mirror", 1.03),
    Target("8 x 512 MiB, HTTP, from a near mirror", "share of bytes from the origin", 0.001),
    Target("Bandwidth 200 MB/s over 10 s", "deviation", 0.05),
    Target("1 processor, 2 x 512 MiB + 200 x 20 KiB", "failures", 0),
    *SECOND_ROUND,
)


REASONS: Mapping[str, str] = {
    _ONE_HTTP: "sha256 runs in the order of the file, at 0.7 CPU seconds for 1 GiB, after the start of Python",
    _ONE_HTTPS: "libcrypto takes 46 % of our CPU time (sha256 two thirds of that, the rest is TLS), the kernel 24 %, "
    "Python 22 %, mostly its start: without hash and interpreter, rclone needs half of it",
    _EIGHT_HTTP: "both processors are busy throughout, also with the server: only fewer CPU seconds for 1 GiB help",
    _EIGHT_HTTPS: "TLS and sha256 share the processors with the server, see [Large files](#large-files)",
    **dict.fromkeys(
        (f"{case}{_VERIFIED}" for case in (_ONE_HTTP, _ONE_HTTPS)),
        "sha256 runs in the order of the file: its 0.7 s and the 0.2 s of the start are half of the best peer's time",
    ),
    f"{_EIGHT_HTTPS}{_VERIFIED}": "our CPU seconds and the server's, 2.1 for 1 GiB, fill both processors for 4.2 s",
    f"2 x 512 MiB, hf:// over Xet{_VERIFIED}": "of our CPU time, hf_xet's own threads take 27 %, sha256 24 %, Python "
    "and the Hub's library 18 %; `hf download` and its verification need 1.5 times ours altogether, not twice",
    **dict.fromkeys(_MOUNTED[:2], f"{_BESIDE}, 3.3 of 5.1 CPU seconds a GiB with us, 3.4 of 5.2 with rclone"),
    **dict.fromkeys(_MOUNTED[2:], f"{_BESIDE}, 3.2 of 5.6 CPU seconds a GiB with us, 3.3 of 4.7 with rclone"),
    "1 GiB, HTTP to tmpfs": "sha256 and the start of Python, which a disk hides and tmpfs does not",
    "1 GiB, HTTPS to tmpfs": "sha256, TLS and the start of Python, which a disk hides and tmpfs does not",
    "8 x 512 MiB, HTTP to tmpfs": "sha256, which a disk hides and tmpfs does not",
    "8 x 512 MiB, HTTPS to tmpfs": "sha256 and TLS, which a disk hides and tmpfs does not",
    "8 x 512 MiB, S3, signed": "the store publishes only an MD5, which alone takes twice as long as sha256",
    f"{_MANY}, HTTP": _ONE_CPU,
    f"{_MANY}, S3, signed": f"{_ONE_CPU}, where `rclone serve s3` needs more of it than nginx",
    f"{_MANY}, hf:// without Xet": f"{_ONE_CPU}; each file is redirected, which takes a second request",
    _SIGNED: "what verifies is imported, 0.13 CPU seconds whatever the size: [What it costs](trust.md#what-it-costs)",
    _LOCK: "each piece of a shared file costs half a millisecond: 128 of 8 MiB for each GiB here, and four of 256 MiB "
    "where an artifact has 128 GiB (long pieces); a process takes a hundredth of a processor beside the bytes; "
    "with HTTPS the C library, which copies into `MemoryBIO`, takes a third",
    _HASHING: "sha256 takes 0.6 CPU seconds for 1 GiB, and Python's start is the rest",
    _OBJECTS: "the listing is read to its end, and the manifest made, before the first byte is asked for: see "
    "[Very long listings](#very-long-listings)",
    "Growth": "time: the disk takes the first GiB faster than the next ones; memory: 1.5 KiB of metadata for each file",
}
"""Case → what limits it, where a target may be missed: for docs/performance.md, so without the figures of its table."""


def targets_table(values: Mapping[str, Mapping[str, float]]) -> str:
    """Return the table of all targets as Markdown; `values` has case → what was measured by its name."""
    lines = ["| case | target | measured | met |", "|---|---|---|---|"]
    for target in TARGETS:
        measured = values.get(target.case, {}).get(target.value)
        if measured is None:
            lines.append(f"| {target.case} | {target} | not measured | - |")
        else:
            verdict = "yes" if target.met(measured) else "**no**"
            lines.append(f"| {target.case} | {target} | {target.shown(measured)} | {verdict} |")
    return "\n".join(lines) + "\n"
