"""In a container with little memory: how much is used, page cache included, and what that costs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.bench import Outcome
from tests.benchmarks.cgroup import CgroupError, MemoryCgroup
from tests.benchmarks.measure import GIB, MIB, clear
from tests.benchmarks.peers import OURS, ours
from tests.benchmarks.web_cases import serve

if TYPE_CHECKING:
    from tests.benchmarks.bench import Bench, Files
    from tests.benchmarks.measure import Tool

LIMIT = 256 * MIB
SECONDS = 10
"""How long the largest file is downloaded before it is ended: memory shows itself soon."""
_OUTSIDE = f"{OURS} without a limit"


def little_memory(bench: Bench) -> Outcome:
    """Measure inside the limit and outside of it."""
    lines = ["| what | wall inside s | outside s | cgroup peak MiB | limit reached |", "|---|---|---|---|---|"]
    values: dict[str, float] = {}
    try:
        for what, files in (("1 GiB", bench.large(1, GIB)), ("1,000 files", bench.large(1000, MIB))):
            lines.append(_inside_and_outside(bench, what, files, values))
        lines.append(_largest(bench, values))
    except CgroupError as error:
        return Outcome(f"Not measured: a cgroup could not be made: {error}\n")
    rest = (
        f"\nThe limit is {LIMIT // MIB} MiB; the peak is the kernel's count and includes page cache. The 1,000 "
        f"files have 1 MiB each. The sparse file is ended by SIGTERM after {SECONDS} s.\n"
    )
    return Outcome("\n".join(lines) + "\n" + rest, values)


def _inside_and_outside(bench: Bench, what: str, files: Files, values: dict[str, float]) -> str:
    with serve(bench) as server, MemoryCgroup(LIMIT) as group:

        def tools(files: Files) -> list[Tool]:
            url = f"{server.url}/{files.name}/"
            return [ours(url, prefix=group.prefix), ours(url, name=_OUTSIDE)]

        scores = bench.compare(tools, files)
        peak, limit_hits = group.peak / MIB, group.limit_hits
    inside, outside = scores[OURS], scores[_OUTSIDE]
    if not inside.runs or not outside.runs:
        return f"| {what} | failed: {inside.failure or outside.failure} | | {peak:.0f} | {limit_hits} |"
    values[f"peak, {what}"] = peak
    values[f"wall inside / outside, {what}"] = inside.wall / outside.wall
    return f"| {what} | {inside.wall:.2f} | {outside.wall:.2f} | {peak:.0f} | {limit_hits} times |"


def _largest(bench: Bench, values: dict[str, float]) -> str:
    """Begin a file that no memory could hold."""
    free = shutil.disk_usage(bench.folder).free
    size = int(min(64 * GIB, free * 0.8) * min(1.0, bench.scale))
    name, what = "largest", "64 GiB sparse file"
    (bench.web / name).mkdir(exist_ok=True)
    (bench.web / name / "zeros.bin").touch()
    os.truncate(bench.web / name / "zeros.bin", size)
    target = Path(tempfile.mkdtemp(dir=bench.folder))
    with serve(bench) as server, MemoryCgroup(LIMIT) as group:
        tool = ours(f"{server.url}/{name}/zeros.bin", prefix=group.prefix)
        status = _begin(tool, target)
        peak, limit_hits = group.peak / MIB, group.limit_hits
        sent = sum(one.sent for one in server.requests)
    clear(target)
    took = f"{size / GIB:.0f} GiB sparse file, {sent / GIB:.1f} GiB of it in {SECONDS} s"
    if status not in {0, 128 + signal.SIGTERM}:
        return f"| {took} | failed: status {status} | | {peak:.0f} | {limit_hits} times |"
    values[f"peak, {what}"] = peak
    return f"| {took} | - | - | {peak:.0f} | {limit_hits} times |"


def _begin(tool: Tool, target: Path) -> int:
    """Run our side for a while; return its status."""
    command = [*tool.prefix, *tool.command(target)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(target.parent), **tool.environment}
    with subprocess.Popen(command, env=environment) as process:
        try:
            return process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            return process.wait()
