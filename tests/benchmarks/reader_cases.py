"""How fast the next program has the bytes of a finished download: what a run leaves in the page cache."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.bench import Outcome
from tests.benchmarks.measure import GIB, MIB, check, clear, measure
from tests.benchmarks.peers import ours, program
from tests.benchmarks.web_cases import serve
from tests.benchmarks.web_peers import WebFolder, web_peers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.bench import Bench, Files
    from tests.benchmarks.measure import Tool

THREADS = 8
TENSOR = 16 * MIB
DROP, KEEP, WARM = "as we leave it", "AIM_PAGE_CACHE=keep", "read again"
_HOW = (
    f"{THREADS} threads map all files, safetensors with tensors of {TENSOR // MIB} MiB, and copy every byte, as an "
    f"inference engine does that loads them; the start of Python is not counted. *{WARM}*: the same files once more, "
    "when all of them are in the page cache. A download is over when it has synced; the other tool's includes a sync.\n"
)


def read_back(bench: Bench, count: int, size: int) -> Outcome:
    """Read what a download has written, as it is left and as `AIM_PAGE_CACHE=keep` leaves it."""
    scaled = int(size * bench.scale)
    files, warm = (bench.tensors(count, each, header_of(each)) for each in (scaled, scaled // 16))
    loads: dict[str, list[float]] = {}
    reads: dict[str, list[float]] = {}
    with serve(bench) as server:
        for number in range(bench.rounds + 1):
            for name, load, read in _one_round(bench, server.url, files if number else warm):
                bench.say(f"  {f'round {number}' if number else 'warm-up'}: {name} {load:.2f} s, read in {read:.2f} s")
                if number:
                    loads.setdefault(name, []).append(load)
                    reads.setdefault(name, []).append(read)
    lines = ["| page cache | download s | read back s | GiB/s | both s |", "|---|---|---|---|---|"]
    values = {}
    for name, each in reads.items():
        read, load = statistics.median(each), statistics.median(loads[name])
        values[f"read back, {name}"] = read
        told, both = (f"{load:.2f}", f"{load + read:.2f}") if load else ("-", "-")
        lines.append(f"| {name} | {told} | {read:.2f} | {files.size / GIB / read:.1f} | {both} |")
    values["read back, keep / warm"] = values[f"read back, {KEEP}"] / values[f"read back, {WARM}"]
    return Outcome("\n".join(lines) + f"\n\n{_HOW}", values)


def _one_round(bench: Bench, server: str, files: Files) -> Iterator[tuple[str, float, float]]:
    """Yield a name, and the seconds of the download and of the reading after it."""
    url = f"{server}/{files.name}"
    tools: dict[str, Tool] = {DROP: ours(f"{url}/"), KEEP: ours(f"{url}/", AIM_PAGE_CACHE="keep")}
    tools |= {f"{peer.name}": peer for peer in web_peers(WebFolder(url, list(files.digests)), "s5cmd")}
    for name, tool in tools.items():
        if tool.missing:
            continue
        target = Path(tempfile.mkdtemp(dir=bench.folder))
        load = measure(tool, target).wall
        read = partial(_read, [target / path for path in files.digests])
        yield name, load, read()
        if name == KEEP:
            yield WARM, 0.0, read()
        check(files.digests, target)
        clear(target)


def _read(paths: list[Path]) -> float:
    """Return the seconds that it takes to touch every byte."""
    command = program("mapped_reader", str(THREADS), *map(str, paths), python=sys.executable)
    environment = {"PATH": os.environ["PATH"]}
    return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def header_of(size: int) -> bytes:
    """Return the head of a safetensors file in which so many bytes of tensors follow."""
    starts = range(0, size, TENSOR)
    tensors = {
        f"layer.{number}.weight": {
            "dtype": "U8",
            "shape": [min(TENSOR, size - start)],
            "data_offsets": [start, min(size, start + TENSOR)],
        }
        for number, start in enumerate(starts)
    }
    raw = json.dumps(tensors).encode()
    return len(raw).to_bytes(8, "little") + raw
