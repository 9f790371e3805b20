"""Several processes on one artifact: over links of their own, and what they hold of Python's interpreter lock."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.benchmarks.bench import Outcome, per_gib
from tests.benchmarks.link import SERVER, LinkError, ShapedLink
from tests.benchmarks.measure import MIB, check, clear
from tests.benchmarks.peers import absent, find
from tests.benchmarks.source_cases import bucket, publish
from tests.benchmarks.web_cases import serve
from tests.servers.blobs import Noise
from tests.servers.hub import Hub
from tests.servers.web import Options, WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.benchmarks.bench import Bench, Files

RATE = 400
"""Mbit/s of each process's own link."""
COUNTS = (1, 2, 4, 8)
_HOW = (
    f"Each process is in a network namespace whose link lets {RATE} Mbit/s through (veth, `tc tbf`), so that the links "
    "and not the processors are the limit. All of them start at once; the time is that from the first start to the "
    "last end. The server's log says what it sent."
)
SAMPLES = 200
"""Per second and process, of the interpreter lock."""
LIMIT = 100
"""MB/s of all processes together while the lock is sampled."""
CONNECTIONS = 8
"""Of all processes together while the lock is sampled: those of one by default."""
BEGUN = 0.05
"""Part of the bytes that is on the disk when the sampling begins: each process has started by then."""
_LOOK = 0.05
"""Seconds between two looks at the disk."""
_SAMPLED = (
    f"4 x 256 MiB, medians. `py-spy record --gil --pid`, {SAMPLES} samples of each process per second, from the moment "
    f"at which {BEGUN:.0%} of the bytes are on the disk. So the start is in the CPU seconds only: it does not grow "
    f"with the artifact. As with `--processes`, all together have {CONNECTIONS} connections, and they are limited to "
    f"{LIMIT} MB/s (`--bandwidth`): a thread that holds the lock while it waits for a processor counts, too, so the "
    "processors must have time to spare. The largest share of a process is what limits a node: one that holds the lock "
    "for 0.5 s per GiB moves 2 GiB/s at most, however many cores there are.\n"
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
        uri = f"http://{SERVER}:{server.port}/{files.name}/"
        wall = _together(bench, files, uri, {}, [link.prefix for link in links])
        return wall, sum(one.sent for one in server.requests if one.path.endswith(".bin"))


def _together(
    bench: Bench, files: Files, uri: str, environment: Mapping[str, str], prefixes: Sequence[Sequence[str]]
) -> float:
    """Run a process behind each prefix, all on one empty folder; return the seconds until the last one has ended."""
    target = Path(tempfile.mkdtemp(dir=bench.folder))
    started = time.monotonic()
    _await(_start(bench, uri, target, environment, prefixes))
    wall = time.monotonic() - started
    check(files.digests, target)
    clear(target)
    return wall


def _start(
    bench: Bench, uri: str, target: Path, environment: Mapping[str, str], prefixes: Sequence[Sequence[str]]
) -> list[subprocess.Popen[str]]:
    clean = {"PATH": os.environ["PATH"], "HOME": str(bench.folder), "AIM_LOG_LEVEL": "warning", **environment}
    command = [sys.executable, "-m", "downloader", "download", uri, str(target)]
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


def _await(processes: Sequence[subprocess.Popen[str]]) -> None:
    """Wait for all. Raises RuntimeError with what they said if one has failed."""
    said = [process.communicate()[1] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError(f"statuses {[process.returncode for process in processes]}: {said}")


def interpreter_lock(bench: Bench) -> Outcome:
    """Tell how long the interpreter lock is held per GiB, by 1, 2 and 4 processes over each kind of source."""
    if find("py-spy") is None:
        return Outcome(f"Not measured: {absent('py-spy')}.\n")
    lines = [
        "| source, processes | lock, together, s/GiB | lock, one process at most, s/GiB | CPU, together, s/GiB |",
        "|---|---|---|---|",
    ]
    values: dict[str, float] = {}
    for source, uri, environment, files in _sources(bench):
        for count in (1, 2, 4):
            runs = [_sampled(bench, files, uri, environment, count) for _ in range(bench.rounds)]
            total, most = (statistics.median(how(held) for held, _ in runs) for how in (sum, max))
            cpu = statistics.median(cpu for _, cpu in runs)
            values[f"lock s/GiB, {source}, {count}"] = total
            values[f"largest share, {source}, {count}"] = most / total if total else 0.0
            values[f"CPU s/GiB, {source}, {count}"] = cpu
            bench.say(f"  {source}, {count} processes: {total:.2f} s/GiB, {most:.2f} at most, CPU {cpu:.2f} s/GiB")
            lines.append(f"| {source}, {count} | {total:.2f} | {most:.2f} | {cpu:.2f} |")
    return Outcome("\n".join(lines) + f"\n\n{_SAMPLED}", values)


class _Source(NamedTuple):
    """Where an artifact is."""

    name: str
    uri: str
    environment: Mapping[str, str]
    files: Files


def _sources(bench: Bench) -> Iterator[_Source]:
    files = bench.large(4, 256 * MIB)
    with serve(bench) as web:
        yield _Source("HTTP", f"{web.url}/{files.name}/", {}, files)
        bundle = {"AIM_CA_BUNDLE": str(bench.authority.bundle)}
        yield _Source("HTTPS", f"{web.secure_url}/{files.name}/", bundle, files)
    with bucket(bench, files, remembers=True) as server:
        yield _Source("S3", f"s3://{files.name}", server.environment(), files)
    with Hub() as hub:
        size = int(256 * MIB * bench.scale)
        contents = {f"model-{number}.safetensors": Noise(size, number) for number in range(4)}
        model = publish(hub, "org/large", contents)
        yield _Source("Xet", f"hf://{model.name}", {"HF_ENDPOINT": hub.endpoint}, model)


def _sampled(
    bench: Bench, files: Files, uri: str, environment: Mapping[str, str], count: int
) -> tuple[list[float], float]:
    """Return the seconds per GiB for which each process held the lock, and the CPU seconds per GiB of all."""
    target = Path(tempfile.mkdtemp(dir=bench.folder))
    shares = {"AIM_BANDWIDTH": f"{LIMIT // count}M", "AIM_CONNECTIONS": str(CONNECTIONS // count)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    processes = _start(bench, uri, target, {**environment, **shares}, [()] * count)
    while _on_disk(target) < BEGUN * files.size and all(process.poll() is None for process in processes):
        time.sleep(_LOOK)
    left = files.size - _on_disk(target)
    spy, options = find("py-spy") or "", ("--gil", "--subprocesses", "--nonblocking", "-r", str(SAMPLES), "-f", "raw")
    with tempfile.TemporaryDirectory(dir=bench.folder) as name:
        outputs = [Path(name) / str(process.pid) for process in processes]
        spies = [
            subprocess.Popen([spy, "record", *options, "-o", output, "--pid", output.name], stderr=subprocess.DEVNULL)
            for output in outputs
        ]
        _await(processes)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if any(spy.wait() for spy in spies):
            raise RuntimeError("a process could not be sampled")
        held = [per_gib(_samples(output) / SAMPLES, left) for output in outputs]
    check(files.digests, target)
    clear(target)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return held, per_gib(cpu, files.size)


def _on_disk(target: Path) -> int:
    """Return the bytes that files below a folder take."""
    blocks = 0
    for path in target.rglob("*"):
        with suppress(FileNotFoundError):
            blocks += path.stat().st_blocks
    return blocks * 512


def _samples(output: Path) -> int:
    """Return the number of samples in a file of py-spy's own format: a stack and its count on each line."""
    return sum(int(line.rpartition(" ")[2]) for line in output.read_text().splitlines() if line)
