"""What goes wrong in the soak: faults of the servers, and signals to the processes. Chosen by one seeded generator."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers.faults import (
    FOREVER,
    Answer,
    Cut,
    Fault,
    Flip,
    HangUp,
    Reset,
    Silence,
    Stall,
    Trickle,
    too_many_requests,
)
from tests.soak.artifact import MIB, SIZES, SPOILED

if TYPE_CHECKING:
    import random
    import subprocess

    from tests.soak.places import Place

LONGEST_WAIT = 1.5
"""Seconds after the start of a run within which a disturbance falls that does not wait for bytes."""
CHILD = b"downloader.transfer.xet.child"


class Disturbance(Enum):
    """How a run is disturbed."""

    KILL = "SIGKILL"
    TERM = "SIGTERM"
    CHILD = "Xet child"
    """SIGKILL for the Xet child alone: the run goes on."""
    ALL = "all at once"
    """SIGKILL for the run and its child in the same moment, as a pod dies."""


@dataclass(frozen=True)
class Plan:
    """What happens to one run."""

    disturbance: Disturbance
    after_bytes: int | None
    """Strike when the server has sent so many bytes; None to strike `after_seconds`."""
    after_seconds: float
    faults: int
    """How many faults were arranged."""


def plan(random: random.Random, place: Place, missing: int) -> Plan:
    """Arrange faults at the place and decide when the signal is sent; `missing` is in bytes."""
    disturbances = [Disturbance.KILL, Disturbance.KILL, Disturbance.TERM]
    if place.protocol == "XET":
        disturbances += [Disturbance.CHILD, Disturbance.ALL]
    faults = random.choice((0, 0, 1, 2, 3))
    for _ in range(faults):
        _arrange(random, place)
    by_bytes = random.random() < 0.8
    return Plan(
        random.choice(disturbances),
        int(random.uniform(0, 1.02) * missing) if by_bytes else None,
        random.uniform(0, LONGEST_WAIT),
        faults,
    )


def _arrange(random: random.Random, place: Place) -> None:
    """Add one fault."""
    if place.answers and random.random() < 0.3:
        answers: list[Fault] = [
            Answer(503),
            Answer(500),
            too_many_requests("1"),
            HangUp(reset=True),
            Silence(random.uniform(0.2, 2)),
        ]
        place.faults.add(random.choice(answers), route=random.choice(place.answers), times=random.choice((1, 2)))
        return
    if place.spoils and random.random() < 0.15:
        place.faults.add(Flip(), route=place.bodies, path=f"*{place.spoils}", offset=random.randrange(SIZES[SPOILED]))
        return
    after = random.choice((0, random.randrange(4 * MIB)))
    bodies: list[Fault] = [
        Reset(after=after),
        Cut(after=after),
        Stall(after=after),
        Stall(after=after, seconds=random.uniform(0.1, 2)),
        Trickle(after=after, rate=random.choice((500, 50_000))),
        Answer(503),
        Answer(500),
        too_many_requests("1"),
        HangUp(reset=random.random() < 0.5),
        Silence(random.uniform(0.2, 2)),
    ]
    times = random.choice((1, 1, 1, 2, 3, 5)) if random.random() < 0.95 else FOREVER
    skip = random.randrange(20)
    place.faults.add(random.choice(bodies), route=place.bodies, skip=skip, times=times)


def kill_nowait(disturbance: Disturbance, process: subprocess.Popen[str], scratch: Path) -> bool:
    """Let the disturbance fall; returns whether it hit anything."""
    if process.poll() is not None:
        return False
    victims = children(scratch) if disturbance in {Disturbance.CHILD, Disturbance.ALL} else []
    if disturbance is not Disturbance.CHILD:
        os.killpg(process.pid, signal.SIGTERM if disturbance is Disturbance.TERM else signal.SIGKILL)
    for victim in victims:
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    return disturbance is not Disturbance.CHILD or bool(victims)


def children(scratch: Path) -> list[int]:
    """Return the Xet children, of whatever run, whose scratch folder is below this one."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with suppress(OSError):
                if CHILD in (process / "cmdline").read_bytes() and bytes(scratch) in (process / "environ").read_bytes():
                    found.append(int(process.name))
    return found
