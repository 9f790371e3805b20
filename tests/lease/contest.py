"""Those who want the same volume: real processes, and records of processes that are elsewhere."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from downloader.lease.lease import Holder, render_lease
from downloader.lease.process_id import ProcessIdentity
from tests.clocks import Clock
from tests.lease.holder import DATA, PATH
from tests.volume.artifacts import URI

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


ROOT = Path(__file__).parents[2]
FILES = {PATH: DATA}


class Other:
    """The process of `holder.py`."""

    def __init__(self, target: Path, ttl: float, container: list[str]) -> None:
        command = [*container, sys.executable, "-m", "tests.lease.holder", str(target), str(ttl)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.held = self.answer() == "ok"

    def do(self, deed: str) -> str:
        self.ask(deed)
        return self.answer()

    def ask(self, deed: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{deed}\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)


@contextmanager
def another(target: Path, ttl: float, container: list[str] | None = None) -> Iterator[Other]:
    other = Other(target, ttl, container or [])
    try:
        assert other.held
        yield other
    finally:
        other.process.kill()
        other.process.wait()
        for pipe in (other.process.stdin, other.process.stdout):
            if pipe is not None:
                pipe.close()


def lease_file(target: Path, epoch: int, *, process: ProcessIdentity, beats: int = 0, token: str = "theirs") -> Path:
    path = target / f".downloading/lease.{epoch}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(render_lease(Holder(token, process, URI), beats))
    return path


def is_held(target: Path, epoch: int) -> bool:
    """Return whether a lease says who has it: as long as it is empty, its maker may find that another one lives."""
    try:
        return bool((target / f".downloading/lease.{epoch}").read_bytes())
    except FileNotFoundError:
        return False


def elsewhere() -> ProcessIdentity:
    return replace(ProcessIdentity.current(), host="another-node", boot="another-boot")


class CountingClock(Clock):
    """Counts the sleeps, and does something in each."""

    def __init__(self, meanwhile: Callable[[int], None] = lambda _: None) -> None:
        super().__init__()
        self.sleeps = 0
        self._meanwhile = meanwhile

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.sleeps += 1
        self._meanwhile(self.sleeps)
