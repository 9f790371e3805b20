"""What a run does beside moving bytes: the end of a download, a run on a finished volume, the start."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.bench import Files, Outcome, write_checksums
from tests.benchmarks.measure import Tool, clear, measure
from tests.benchmarks.peers import ours
from tests.benchmarks.source_cases import bucket, publish, small_contents
from tests.benchmarks.web_cases import serve
from tests.servers.hub import Hub

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.benchmarks.bench import Bench

HEAVY = ("boto3", "botocore", "huggingface_hub", "hf_xet", "kubernetes", "httpx2", "pydantic", "awscrt", "requests")
_IMPORT = re.compile(r"import time:\s+\d+ \|\s+\d+ \|\s+(\w+)$", re.MULTILINE)
_STARTS = 5


def tail(bench: Bench, contents: Mapping[str, Files]) -> Outcome:
    """Tell how long a run goes on after the server has handed over the last byte."""
    lines = ["| what | wall s | last byte to verified s | share | last byte to the end s |", "|---|---|---|---|---|"]
    values: dict[str, float] = {}
    for what, files in contents.items():
        ends = [_watch(bench, files) for _ in range(bench.rounds + 1)][1:]
        wall, verified, ended = (statistics.median(column) for column in zip(*ends, strict=True))
        values[f"share of the wall time, {what}"] = share = verified / wall
        lines.append(f"| {what} | {wall:.2f} | {verified:.3f} | {share:.1%} | {ended:.3f} |")
    rest = (
        "\nOver HTTP. From the last response in the server's log to the line `verified` of our log, so including "
        "bytes that were still in transit and the last writes; and to the end of the process, so including fsync, the "
        "checksum file and Python's own end.\n"
    )
    return Outcome("\n".join(lines) + "\n" + rest, values)


def _watch(bench: Bench, files: Files) -> tuple[float, float, float]:
    """Download once; return seconds: the whole run, the last byte to `verified`, the last byte to the end."""
    target = Path(tempfile.mkdtemp(dir=bench.folder))
    with serve(bench) as server:
        tool = ours(f"{server.url}/{files.name}/", AIM_LOG_LEVEL="info")
        environment = {"PATH": os.environ["PATH"], "HOME": str(bench.folder), **tool.environment}
        began = time.time()
        command = list(tool.command(target))
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            said = [(time.time(), line) for line in process.stderr]
        ended = time.time()
        if process.returncode:
            raise RuntimeError(f"status {process.returncode}: {said[-1][1]}")
        last = max(one.ended for one in server.requests if one.sent)
    verified = next(moment for moment, line in said if " verified " in line)
    clear(target)
    bench.say(f"  {len(files.digests)} files: {ended - began:.2f} s, {verified - last:.3f} s of it after the last byte")
    return ended - began, max(0.0, verified - last), ended - last


def rerun(bench: Bench) -> Outcome:
    """Run on finished volumes of 10,000 files."""
    count = max(10, int(10_000 * min(1.0, bench.scale)))
    lines = ["| volume | wall s | CPU s | bytes of files fetched |", "|---|---|---|---|"]
    values: dict[str, float] = {}

    def add(what: str, walls: list[float], cpus: list[float], sent: str) -> None:
        values[f"wall, {what}"] = statistics.median(walls)
        lines.append(f"| {what} | {statistics.median(walls):.2f} | {statistics.median(cpus):.2f} | {sent} |")

    zeros = bench.zeros(count, 10_000_000)
    target = bench.folder / "finished"
    target.mkdir()
    for path in zeros.digests:
        (target / path).touch()
        os.truncate(target / path, 10_000_000)
    write_checksums(target / ".artifact.sha256", zeros.digests)
    with serve(bench) as server:
        walls, cpus = _again(bench, ours(f"{server.url}/{zeros.name}/"), target)
        add("100 GB", walls, cpus, str(sum(one.sent for one in server.requests if one.path.endswith(".bin"))))
    clear(target)

    small = bench.small(count)
    with bucket(bench, small) as place:
        walls, cpus = _again(bench, ours(f"s3://{small.name}", **place.environment()), target)
    add("S3, 20 KiB each", walls, cpus, "not counted")
    clear(target)
    with Hub() as hub:
        published = publish(hub, "org/many", small_contents(count))
        tool = ours(f"hf://{published.name}", HF_ENDPOINT=hub.endpoint, AIM_DOWNLOADER_PROTOCOL="HF_TRANSFER")
        walls, cpus = _again(bench, tool, target)
    add("hf://, 20 KiB each", walls, cpus, "not counted")
    clear(target)
    rest = (
        f"\n{count:,} files each. The 100 GB, over HTTP, are {count:,} sparse files of 10 MB, on the server and on the "
        "volume, with their digests in the checksum file. Hashing them would take about a minute, so a run that is so "
        "much shorter has read only metadata.\n"
    )
    return Outcome("\n".join(lines) + "\n" + rest, values)


def _again(bench: Bench, tool: Tool, target: Path) -> tuple[list[float], list[float]]:
    """Finish a volume, then run again; return wall and CPU seconds of the runs that had nothing to do."""
    target.mkdir(exist_ok=True)
    measure(tool, target)
    runs = [measure(tool, target) for _ in range(bench.rounds)]
    return [run.wall for run in runs], [run.cpu for run in runs]


def start(bench: Bench) -> Outcome:
    """Tell what a short command costs, and what it imports."""
    small = bench.small(10)
    lines = ["| command | CPU s | wall s | peak MiB | heavy modules |", "|---|---|---|---|---|"]
    values: dict[str, float] = {}
    with serve(bench) as web, bucket(bench, small) as place, Hub() as hub:
        model = publish(hub, "org/few", small_contents(10))
        commands: dict[str, tuple[list[str], dict[str, str]]] = {
            "--help": (["--help"], {}),
            "size http://": (["size", f"{web.url}/{small.name}/"], {}),
            "size hf://": (["size", f"hf://{model.name}"], {"HF_ENDPOINT": hub.endpoint}),
            "size s3://": (["size", f"s3://{small.name}"], place.environment()),
        }
        for what, (arguments, environment) in commands.items():
            command = [sys.executable, "-m", "downloader", *arguments]
            tool = Tool(what, lambda _, command=command: command, environment, sync=False)  # type: ignore[misc]
            runs = [measure(tool, bench.folder) for _ in range(_STARTS + 1)][1:]
            values[f"CPU, {what}"] = cpu = statistics.median(run.cpu for run in runs)
            wall, peak = statistics.median(run.wall for run in runs), max(run.peak for run in runs)
            heavy = ", ".join(_imports(arguments, environment)) or "none"
            lines.append(f"| `{what}` | {cpu:.2f} | {wall:.2f} | {peak / (1 << 20):.0f} | {heavy} |")
    return Outcome("\n".join(lines) + f"\n\nMedians of {_STARTS} runs after one that does not count.\n", values)


def _imports(arguments: list[str], environment: Mapping[str, str]) -> list[str]:
    """Return which of the heavy modules a command imports, by Python's own account."""
    command = [sys.executable, "-X", "importtime", "-m", "downloader", *arguments]
    clean = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment}
    told = subprocess.run(command, env=clean, capture_output=True, text=True, check=True).stderr
    return [name for name in HEAVY if name in set(_IMPORT.findall(told))]
