"""Several processes on one artifact: over links of their own, and what they hold of Python's interpreter lock."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
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
"""Per second, of the interpreter lock."""
LIMIT = 100
"""MB/s of all processes together while the lock is sampled."""
FEW, TINY = 4, 4096
"""Files, and bytes of each, of a run that is hardly more than its start."""
_SAMPLED = (
    f"`py-spy record --gil`, {SAMPLES} samples per second, of one process in each run. All together are limited to "
    f"{LIMIT} MB/s (`--bandwidth`): a thread that holds the lock while it waits for a processor counts, too, so the "
    "processors must have time to spare. The start does not grow with the artifact and is subtracted: what each of as "
    f"many processes holds the lock for over {FEW} files of {TINY >> 10} KiB. The largest share of a process is what "
    "limits a node: one that holds the lock for 0.5 s per GiB moves 2 GiB/s at most, however many cores there are.\n"
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
    clean = {"PATH": os.environ["PATH"], "HOME": str(bench.folder), "AIM_LOG_LEVEL": "warning", **environment}
    command = [sys.executable, "-m", "downloader", "download", uri, str(target)]
    started = time.monotonic()
    processes = [
        subprocess.Popen(
            [*prefix, *command, *(("--shard", f"{index}/{len(prefixes)}") if len(prefixes) > 1 else ())],
            env=clean,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index, prefix in enumerate(prefixes)
    ]
    said = [process.communicate()[1] for process in processes]
    wall = time.monotonic() - started
    if any(process.returncode for process in processes):
        raise RuntimeError(f"statuses {[process.returncode for process in processes]}: {said}")
    check(files.digests, target)
    clear(target)
    return wall


def interpreter_lock(bench: Bench) -> Outcome:
    """Tell how long the interpreter lock is held per GiB, by 1, 2 and 4 processes over each kind of source."""
    if find("py-spy") is None:
        return Outcome(f"Not measured: {absent('py-spy')}.\n")
    lines = [
        "| source, processes | lock held, all together, s/GiB | lock held, one process at most, s/GiB | start, s |",
        "|---|---|---|---|",
    ]
    values: dict[str, float] = {}
    for source, uri, environment, large, few in _sources(bench):
        for count in (1, 2, 4):
            places = [(number, count) for number in range(count)]
            start = sum(_sampled(bench, few, uri.format(few.name), environment, place) for place in places) / count
            held = [_sampled(bench, large, uri.format(large.name), environment, place) - start for place in places]
            total, most = per_gib(sum(held), large.size), per_gib(max(held), large.size)
            values[f"lock s/GiB, {source}, {count}"] = total
            values[f"largest share, {source}, {count}"] = max(held) / sum(held) if sum(held) > 0 else 0.0
            bench.say(f"  {source}, {count} processes: {total:.2f} s/GiB, {most:.2f} at most, start {start:.2f} s")
            lines.append(f"| {source}, {count} | {total:.2f} | {most:.2f} | {start:.2f} |")
    return Outcome("\n".join(lines) + f"\n\n{_SAMPLED}", values)


class _Source(NamedTuple):
    """Where a large artifact is, and another of hardly any bytes."""

    name: str
    uri: str
    """With a place for the name of the artifact."""
    environment: Mapping[str, str]
    large: Files
    few: Files


def _sources(bench: Bench) -> Iterator[_Source]:
    few = bench.large(FEW, TINY)
    large = replace(bench.large(4, 256 * MIB), warm=few)
    with serve(bench) as web:
        yield _Source("HTTP", f"{web.url}/{{}}/", {}, large, few)
        bundle = {"AIM_CA_BUNDLE": str(bench.authority.bundle)}
        yield _Source("HTTPS", f"{web.secure_url}/{{}}/", bundle, large, few)
    with bucket(bench, large, remembers=True) as server:
        yield _Source("S3", "s3://{}", server.environment(), large, few)
    with Hub() as hub:
        published = [
            publish(hub, f"org/{name}", {f"model-{number}.safetensors": Noise(size, number) for number in range(FEW)})
            for name, size in (("large", int(256 * MIB * bench.scale)), ("few", TINY))
        ]
        yield _Source("Xet", "hf://{}", {"HF_ENDPOINT": hub.endpoint}, *published)


def _sampled(bench: Bench, files: Files, uri: str, environment: Mapping[str, str], place: tuple[int, int]) -> float:
    """Return the seconds for which one process held the lock, with its children.

    `place` is the number of the process and how many there are. The others run beside it without a sampler, which
    would take the processors from all of them.
    """
    number, count = place
    with tempfile.TemporaryDirectory(dir=bench.folder) as name:
        output = Path(name) / "samples"
        options = ("record", "--gil", "--subprocesses", "--nonblocking", "-r", str(SAMPLES), "-f", "raw")
        prefixes: list[tuple[str, ...]] = [()] * count
        prefixes[number] = (find("py-spy") or "", *options, "-o", str(output), "--")
        _together(bench, files, uri, {**environment, "AIM_BANDWIDTH": f"{LIMIT // count}M"}, prefixes)
        return _samples(output) / SAMPLES


def _samples(output: Path) -> int:
    """Return the number of samples in a file of py-spy's own format: a stack and its count on each line."""
    return sum(int(line.rpartition(" ")[2]) for line in output.read_text().splitlines() if line)
