"""Runs tools in turn and measures each as a whole process."""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.peak import Peak

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

GIB = 1 << 30
MIB = 1 << 20
MANY = 1000
"""Files that are put aside instead of removed."""
ASIDE = "done-"
"""How the names of their folders begin."""
TIMEOUT = 90.0
"""Seconds after which a tool is killed, by default: all cases together must stay short."""


@dataclass(frozen=True)
class Tool:
    """A command that downloads the files of the case to a folder."""

    name: str
    command: Callable[[Path], Sequence[str]]
    environment: Mapping[str, str] = field(default_factory=dict)
    sync: bool = True
    """Sync what it wrote afterwards, within its time: our own side always has."""
    disk: Path | None = None
    """A folder on the file system to sync, where that is not the target's."""
    prefix: Sequence[str] = ()
    """A program that runs the command, such as `taskset`."""
    missing: str = ""
    """Why it cannot be had; then it is named in the table and not run."""
    writes: bool = True
    """Whether it leaves the files to be compared."""
    timeout: float = TIMEOUT
    """Seconds after which it is killed."""


@dataclass(frozen=True)
class Case:
    """The files that each tool downloads."""

    files: Mapping[str, str]
    """Path below the folder → sha256."""
    tools: Sequence[Tool]


@dataclass(frozen=True)
class Run:
    """What one process took."""

    wall: float
    """Seconds, with the sync."""
    cpu: float
    """Seconds of user and system time, with its children that it awaited."""
    peak: int
    """Bytes of memory of all its processes together."""
    ended: float
    """When the process ended, before the sync: seconds since 1970."""
    switches: int
    """How often a thread of it waited, for the interpreter's lock, the network or the disk."""


@dataclass
class Score:
    """The counted runs of one tool, or why it has none."""

    runs: list[Run] = field(default_factory=list)
    failure: str = ""

    @property
    def wall(self) -> float:
        """The median in seconds."""
        return statistics.median(run.wall for run in self.runs)

    @property
    def cpu(self) -> float:
        """The median in seconds."""
        return statistics.median(run.cpu for run in self.runs)

    @property
    def peak(self) -> int:
        """The highest in bytes."""
        return max(run.peak for run in self.runs)

    @property
    def switches(self) -> float:
        """The median."""
        return statistics.median(run.switches for run in self.runs)

    @property
    def spread(self) -> str:
        """The fastest and the slowest."""
        walls = [run.wall for run in self.runs]
        return f"{min(walls):.2f}-{max(walls):.2f}"


def compare(
    case: Case, folder: Path, rounds: int, say: Callable[[str], None], *, served: Path, warm: Case | None = None
) -> dict[str, Score]:
    """Let all run in turn, `rounds` times, after a warm-up that does not count; compare contents each time.

    `folder` takes what they write, `served` has what they fetch. `warm` has the same tools for smaller files, where a
    whole warm-up takes too long. A tool that fails once is not run again; its score says why.
    """
    scores = {tool.name: Score(failure=tool.missing) for tool in case.tools}
    for number in range(rounds + 1):
        turn = case if number or warm is None else warm
        many = len(turn.files) >= MANY
        for tool in turn.tools:
            score = scores[tool.name]
            if score.failure:
                continue
            target = Path(tempfile.mkdtemp(dir=folder))
            if many:
                forget_what_was_removed(served)
            try:
                run = measure(tool, target)
                if tool.writes:
                    check(turn.files, target)
            except (subprocess.SubprocessError, ValueError, OSError) as error:
                score.failure = " ".join(str(error).split())[:300]
                score.runs.clear()
                say(f"  {tool.name}: {score.failure}")
                continue
            finally:
                clear(target)
            if number:
                score.runs.append(run)
            say(f"  {f'round {number}' if number else 'warm-up'}: {tool.name} {run.wall:.2f} s")
    return scores


def measure(tool: Tool, target: Path) -> Run:
    """Run a tool once. Raises ValueError if it fails."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(target.parent), **tool.environment}
    command = [*tool.prefix, *(str(part) for part in tool.command(target))]
    with tempfile.TemporaryFile() as output:
        started = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        with Peak(process.pid, tool.timeout) as peak:
            _, status, usage = os.wait4(process.pid, 0)
        ended = time.time()
        process.returncode = os.waitstatus_to_exitcode(status)
        if peak.overdue:
            raise ValueError(f"{tool.name} took more than {tool.timeout:.0f} s")
        if process.returncode:
            output.seek(0)
            said = output.read()[-300:].decode(errors="replace").strip()
            raise ValueError(f"{tool.name} ended with status {process.returncode}: {said or 'it said nothing'}")
        if tool.sync:
            subprocess.run(["sync", "-f", str(tool.disk or target)], check=True)
    return Run(time.monotonic() - started, usage.ru_utime + usage.ru_stime, peak.bytes, ended, usage.ru_nvcsw)


def check(files: Mapping[str, str], folder: Path) -> None:
    """Raise ValueError if a file has other bytes, OSError if it is not there."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, actual in zip(files, pool.map(lambda path: sha256(folder / path), files), strict=True):
            if actual != files[path]:
                raise ValueError(f"{path} has other bytes")


def sha256(path: Path) -> str:
    """Return the digest of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def clear(*folders: Path) -> None:
    """Remove what a run has written, so that the next one starts with a quiet disk.

    Many files are put aside and go when the whole benchmark ends: ext4 does not use an inode again that was freed in
    the last minutes, so the next run would have to search for others.
    """
    for folder in folders:
        if folder.is_dir() and sum(1 for _ in folder.rglob("*")) >= MANY:
            folder.rename(Path(tempfile.mkdtemp(prefix=ASIDE, dir=folder.parent)) / folder.name)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    os.sync()


def forget_what_was_removed(folder: Path) -> None:
    """Drop the kernel's caches, as far as the user may, but for the small files below `folder` that are served.

    ext4 does not use an inode again that was freed in the last minutes, as far as its table is still in memory. After
    a benchmark, a test or a tool that removed many files it searched for others, and all tools took up to three times
    as long with small files (`recently_deleted` in a profile of the kernel).
    """
    os.sync()
    with suppress(OSError):
        Path("/proc/sys/vm/drop_caches").write_text("3", "ascii")
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(ASIDE)]
        for name in names:
            if (file := Path(parent, name)).stat().st_size < MIB:
                file.read_bytes()


def best(scores: Mapping[str, Score], names: Iterable[str]) -> float | None:
    """Return the shortest median in seconds of these tools; None if none of them has one."""
    return min((scores[name].wall for name in names if name in scores and scores[name].runs), default=None)
