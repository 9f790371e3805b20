"""One volume of the soak, from empty to complete through a few disturbed runs and one that is left alone."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests import traces
from tests.command import finish, start
from tests.soak.disturbances import Disturbance, Plan, children, kill_nowait, plan
from tests.waiting import eventually

if TYPE_CHECKING:
    import random
    import subprocess
    from pathlib import Path

    from tests.command import Result
    from tests.soak.artifact import Artifact
    from tests.soak.places import Place

QUICK = {"STALL_TIMEOUT": "4"}
"""Short timeouts for faults."""
TIMEOUT = 120.0
"""Seconds that any run may take: more than all faults together can cost within that, also on a busy machine."""
TERM_TIMEOUT = 60.0
"""Seconds between SIGTERM and the end of the process: ten are promised, where the machine is not busy."""
UNDISTURBED = {"STALL_TIMEOUT": "60"}
"""The last run meets no faults: what it waits for is a busy machine."""
EXPECTED = {0, 65, 69, 75}
"""How a run may end that was only troubled by faults."""

ENDS = {Disturbance.KILL: {-9}, Disturbance.TERM: {143}, Disturbance.CHILD: set[int](), Disturbance.ALL: {-9}}
"""How else a run may end that was hit."""


class Broken(AssertionError):
    """A promise was not kept."""


@dataclass
class Tally:
    """What one protocol went through."""

    volumes: int = 0
    runs: int = 0
    disturbances: Counter[Disturbance] = field(default_factory=Counter)
    faults: int = 0
    needed: int = 0
    """Bytes that had to come: the artifact once for each volume."""
    served: int = 0
    """Bytes of bodies that the servers sent."""
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def kills(self) -> int:
        return self.disturbances.total()

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.volumes + other.volumes,
            self.runs + other.runs,
            self.disturbances + other.disturbances,
            self.faults + other.faults,
            self.needed + other.needed,
            self.served + other.served,
            self.statuses + other.statuses,
        )


class Life:
    """A volume's way from nothing to a whole artifact. Raises Broken for the first promise that is not kept."""

    def __init__(self, place: Place, artifact: Artifact, folder: Path, random: random.Random) -> None:
        self._place = place
        self._artifact = artifact
        self._target = folder / "volume"
        self._scratch = folder / "scratch"
        self._random = random
        self._tally = Tally(volumes=1, needed=artifact.size)

    def live(self) -> Tally:
        """Disturb one to four runs, then let one end."""
        try:
            for _ in range(self._random.randint(1, 4)):
                self._disturbed_run()
            self._last_run()
        except Broken as error:
            raise Broken(f"{self._place.protocol}, after {self._tally}: {error}") from error
        return self._tally

    def _disturbed_run(self) -> None:
        missing = max(1, self._artifact.size - self._tally.served)
        what = plan(self._random, self._place, missing)
        process = self._start()
        self._wait_for_the_moment(process, what)
        hit = kill_nowait(what.disturbance, process, self._scratch)
        result = self._end(process, TERM_TIMEOUT if hit and what.disturbance is Disturbance.TERM else TIMEOUT)
        self._tally.disturbances[what.disturbance] += hit
        self._tally.faults += what.faults
        by_disturbance = ENDS[what.disturbance] if hit else set[int]()
        if not result.stderr:
            by_disturbance = by_disturbance | {-15}  # before Python itself has started
        if result.status not in EXPECTED | by_disturbance:
            raise Broken(f"{what} ended with {result.status}: {result.stderr}")
        if result.status == 143 and process.pid in self._lease_holders():
            raise Broken(f"{what} left its lease behind: {result.stderr}")
        if wrong := self._artifact.wrong_names(self._target):
            raise Broken(f"after {what} these have final names: {wrong}")

    def _wait_for_the_moment(self, process: subprocess.Popen[str], what: Plan) -> None:
        def arrived() -> bool:
            if what.after_bytes is None:
                return process.poll() is not None
            return self._place.served() >= what.after_bytes or process.poll() is not None

        eventually(arrived, what.after_seconds if what.after_bytes is None else TIMEOUT)
        if what.disturbance is Disturbance.CHILD:
            eventually(lambda: bool(children(self._scratch)) or process.poll() is not None, 1)

    def _last_run(self) -> None:
        result = self._end(self._start(**UNDISTURBED), TIMEOUT)
        if result.status != 0:
            raise Broken(f"an undisturbed run ended with {result.status}: {result.stderr}")
        if faults := self._artifact.faults_of(self._target):
            raise Broken(f"the volume is not clean: {faults}\n{result.stderr}")

    def _lease_holders(self) -> list[int]:
        return [json.loads(lease.read_text())["pid"] for lease in self._target.glob(".downloading/lease.*")]

    def _start(self, **settings: str) -> subprocess.Popen[str]:
        self._place.log.clear()
        own = {"HF_HOME": str(self._scratch)}
        extra = {**QUICK, **self._place.environment, **own, **settings}
        self._tally.runs += 1
        return start("download", self._place.uri, self._target, extra=extra)

    def _wait(self, process: subprocess.Popen[str], timeout: float) -> Result:
        if not eventually(lambda: process.poll() is not None, timeout):
            raise Broken(f"a run did not end within {timeout:g} s: {traces.end(process)}")
        return finish(process)

    def _end(self, process: subprocess.Popen[str], timeout: float) -> Result:
        """Wait for the process and everything that it started, and count what it was sent."""
        result = self._wait(process, timeout)
        if not eventually(lambda: not children(self._scratch), TERM_TIMEOUT):
            raise Broken(f"a child outlives its run: {result.stderr}")
        self._place.faults.clear()
        self._tally.statuses[result.status] += 1
        self._tally.served += self._place.served()
        return result
