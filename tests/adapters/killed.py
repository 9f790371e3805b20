"""Stages an adapter and kills the process before each of its steps on the disk, one after the other.

`python -m tests.adapters.killed FOLDER exchange|renames` exits 1 and says so if anything is ever not as it must be.
A step is one operation of the disk, the lease's included. Processes are forked, so hundreds of deaths take seconds.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from downloader.adapters.paths import AdapterPaths
from downloader.adapters.reap import Reaper
from downloader.adapters.stage import Staging
from downloader.filesystem import Disk
from downloader.simulation.adapter import simulate
from tests.adapters.jobs import age

if TYPE_CHECKING:
    from collections.abc import Callable

OLD, NEW = "old", "new"
FILES = ["adapter_config.json", "adapter_model.safetensors"]


class Ext4(Disk):
    """A file system that can exchange two names, as it is."""


class Nfs(Disk):
    """One that cannot."""

    def exchange(self, one: str, other: str) -> bool:
        del one, other
        return False


class SourceGone(Exception):
    """What a download may raise."""


def stage(kind: type[Disk], root: Path, what: str, job: str, fault: Callable[[str], None] | None = None) -> None:
    """Stage an adapter, or fail if it is not an adapter."""
    with kind(root, create=False, fault=fault) as disk:
        place = AdapterPaths("service", "lora", job, os.urandom(8).hex())
        # A process that dies between making its lease and signing it is waited for as long as that.
        staging = Staging(disk, place, ttl=1, waiting=lambda *_: None, sleep=lambda _: None)
        with staging.held("hf://org/lora"):
            if not what:
                raise SourceGone
            staging.promote(simulate(disk, place.download, "hf://org/lora", base_model=what, rank=1))


def fail(kind: type[Disk], root: Path) -> None:
    """Begin to stage, and find no source."""
    with suppress(SourceGone):
        stage(kind, root, "", "job-3")


def whole(folder: Path) -> str:
    """Return which adapter is in a folder; fail if it is not exactly one."""
    assert sorted(path.name for path in folder.iterdir()) == FILES, f"half an adapter in {folder}"
    assert (folder / FILES[1]).stat().st_size == 8 << 10
    return NEW if NEW in (folder / FILES[0]).read_text() else OLD


def in_child(work: Callable[[], None]) -> int:
    """Return how a process ended that did this."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        work()
    except BaseException:  # noqa: BLE001 - the process is left without ceremony
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def dying(step: int) -> Callable[[str], None]:
    """Return the fault that kills the process before this step."""
    steps = count()

    def fault(_doing: str) -> None:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return fault


def die_at(kind: type[Disk], root: Path, step: int, *, first: bool) -> bool:
    """Kill a stage before this step, look, and let others repair it; return whether there was such a step."""
    root.mkdir()
    live = root / "service/lora"
    if not first:
        assert in_child(lambda: stage(kind, root, OLD, "job-0")) == 0
    ended = in_child(lambda: stage(kind, root, NEW, "job-1", dying(step)))
    assert ended in (0, signal.SIGKILL)
    if not live.exists():
        aside = list(root.glob(".aside/service/lora/*"))
        assert first or (kind is Nfs and [whole(path) for path in aside] == [OLD]), "a live adapter is lost"
    else:
        assert whole(live) == NEW or not first
    was = live.exists()
    age(root)  # a lease may be too new to say whose it is
    with kind(root, create=False) as disk:
        Reaper(disk, ("service",), 1800, wall_clock=time.time, sleep=lambda _: None).run()
    assert live.exists() == was, "the reaper changes no live service"
    left = list((root / ".unload-tmp").glob("*"))
    assert not left, f"the reaper leaves {left}"
    if not live.exists() and not first:
        assert in_child(lambda: fail(kind, root)) == 0
        assert whole(live) == OLD, "even a stage that fails puts the old adapter back"
    assert (
        in_child(lambda: stage(kind, root, NEW, "job-1")) == 0
    )  # staging is the Job's own: the reaper leaves it alone
    assert whole(live) == NEW
    left = list(root.glob(".*/*"))
    assert not left, f"a stage leaves {left}"
    return ended != 0


def main() -> None:
    # Where nothing is to be replaced, both kinds do the same.
    folder, kind = Path(sys.argv[1]), {"exchange": Ext4, "renames": Nfs}[sys.argv[2]]
    for first in (False, True) if kind is Ext4 else (False,):
        for step in count():
            try:
                if not die_at(kind, folder / f"{first}-{step}", step, first=first):
                    break
            except AssertionError as error:
                sys.exit(f"killed before step {step}, {first=}: {error}")
        print(step)


if __name__ == "__main__":
    main()
