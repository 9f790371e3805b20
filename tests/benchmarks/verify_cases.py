"""Hashing what is on the volume: by `verify`, for a run that adopts it, and for one that follows an unfinished run."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.bench import Outcome, write_checksums
from tests.benchmarks.measure import MIB, Tool, clear, measure
from tests.benchmarks.peers import ours
from tests.benchmarks.web_cases import serve

if TYPE_CHECKING:
    from tests.benchmarks.bench import Bench, Files

LAST = "last.bin"
"""A small file that the first run of two cannot get, so that it ends unfinished."""
OPENSSL, VERIFY, ADOPT, RESTART = "openssl", "verify", "adoption", "after a restart"
_HOW = (
    "All files are in the page cache. `openssl dgst -sha256` gets as many files at once as there are processors. "
    "Adoption: a run finds files that it has no record of. After a restart: a run finds what one has left that ended "
    "before its last file came. Each compares every byte with its digest, and the server sends nothing but the list "
    f"and `{LAST}`.\n"
)


def hashing(bench: Bench, files: Files) -> Outcome:
    """Compare with openssl, which hashes and does nothing else."""
    walls: dict[str, list[float]] = {}
    peaks: dict[str, int] = {}
    for number in range(bench.rounds + 1):
        for name, wall, peak in _one_round(bench, files if number or files.warm is None else files.warm):
            bench.say(f"  {f'round {number}' if number else 'warm-up'}: {name} {wall:.2f} s")
            if number:
                walls.setdefault(name, []).append(wall)
                peaks[name] = max(peak, peaks.get(name, 0))
    lines = ["| what | wall s (median) | MiB/s | peak MiB | / openssl |", "|---|---|---|---|---|"]
    medians = {name: statistics.median(each) for name, each in walls.items()}
    for name, wall in medians.items():
        rate, ratio = files.size / MIB / wall, wall / medians[OPENSSL]
        lines.append(f"| {name} | {wall:.2f} | {rate:.0f} | {peaks[name] / MIB:.0f} | {ratio:.2f} |")
    values = {f"wall, {name}": wall for name, wall in medians.items()}
    return Outcome("\n".join(lines) + f"\n\n{_HOW}", values)


def _one_round(bench: Bench, files: Files) -> list[tuple[str, float, int]]:
    """Hash the files in each way; return way, wall seconds and peak bytes."""
    source = _with_last(bench, files)
    state, left, target = (
        Path(tempfile.mkdtemp(prefix=f"{name}-", dir=bench.folder)) for name in ("state", "left", "target")
    )
    found = []

    def run(name: str, tool: Tool, place: Path) -> None:
        took = measure(tool, place)
        found.append((name, took.wall, took.peak))

    for folder in (left, target):
        for path in files.digests:
            os.link(source / path, folder / path)
            (source / path).read_bytes()  # into the page cache, if it is not there
    with serve(bench) as server:
        uri = f"{server.url}/{source.name}/"
        last = (source / LAST).rename(state / LAST)
        unfinished = subprocess.run(
            list(ours(uri).command(left)), env={"PATH": os.environ["PATH"]}, capture_output=True, check=False
        )
        if not unfinished.returncode:
            raise RuntimeError(f"a run ended well though {LAST} was not there")
        last.rename(source / LAST)
        run(OPENSSL, _openssl(files), target)
        run(ADOPT, ours(uri), target)
        run(RESTART, ours(uri), left)
    verify = Tool(VERIFY, lambda place: [sys.executable, "-m", "downloader", "verify", str(place)], sync=False)
    run(VERIFY, verify, target)
    clear(state, left, target)
    return found


def _with_last(bench: Bench, files: Files) -> Path:
    """Return a folder of the server that has these files and `LAST`."""
    folder = bench.web / f"hashed-{files.name}"
    if not folder.exists():
        folder.mkdir()
        for path in files.digests:
            os.link(bench.web / files.name / path, folder / path)
        (folder / LAST).touch()
        empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        write_checksums(folder / "SHA256SUMS", {**files.digests, LAST: empty})
    return folder


def _openssl(files: Files) -> Tool:
    script = f"""cd "$0" && printf '%s\\0' "$@" | xargs -0 -n 1 -P {os.cpu_count()} openssl dgst -sha256 -r"""
    return Tool(OPENSSL, lambda place: ["sh", "-c", script, str(place), *files.digests], sync=False, writes=False)
