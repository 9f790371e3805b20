"""The short form of the soak: two volumes over each protocol, always with the same blows and faults."""

from __future__ import annotations

import pytest

from tests.soak.__main__ import soak
from tests.soak.mischief import Blow
from tests.soak.table import allowed, table

SEED = 2977
"""Its blows are of every kind, and every protocol gets at least three."""


@pytest.mark.timeout(240)
def test_killed_at_random_moments_and_through_random_faults_every_protocol_ends_with_right_bytes() -> None:
    tallies = soak(SEED, volumes=2)
    total = tallies.pop("all")
    assert list(tallies) == ["XET", "HF_TRANSFER", "HTTP", "RANGES", "S3"]
    assert all(tally.volumes == 2 and tally.kills >= 2 for tally in tallies.values())
    assert total.blows[Blow.KILL] >= 5
    assert total.blows[Blow.TERM] >= 3
    assert total.faults
    assert all(tally.served <= allowed(tally) for tally in tallies.values()), table(tallies)
