"""The short form of the soak: one volume over each protocol, always with the same disturbances and faults."""

from __future__ import annotations

import pytest

from tests.soak.__main__ import soak
from tests.soak.disturbances import Disturbance
from tests.soak.mirrors import soak_mirrors
from tests.soak.table import allowed, table

SEED = 4628
"""Every protocol gets a SIGKILL and a SIGTERM at least, and XET a dead child."""


@pytest.mark.timeout(600)
def test_killed_at_random_moments_and_through_random_faults_every_protocol_ends_with_right_bytes() -> None:
    tallies = soak(SEED)
    total = tallies.pop("all")
    assert list(tallies) == ["XET", "HF_TRANSFER", "HTTP", "RANGES", "S3"]
    assert all(tally.volumes == 1 and tally.kills for tally in tallies.values())
    assert total.disturbances[Disturbance.KILL] >= 5
    assert total.disturbances[Disturbance.TERM] >= 3
    assert total.faults
    assert all(tally.served <= allowed(tally) for tally in tallies.values()), table(tallies)


@pytest.mark.timeout(600)
def test_killed_and_poisoned_places_bring_right_bytes_or_none() -> None:
    figures = soak_mirrors(SEED, volumes=2)
    assert figures.volumes == 2
    assert figures.unlisted, figures
    assert figures.statuses[0] > figures.volumes, figures
