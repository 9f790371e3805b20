"""The volume of a simulated download: room for everything, and a verification that lasts as long as is asked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from downloader.errors import IntegrityError
from downloader.simulation import RoomyDisk, SimulatedVerification

if TYPE_CHECKING:
    from pathlib import Path


def test_a_simulated_file_never_lacks_room(tmp_path: Path) -> None:
    with RoomyDisk(tmp_path) as disk:
        space = disk.space()

    assert space.free_bytes == sys.maxsize
    assert space.free_files is None


@pytest.mark.parametrize("fails", [False, True])
def test_a_simulated_verification_waits_and_fails_only_if_asked(fails: bool) -> None:  # noqa: FBT001 - pytest's form
    slept: list[float] = []
    verification = SimulatedVerification(slept.append, 10.0, fails)
    if fails:
        with pytest.raises(IntegrityError, match="the simulated verification failed"):
            verification()
    else:
        verification()

    assert slept == [10.0]
