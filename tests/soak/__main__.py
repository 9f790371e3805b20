"""`make soak`: for so long, volume after volume, one protocol after the other; prints the figures."""

from __future__ import annotations

import queue
import random
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tests.soak.artifact import Artifact
from tests.soak.mirrors import soak_mirrors
from tests.soak.places import open_places
from tests.soak.shards import soak_shards
from tests.soak.table import allowed, table
from tests.soak.volumes import Broken, Life, Tally

if TYPE_CHECKING:
    from tests.soak.places import Place

AT_ONCE = 2
"""Volumes that are filled at one time, over different protocols."""


def soak(seed: int, *, seconds: float = 0) -> dict[str, Tally]:
    """Fill volumes over every protocol, at least one and so long; return what each protocol went through.

    Raises Broken for a promise that was not kept. The same seed makes the same choices; the clock is not seeded.
    """
    artifact = Artifact()
    end = time.monotonic() + seconds
    ended = threading.Event()
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as folder,
        open_places(artifact) as places,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        tallies = {place.protocol: Tally() for place in places}
        turns: queue.SimpleQueue[tuple[int, Place]] = queue.SimpleQueue()
        for place in places:
            turns.put((0, place))

        def live() -> None:
            """Fill one volume after the other, each at the place whose last turn is longest ago."""
            while not ended.is_set():
                number, place = turns.get()
                if number and time.monotonic() > end:
                    return
                chance = random.Random(f"{seed} {place.protocol} {number}")  # noqa: S311 - faults, not secrets
                with tempfile.TemporaryDirectory(prefix=f"{place.protocol}-", dir=folder) as own:
                    tallies[place.protocol] += Life(place, artifact, Path(own), chance).live()
                turns.put((number + 1, place))

        def live_or_end() -> None:
            try:
                live()
            except BaseException:
                ended.set()  # for the others, too
                raise

        for life in [pool.submit(live_or_end) for _ in range(AT_ONCE)]:
            life.result()
    return {**tallies, "all": sum(tallies.values(), Tally())}


@click.command()
@click.option("--seconds", type=float, default=600, show_default=True, help="How long.")
@click.option("--seed", type=int, help="Of all choices; random by default.")
@click.option("--mirrors", is_flag=True, help="Kill and poison places instead: an origin and its mirrors.")
@click.option("--shards", type=int, default=0, help="So many processes on each volume instead, also between nodes.")
def main(seconds: float, seed: int | None, shards: int, *, mirrors: bool) -> None:
    """Kill the command at random moments and see that nothing is lost, nothing is wrong and nothing hangs."""
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    print(f"soak of {seconds:g} s with --seed {seed}", flush=True)
    if mirrors:
        try:
            print(soak_mirrors(seed, seconds=seconds))
        except Broken as broken:
            print(broken)
            sys.exit(1)
        return
    if shards:
        try:
            soak_shards(Artifact(), random.Random(seed), shards, seconds)  # noqa: S311
        except Broken as broken:
            print(broken)
            sys.exit(1)
        return
    try:
        tallies = soak(seed, seconds=seconds)
    except Broken as broken:
        print(broken)
        sys.exit(1)
    print(table(tallies))
    if wasteful := [name for name, tally in tallies.items() if tally.served > allowed(tally)]:
        print(f"more was served than is allowed: {', '.join(wasteful)}")
        sys.exit(1)


if __name__ == "__main__":
    main()
