"""Runs contenders in turn and measures each as a whole process."""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MIB = 1 << 20


@dataclass(frozen=True)
class Contender:
    """A command that brings the case's files into a folder."""

    name: str
    command: Callable[[Path], Sequence[str]]
    environment: Mapping[str, str] = field(default_factory=dict)
    sync: bool = True
    """Sync what it wrote afterwards, within its time: our own side always has."""


@dataclass(frozen=True)
class Case:
    """The same files for everybody."""

    name: str
    files: Mapping[str, str]
    """Path below the folder → sha256."""
    size: int
    contenders: Sequence[Contender]


@dataclass
class Score:
    """What one contender took, one entry for each counted round."""

    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)
    """Bytes of all its processes together."""
    failure: str = ""

    @property
    def wall(self) -> float:
        """The median in seconds."""
        return statistics.median(self.walls)

    @property
    def spread(self) -> str:
        """The fastest and the slowest."""
        return f"{min(self.walls):.2f}-{max(self.walls):.2f}"


def compete(case: Case, folder: Path, rounds: int) -> dict[str, Score]:
    """Let all run in turn, `rounds` times after a warm-up that does not count; compare contents each time."""
    scores = {contender.name: Score() for contender in case.contenders}
    for number in range(rounds + 1):
        for contender in case.contenders:
            score = scores[contender.name]
            if score.failure:
                continue
            target = Path(tempfile.mkdtemp(dir=folder))
            try:
                wall, cpu, peak = _run(contender, target)
                _compare(case, target)
            except (subprocess.CalledProcessError, ValueError, OSError) as error:
                score.failure = str(error)[:200]
                continue
            finally:
                shutil.rmtree(target)
                os.sync()
            if number:
                score.walls.append(wall)
                score.cpus.append(cpu)
                score.peaks.append(peak)
    return scores


def _run(contender: Contender, target: Path) -> tuple[float, float, int]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(target.parent), **contender.environment}
    command = [str(part) for part in contender.command(target)]
    started = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        with _Peak(process.pid) as peak:
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise ValueError(f"status {process.returncode}: {output.read()[-200:]!r}")
    if contender.sync:
        subprocess.run(["sync", "-f", str(target)], check=True)
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, peak.bytes


class _Peak:
    """Looks at a process and its children now and then: what the kernel tells at the end includes our own fork."""

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.bytes = max(self.bytes, _resident(self._pid))


def _resident(pid: int) -> int:
    """Return the peak of a process and of its children, added up."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        tasks = [task / "children" for task in Path(f"/proc/{pid}/task").iterdir()]
        children = [int(child) for task in tasks for child in task.read_text().split()]
    except OSError:
        return 0
    line = next((line for line in status.splitlines() if line.startswith("VmHWM")), "VmHWM: 0 kB")
    return int(line.split()[1]) * 1024 + sum(_resident(child) for child in children)


def _compare(case: Case, target: Path) -> None:
    for path, expected in case.files.items():
        with (target / path).open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != expected:
            raise ValueError(f"{path} has other bytes")


def table(case: Case, scores: Mapping[str, Score], ours: str) -> str:
    """Return the case as Markdown, the fastest first."""
    lines = [
        f"\n### {case.name}\n",
        "| contender | wall s (median) | MiB/s | spread s | CPU s/GiB | peak MiB | ours / it |",
        "|---|---|---|---|---|---|---|",
    ]
    done = {name: score for name, score in scores.items() if score.walls}
    for name, score in sorted(done.items(), key=lambda item: item[1].wall):
        ratio = f"{done[ours].wall / score.wall:.2f}" if ours in done else "-"
        cpu = statistics.median(score.cpus) / (case.size / (1 << 30))
        lines.append(
            f"| {name} | {score.wall:.2f} | {case.size / MIB / score.wall:.0f} | {score.spread} | {cpu:.2f} "
            f"| {max(score.peaks) // MIB} | {ratio} |"
        )
    lines += [f"| {name} | failed: {score.failure} | | | | | |" for name, score in scores.items() if score.failure]
    return "\n".join(lines) + "\n"
