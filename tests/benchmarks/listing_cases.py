"""Buckets with very many objects: memory, and how long the first byte takes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.bench import Outcome
from tests.benchmarks.measure import MIB, clear
from tests.benchmarks.peers import ours, program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.bench import Bench

FEW, MANY = 100_000, 1_000_000
LONGEST = 600.0
"""Seconds until the first byte."""
SECONDS = 20
"""How long the largest one is downloaded before it is ended, unless the benchmark may take long."""
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDAKIDAKID", "AWS_SECRET_ACCESS_KEY": "hush-hush", "AWS_REGION": "us-east-1"}
_HOW = (
    "Objects of 40 bytes, each with its MD5, in a bucket that makes them as they are asked for and shares the "
    "processors. From the first page of the listing, which has 1,000 objects, to the request for the first object. "
    f"Memory is the process's own (`VmRSS`). With {MANY:,} objects the download is ended by SIGTERM {SECONDS} s after "
    "its first request, unless `--long` is given.\n"
)


@dataclass
class _Seen:
    """What was seen of one run."""

    waited: float
    """Seconds from the first page to the first object."""
    before: int
    """Bytes of memory at the first object,"""
    after: int
    """and after the last one that was waited for,"""
    finished: int
    """when this many had been sent."""
    peak: int
    ended: bool
    """All were downloaded."""

    @property
    def growth(self) -> float:
        """Bytes of memory for each finished object."""
        return (self.after - self.before) / max(1, self.finished)


def objects(bench: Bench) -> Outcome:
    """Download from a large bucket, and begin to download from a very large one."""
    lines = [
        "| objects | first page to first object s | MiB then | peak MiB | objects sent | bytes of memory for each |",
        "|---|---|---|---|---|---|",
    ]
    values: dict[str, float] = {}
    for count in (FEW, MANY):
        scaled = max(1000, int(count * bench.scale))
        seen = _watch(bench, scaled, to_the_end=count == FEW or bench.long)
        bench.say(f"  {scaled:,} objects: {seen}")
        lines.append(
            f"| {scaled:,} | {seen.waited:.1f} | {seen.before / MIB:.0f} | {seen.peak / MIB:.0f}"
            f"{'' if seen.ended else ', not to the end'} | {seen.finished:,} | {seen.growth:,.0f} |"
        )
        values[f"first byte, {count:,}"] = seen.waited
        values[f"memory, {count:,}"] = seen.before / MIB
        values[f"peak, {count:,}"] = seen.peak / MIB
        values[f"growth, {count:,}"] = seen.growth
    return Outcome("\n".join(lines) + f"\n\n{_HOW}", values)


def _watch(bench: Bench, count: int, *, to_the_end: bool) -> _Seen:
    target = Path(tempfile.mkdtemp(dir=bench.folder))
    with _bucket(count) as endpoint:
        tool = ours("s3://many", **KEYS, AWS_ENDPOINT_URL=endpoint)
        environment = {"PATH": os.environ["PATH"], "HOME": str(bench.folder), **tool.environment}
        with subprocess.Popen(list(tool.command(target)), env=environment) as process:
            before, told = _until_first(process, endpoint)
            deadline = time.monotonic() + SECONDS
            after = peak = before
            while process.poll() is None and (to_the_end or time.monotonic() < deadline):
                found = _memory(process.pid, "VmRSS")
                told = _told(endpoint)
                if told["objects"] < count:  # what publishing takes is in the peak
                    after = found or after
                peak = max(peak, _memory(process.pid, "VmHWM"))
                time.sleep(0.2)
            ended = process.poll() is not None
            if not ended:
                process.send_signal(signal.SIGTERM)
        if process.returncode != (0 if ended else 128 + signal.SIGTERM):
            raise RuntimeError(f"the download ended with status {process.returncode}")
    clear(target)
    return _Seen(told["waited"], before, after, int(told["objects"]), peak, ended)


def _until_first(process: subprocess.Popen[bytes], endpoint: str) -> tuple[int, dict[str, float]]:
    """Return the memory of a download when it asks for the first object."""
    deadline = time.monotonic() + LONGEST
    while process.poll() is None and time.monotonic() < deadline:
        told = _told(endpoint)
        if told["objects"]:
            return _memory(process.pid, "VmRSS"), told
        time.sleep(0.1)
    raise RuntimeError("the download did not come to its first object")


@contextmanager
def _bucket(count: int) -> Iterator[str]:
    command = program("many_objects", str(count), python=sys.executable)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.kill()


def _told(endpoint: str) -> dict[str, float]:
    with urllib.request.urlopen(f"{endpoint}/told") as answer:
        told: dict[str, float] = json.load(answer)
        return told


def _memory(pid: int, name: str) -> int:
    """Return a value of /proc/PID/status in bytes; 0 if the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(name)), 0)
