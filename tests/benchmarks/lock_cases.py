"""How long several processes hold Python's interpreter lock, each its own: the ceiling of a large node."""

from __future__ import annotations

import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.benchmarks.bench import Outcome, per_gib
from tests.benchmarks.link import SERVER, LinkError, ShapedLink
from tests.benchmarks.measure import MIB, check, clear
from tests.benchmarks.peers import absent, find
from tests.benchmarks.peers import program as few_lines
from tests.benchmarks.shard_cases import await_all, start
from tests.benchmarks.source_cases import bucket, publish
from tests.benchmarks.web_cases import serve
from tests.servers.blobs import Noise
from tests.servers.hub import Hub
from tests.servers.web import Options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tests.benchmarks.bench import Bench, Files

COUNTS = (1, 2, 4)
NUMBER, SIZE = 16, 256 * MIB
"""Of the files: enough for each of four processes to hash as many at a time as alone."""
RATE = 1000
"""Mbit/s of each process's own link."""
SAMPLES = 997
"""Per second and processor."""
CONNECTIONS = 8
"""Of all processes together."""
BEGUN = 16 * MIB
"""Bytes that each process has written when the sampling begins: its start is over by then."""
INTERPRETER = ("python", "libpython")
"""Names of what runs Python, at their beginning; its extension modules have the second part of `_EXTENSION`."""
_EXTENSION = ".cpython-"
_LIBRARY, _RUST = "libc.so", "hf_xet"
_LOOK = 0.02
"""Seconds between two looks at what the processes have written."""
_HOW = (
    f"{NUMBER} x 256 MiB in pieces of 8 MiB, medians; with long pieces as many zeros in pieces of 256 MiB, as "
    f"artifacts of 128 GiB and more have them. Each process has a network namespace of its own, whose link lets "
    f"{RATE} Mbit/s through (veth, `tc tbf`): so N processes bring N times as much, as on a large node, though this "
    "machine has two processors. At full speed all share the loopback interface and those processors, which are full: "
    f"more processes bring no more there. `perf record -a -e cpu-clock`, {SAMPLES} samples a second of each "
    f"processor, from the moment at which each process has written {BEGUN // MIB} MiB: so the start is in the CPU "
    "seconds only, as it does not grow with the artifact. Samples in the interpreter, its extension modules and the C "
    "library count as time with the lock held, which is more than it is; over Xet those in the C library do not, since "
    "hf_xet's threads copy without the lock. Waiting for a processor does not count. As with `--connections`, all "
    f"together have {CONNECTIONS} connections. The largest share of a process is what limits a node: one that holds "
    "the lock for 0.1 s per GiB moves 10 GiB/s at most, however many cores there are.\n"
)


class _Source(NamedTuple):
    """Where an artifact is."""

    name: str
    uri: str
    environment: Mapping[str, str]
    files: Files
    program: Sequence[str] = (sys.executable, "-m", "downloader")
    prefixes: Sequence[Sequence[str]] = ((),) * max(COUNTS)
    """Of commands that run on the link of each process."""


class _Sampled(NamedTuple):
    """What was measured of one run."""

    held: list[float]
    """Seconds per GiB for which each process held its lock."""
    cpu: float
    """CPU seconds per GiB of all processes."""
    wall: float


def interpreter_lock(bench: Bench) -> Outcome:
    """Tell how long the interpreter lock is held per GiB, by 1, 2 and 4 processes over each kind of source."""
    if find("perf") is None:
        return Outcome(f"Not measured: {absent('perf')}.\n")
    with ExitStack() as stack:
        try:
            links = [stack.enter_context(ShapedLink(number, RATE)) for number in range(max(COUNTS))]
        except LinkError as error:
            return Outcome(f"Not measured: {error}.\n")
        return _compared(bench, [link.prefix for link in links])


def _compared(bench: Bench, prefixes: Sequence[Sequence[str]]) -> Outcome:
    lines = [
        "| source, processes | lock s/GiB | of one at most s/GiB | CPU s/GiB | wall s |",
        "|---|---|---|---|---|",
    ]
    values: dict[str, float] = {}
    for source in _sources(bench, prefixes):
        for count in COUNTS:
            runs = [_sampled(bench, source, count) for _ in range(bench.rounds)]
            total, most = (statistics.median(how(run.held) for run in runs) for how in (sum, max))
            cpu, wall = (statistics.median(column) for column in zip(*(run[1:] for run in runs), strict=True))
            name = f"{source.name}, {count}"
            values[f"lock s/GiB, {name}"] = total
            values[f"lock, {name} / 1"] = total / values[f"lock s/GiB, {source.name}, 1"]
            values[f"largest share, {name}"] = most / total if total else 0.0
            values[f"CPU s/GiB, {name}"] = cpu
            bench.say(f"  {name}: {total:.3f} s/GiB, {most:.3f} at most, CPU {cpu:.2f} s/GiB, {wall:.2f} s")
            lines.append(f"| {name} | {total:.3f} | {most:.3f} | {cpu:.2f} | {wall:.2f} |")
    return Outcome("\n".join(lines) + f"\n\n{_HOW}", values)


def _sources(bench: Bench, prefixes: Sequence[Sequence[str]]) -> Iterator[_Source]:
    files = bench.large(NUMBER, SIZE)
    bundle = {"AIM_CA_BUNDLE": str(bench.authority.bundle)}
    with serve(bench, Options(addresses=[SERVER])) as web:
        plain, secure = web.url_at(SERVER), web.url_at(SERVER, secure=True)
        yield _Source("HTTP", f"{plain}/{files.name}/", {}, files, prefixes=prefixes)
        yield _Source("HTTPS", f"{secure}/{files.name}/", bundle, files, prefixes=prefixes)
        zeros = bench.zeros(NUMBER, int(SIZE * bench.scale))
        program = few_lines("long_pieces", python=sys.executable)
        yield _Source("HTTP, long pieces", f"{plain}/{zeros.name}/", {}, zeros, program, prefixes)
        yield _Source("HTTP at full speed", f"{web.url}/{files.name}/", {}, files)
        yield _Source("HTTPS at full speed", f"{web.secure_url}/{files.name}/", bundle, files)
    with bucket(bench, files, remembers=True, host=SERVER) as server:
        yield _Source("S3", f"s3://{files.name}", server.environment(), files, prefixes=prefixes)
    with Hub(host=SERVER) as hub:
        size = int(SIZE * bench.scale)
        contents = {f"model-{number}.safetensors": Noise(size, number) for number in range(NUMBER)}
        model = publish(hub, "org/large", contents)
        yield _Source("Xet", f"hf://{model.name}", {"HF_ENDPOINT": hub.endpoint}, model, prefixes=prefixes)


def _sampled(bench: Bench, source: _Source, count: int) -> _Sampled:
    target = Path(tempfile.mkdtemp(dir=bench.folder))
    environment = {**source.environment, "AIM_CONNECTIONS": str(CONNECTIONS // count)}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    processes = start(bench, source.uri, target, environment, source.prefixes[:count], program=source.program)
    begun = min(BEGUN, source.files.size // (4 * count))
    while any(_family_written(process.pid) < begun for process in processes if process.poll() is None):
        time.sleep(_LOOK)
    left = source.files.size - _on_disk(target)
    families = [{process.pid, *_descendants(process.pid)} for process in processes]
    data = bench.folder / "perf.data"
    command = [find("perf") or "", "record", "-q", "-a", "-F", str(SAMPLES), "-e", "cpu-clock", "-o", str(data)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as perf:
        try:
            await_all(processes)
            wall = time.monotonic() - began
        finally:
            perf.send_signal(signal.SIGINT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)  # perf itself is in it, with a few hundredths
    check(source.files.digests, target)
    clear(target)
    held = [per_gib(samples / SAMPLES, left) for samples in _held(data, families)]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return _Sampled(held, per_gib(cpu, source.files.size), wall)


def _held(data: Path, families: Sequence[set[int]]) -> list[int]:
    """Return the samples with the lock held of each family of processes."""
    command = [find("perf") or "", "script", "-i", str(data), "-F", "pid,ip,sym,dso"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    places: Counter[tuple[int, str]] = Counter()
    for line in text.splitlines():
        places[int(line.split(maxsplit=1)[0]), line.rpartition("(")[2].rstrip(")").rpartition("/")[2]] += 1
    with_rust = {pid for pid, place in places if _RUST in place}
    return [
        sum(
            samples
            for (pid, place), samples in places.items()
            if pid in family and _is_held(place, copies=pid not in with_rust)
        )
        for family in families
    ]


def _is_held(place: str, *, copies: bool) -> bool:
    """Return whether code of a library runs with the lock held, or may do so."""
    return place.startswith(INTERPRETER) or _EXTENSION in place or (copies and place.startswith(_LIBRARY))


def _family_written(pid: int) -> int:
    return sum(map(_written, (pid, *_descendants(pid))))


def _written(pid: int) -> int:
    """Return the bytes that a process has written; 0 if it has ended."""
    with suppress(OSError, ValueError):
        fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
        return int(fields["wchar"])
    return 0


def _descendants(pid: int) -> Iterable[int]:
    """Return the processes that a process has started, and theirs."""
    children: set[int] = set()
    with suppress(OSError):
        for tasks in Path(f"/proc/{pid}/task").iterdir():
            children.update(map(int, (tasks / "children").read_text().split()))
    return children.union(*map(_descendants, children))


def _on_disk(target: Path) -> int:
    """Return the bytes that files below a folder take."""
    blocks = 0
    for path in target.rglob("*"):
        with suppress(FileNotFoundError):
            blocks += path.stat().st_blocks
    return blocks * 512
