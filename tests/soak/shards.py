"""Several processes on one volume: killed, frozen, replaced and joined late, on a folder and between nodes."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tests import traces
from tests.command import TIMEOUT, finish, start
from tests.distributed.nodes import Nodes
from tests.servers import ceph, glusterfs
from tests.servers.ceph import Ceph
from tests.servers.glusterfs import GlusterFS
from tests.servers.mounts import unable_to_mount
from tests.soak.artifact import MARKER, WORK
from tests.soak.places import open_places
from tests.soak.table import OVERHEAD, PER_KILL
from tests.soak.volumes import Broken
from tests.waiting import eventually

if TYPE_CHECKING:
    import random
    import subprocess
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from tests.servers.mounts import Distributed
    from tests.soak.artifact import Artifact
    from tests.soak.places import Place

TTL = 3.0
SETTINGS = {"AIM_LEASE_TTL": f"{TTL:g}", "AIM_BANDWIDTH": "20M", "STALL_TIMEOUT": "60"}
"""Slow enough for what happens to fall into the work."""
MAX_PAUSE = 1.5
"""Seconds between two events."""
MAX_EVENTS = 6
SEEN = 5.0
"""Seconds after which a node has surely seen that another one has removed a file; the kernel keeps names for one."""
QUIET = 0.2
"""Of the volumes nothing happens to: there each byte comes once."""
CALM = {"AIM_LEASE_TTL": "60"}
"""Their processes are never taken for dead, however busy the machine is."""
ONCE = 1.02
AGAIN = re.compile(r".* (downloading it|is fetched|be downloaded) again.*")
"""What is said of a file with wrong bytes. No server lies here: they would be of processes that disturb each other."""


class Machine(Protocol):
    """Where a process runs, and how it sees the volume."""

    @property
    def volume(self) -> Path:
        """The folder of the volume."""

    def start(self, *arguments: str | Path, extra: Mapping[str, str]) -> subprocess.Popen[str]:
        """Start the command there."""


@dataclass
class Here:
    """This machine, with the volume in a plain folder."""

    volume: Path

    def start(self, *arguments: str | Path, extra: Mapping[str, str]) -> subprocess.Popen[str]:
        """Start the command here."""
        return start(*arguments, extra=extra)


@dataclass
class Shared:
    """What the volumes on one kind of file system went through."""

    volumes: int = 0
    processes: int = 0
    events: Counter[str] = field(default_factory=Counter)
    needed: int = 0
    served: int = 0

    allowed: float = 0.0
    """Bytes that may have been served, of each volume: a process that was frozen counts like one that was killed."""

    def __add__(self, other: Shared) -> Shared:
        return Shared(
            self.volumes + other.volumes,
            self.processes + other.processes,
            self.events + other.events,
            self.needed + other.needed,
            self.served + other.served,
            self.allowed + other.allowed,
        )

    def __str__(self) -> str:
        happened = ", ".join(f"{count} {what}" for what, count in sorted(self.events.items()) if count)
        sizes = f"{self.needed >> 20} MiB needed, {self.served >> 20} served, {int(self.allowed) >> 20} allowed"
        return f"{self.volumes} volumes, {self.processes} processes, {happened or 'no events'}; {sizes}"


def soak_shards(artifact: Artifact, chance: random.Random, shards: int, seconds: float) -> dict[str, Shared]:
    """Fill volumes on each kind of file system, at least one, and so long. Raises Broken."""
    found: dict[str, Shared] = {}
    with open_places(artifact) as places, tempfile.TemporaryDirectory(prefix="soak-") as folder, ExitStack() as stack:
        kinds = _kinds(stack, Path(folder))
        end = time.monotonic() + seconds
        while not found or time.monotonic() < end:
            for kind, machines in kinds.items():
                place = chance.choice(places)
                with machines() as make:
                    life = _Life(place, artifact, make, chance, shards=shards, scratch=Path(folder, "scratch"))
                    found[kind] = found.get(kind, Shared()) + life.live()
                print(f"{kind}, {place.protocol}: {found[kind]}", flush=True)
    return found


def _kinds(stack: ExitStack, folder: Path) -> dict[str, Callable[[], AbstractContextManager[Callable[[], Machine]]]]:
    """Return kind of file system → what gives a maker of machines that share a new folder on it."""

    @contextmanager
    def plain() -> Iterator[Callable[[], Machine]]:
        with tempfile.TemporaryDirectory(dir=folder) as own:
            yield lambda: Here(Path(own))

    @contextmanager
    def mounted(files: Distributed) -> Iterator[Callable[[], Machine]]:
        with tempfile.TemporaryDirectory(dir=folder) as own, Nodes(files, Path(own), secrets.token_hex(8)) as maker:
            yield maker

    kinds: dict[str, Callable[[], AbstractContextManager[Callable[[], Machine]]]] = {"folder": plain}
    if not unable_to_mount(glusterfs.PROGRAMS):
        kinds["glusterfs"] = partial(mounted, stack.enter_context(GlusterFS(folder / "glusterfs")))
    if not unable_to_mount(ceph.FILE_SYSTEM_PROGRAMS):
        kinds["cephfs"] = partial(mounted, stack.enter_context(Ceph(folder / "ceph")).add_file_system())
    return kinds


class _Life:
    """One volume from nothing to a whole artifact, by processes that are disturbed."""

    def __init__(
        self,
        place: Place,
        artifact: Artifact,
        make: Callable[[], Machine],
        chance: random.Random,
        *,
        shards: int,
        scratch: Path,
    ) -> None:
        self._place, self._artifact, self._chance = place, artifact, chance
        self._tally = Shared(volumes=1, needed=artifact.size)
        self._quiet = chance.random() < QUIET
        self._shards = shards
        self._scratch = scratch
        self._machines = [make() for _ in range(shards)]
        self._reader = make().volume / "t"
        self._running: dict[int, subprocess.Popen[str]] = {}
        self._marks: set[int] = set()
        self._frozen: set[int] = set()
        """Process ids of those that were frozen, and may have lost the lease by that."""

    def live(self) -> Shared:
        """Fill it. Raises Broken."""
        try:
            self._live()
        except Broken as error:
            raise Broken(f"over {self._place.protocol}, after {self._tally}: {error}") from error
        finally:
            for process in self._running.values():
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    finish(process)
        return self._tally

    def _live(self) -> None:
        self._place.log.clear()
        for index in range(self._shards):
            if index and self._chance.random() < 0.2:
                continue  # it comes late
            self._start(index)
        for _ in range(0 if self._quiet else self._chance.randint(1, MAX_EVENTS)):
            eventually(self._look, self._chance.uniform(0.1, MAX_PAUSE))
            if not self._disturb():
                break
        for index in range(self._shards):
            if index not in self._running:
                self._start(index)
        self._await_all()
        eventually(lambda: not (self._reader / WORK).exists(), SEEN)
        if faults := self._artifact.faults_of(self._reader):
            raise Broken(f"the volume is not clean: {faults}")
        self._tally.served = self._place.served()
        self._tally.allowed = (OVERHEAD if self._hits else ONCE) * self._tally.needed + PER_KILL * self._hits
        if self._tally.served > self._tally.allowed:
            raise Broken(f"more was served than is allowed: {self._tally}")
        shutil.rmtree(self._reader)  # a distributed file system of ours has room for a few volumes

    @property
    def _hits(self) -> int:
        """How many could not go on; those that are `starved` lost the lease since the machine gave them no CPU."""
        return sum(self._tally.events[what] for what in ("killed", "frozen", "starved"))

    def _await_all(self) -> None:
        """Let the processes end, and start those again that their Job would."""
        while self._running:
            if not eventually(
                lambda: self._look() or any(one.poll() is not None for one in self._running.values()), TIMEOUT
            ):
                raise Broken(f"no process has ended within {TIMEOUT:g} s: {self._traces()}")
            for index, process in [(index, one) for index, one in self._running.items() if one.poll() is not None]:
                # On a busy machine one may lose its lease, short as that is here; its Job starts it again.
                again = self._end(index, process, {0} if self._quiet else {0, 75}) == 75
                del self._running[index]
                if again:
                    self._start(index)
                    self._tally.events["started again"] += 1
                    self._tally.events["starved"] += process.pid not in self._frozen

    def _traces(self) -> str:
        """End the processes, and return where each thread was, and the logs on the volume."""
        found = [f"{path}:\n{path.read_text()[-2000:]}" for path in self._reader.glob(f"{WORK}/**/*.log")]
        found += [f"{path}: {path.read_text()}" for path in self._reader.glob(f"{WORK}/lease.*")]
        found.append(f"{sorted(map(str, self._reader.glob(f'{WORK}/**')))}")
        for index, process in self._running.items():
            found.append(f"process {index}:\n{traces.end(process)}")
        return "\n".join(found)

    def _start(self, index: int) -> None:
        number = ("--shard", f"{index}/{self._shards}")
        own = {**self._place.environment, **SETTINGS, "HF_HOME": f"{self._scratch}/{index}"}
        own |= CALM if self._quiet else {}
        machine = self._machines[index]
        self._running[index] = machine.start("download", self._place.uri, machine.volume / "t", *number, extra=own)
        self._tally.processes += 1

    def _disturb(self) -> bool:
        living = [index for index, process in self._running.items() if process.poll() is None]
        if not living:
            return False
        index = self._chance.choice(living)
        process = self._running[index]
        if self._chance.random() < 0.6:
            os.killpg(process.pid, signal.SIGKILL)
            self._tally.events["killed"] += 1
            self._end(index, process, {-9, 0, 75})
        else:
            os.killpg(process.pid, signal.SIGSTOP)
            self._frozen.add(process.pid)
            self._tally.events["frozen"] += 1
            eventually(self._look, self._chance.uniform(0.2, 2 * TTL))
            os.killpg(process.pid, signal.SIGCONT)
            if self._chance.random() < 0.5:
                return True
            self._end(index, process, {0, 75})
        del self._running[index]
        if self._chance.random() < 0.7:
            self._start(index)
            self._tally.events["replaced"] += 1
        return True

    def _look(self) -> bool:
        """See what a reader sees; always False, so that it can be polled."""
        if wrong := self._artifact.wrong_names(self._reader):
            raise Broken(f"these have final names: {wrong}")
        try:
            with (self._reader / MARKER).open() as file:
                found, mark = os.fstat(file.fileno()).st_ino, file.read()
        except FileNotFoundError:
            return False
        if not self._artifact.is_listed(mark):
            raise Broken(f"the mark is not that of the artifact: {mark}")
        # Who takes over from a process that was hit after it had published leaves its mark as it is.
        self._marks.add(found)
        if len(self._marks) > 1:
            raise Broken("the artifact was published twice")
        time.sleep(0.1)
        return False

    def _end(self, index: int, process: subprocess.Popen[str], expected: set[int]) -> int:
        result = finish(process)
        if result.status not in expected:
            raise Broken(f"process {index} ended with {result.status}: {result.stderr}")
        if wrong := AGAIN.search(result.stderr):
            raise Broken(f"process {index} met wrong bytes: {wrong[0]}")
        return result.status
