"""`make soak`: for so long, volume after volume, one protocol after the other; prints the figures."""

from __future__ import annotations

import itertools
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tests.soak.artifact import MIB, Artifact
from tests.soak.places import open_places
from tests.soak.table import allowed, table
from tests.soak.volumes import Broken, Life, Tally

if TYPE_CHECKING:
    from tests.soak.places import Place

AT_ONCE = 2
"""Volumes that are filled at one time, over different protocols."""


def soak(seconds: float, seed: int) -> dict[str, Tally]:
    """Bring volumes over every protocol, for so many seconds and once at least; return what each protocol went through.

    Raises Broken for a promise that was not kept. The same seed makes the same choices; the clock is not seeded.
    """
    artifact = Artifact()
    end = time.monotonic() + seconds
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as folder,
        open_places(artifact, Path(folder, "s3")) as places,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):

        def live(place: Place, number: int) -> Tally:
            chance = random.Random(f"{seed} {place.protocol} {number}")  # noqa: S311 - mischief, not secrets
            with tempfile.TemporaryDirectory(prefix=f"{place.protocol}-", dir=folder) as own:
                return Life(place, artifact, Path(own), chance).live()

        tallies = {place.protocol: Tally() for place in places}
        for number in itertools.count():
            for place, tally in zip(places, pool.map(live, places, itertools.repeat(number)), strict=True):
                tallies[place.protocol] += tally
            if time.monotonic() > end:
                break
    return {**tallies, "all": sum(tallies.values(), Tally())}


@click.command()
@click.option("--seconds", type=float, default=600, show_default=True, help="How long.")
@click.option("--seed", type=int, help="Of all choices; random by default.")
def main(seconds: float, seed: int | None) -> None:
    """Kill the command at random moments and see that nothing is lost, nothing is wrong and nothing hangs."""
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    print(f"soak of {seconds:g} s with --seed {seed}", flush=True)
    try:
        tallies = soak(seconds, seed)
    except Broken as broken:
        print(broken)
        sys.exit(1)
    print(table(tallies))
    total = tallies["all"]
    if total.served > allowed(total):
        print(f"{total.served // MIB} MiB were served, {allowed(total) / MIB:.0f} MiB are allowed")
        sys.exit(1)


if __name__ == "__main__":
    main()
