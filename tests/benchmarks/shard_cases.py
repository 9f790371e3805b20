"""Several processes on one artifact, each over a link of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.bench import Outcome
from tests.benchmarks.link import SERVER, LinkError, ShapedLink
from tests.benchmarks.measure import MIB, check, clear
from tests.servers.web import Options, WebServer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.benchmarks.bench import Bench, Files

RATE = 400
"""Mbit/s of each process's own link."""
COUNTS = (1, 2, 4, 8)
_HOW = (
    f"Each process is in a network namespace whose link lets {RATE} Mbit/s through (veth, `tc tbf`), so that the links "
    "and not the processors are the limit. All of them start at once; the time is that from the first start to the "
    "last end. The server's log says what it sent."
)


def scaling(bench: Bench, files: Files) -> Outcome:
    """Fetch the same artifact with 1, 2, 4 and 8 processes, each over a link of its own."""
    lines = ["| processes | wall s | / 1 process | MiB/s | bytes served / artifact |", "|---|---|---|---|---|"]
    values: dict[str, float] = {}
    walls: dict[int, float] = {}
    try:
        for count in COUNTS:
            wall, sent = _over_links(bench, files, count)
            walls[count] = wall
            values[f"wall, {count} / 1"] = wall / walls[1]
            values[f"bytes served, {count}"] = sent / files.size
            bench.say(f"  {count} processes: {wall:.2f} s, {sent / files.size:.3f} x the artifact")
            lines.append(
                f"| {count} | {wall:.2f} | {wall / walls[1]:.2f} | {files.size / MIB / wall:.0f} "
                f"| {sent / files.size:.3f} |"
            )
    except LinkError as error:
        return Outcome(f"Not measured: {error}\n")
    values["bytes served, most"] = max(values[f"bytes served, {count}"] for count in COUNTS)
    return Outcome("\n".join(lines) + f"\n\n![Wall time by processes](pictures/scaling.svg)\n\n{_HOW}\n", values)


def _over_links(bench: Bench, files: Files, count: int) -> tuple[float, int]:
    """Return the seconds that it took, and the bytes of files that the server sent."""
    with ExitStack() as stack:
        links = [stack.enter_context(ShapedLink(number, RATE)) for number in range(count)]
        state = Path(tempfile.mkdtemp(prefix="nginx-", dir=bench.folder))
        server = stack.enter_context(WebServer(bench.web, state=state, options=Options(addresses=[SERVER])))
        uri = f"{server.url_at(SERVER)}/{files.name}/"
        wall = _together(bench, files, uri, {}, [link.prefix for link in links])
        return wall, sum(one.sent for one in server.requests if one.path.endswith(".bin"))


def _together(
    bench: Bench, files: Files, uri: str, environment: Mapping[str, str], prefixes: Sequence[Sequence[str]]
) -> float:
    """Run a process behind each prefix, all on one empty folder; return the seconds until the last one has ended."""
    target = Path(tempfile.mkdtemp(dir=bench.folder))
    started = time.monotonic()
    await_all(start(bench, uri, target, environment, prefixes))
    wall = time.monotonic() - started
    check(files.digests, target)
    clear(target)
    return wall


def start(
    bench: Bench,
    uri: str,
    target: Path,
    environment: Mapping[str, str],
    prefixes: Sequence[Sequence[str]],
    *,
    program: Sequence[str] = (sys.executable, "-m", "downloader"),
) -> list[subprocess.Popen[str]]:
    """Start a process behind each prefix, all for one folder."""
    clean = {"PATH": os.environ["PATH"], "HOME": str(bench.folder), "AIM_LOG_LEVEL": "warning", **environment}
    command = [*program, "download", uri, str(target)]
    return [
        subprocess.Popen(
            [*prefix, *command, *(("--shard", f"{index}/{len(prefixes)}") if len(prefixes) > 1 else ())],
            env=clean,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index, prefix in enumerate(prefixes)
    ]


def await_all(processes: Sequence[subprocess.Popen[str]]) -> None:
    """Wait for all. Raises RuntimeError with what they said if one has failed."""
    said = [process.communicate()[1] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError(f"statuses {[process.returncode for process in processes]}: {said}")
