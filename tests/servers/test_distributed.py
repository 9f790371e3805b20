"""The distributed file systems of the suite do across their mounts what our leases and claims rely on."""

from __future__ import annotations

import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest

from tests.servers.mounts import Mount
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RACES = 10


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.root) for kind in ("glusterfs", "cephfs")])
def mounts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Path]]:
    """One folder through two mounts."""
    folder = secrets.token_hex(8)  # a parallel run shares the file system, and names of tmp_path repeat in it
    with ExitStack() as stack:
        files = request.getfixturevalue(request.param)
        places = [stack.enter_context(Mount(files, tmp_path / name)).place / folder for name in ("one", "other")]
        places[0].mkdir()
        yield places


def creates(place: Path, number: int) -> bool:
    with suppress(FileExistsError):
        os.close(os.open(place / f"new-{number}", os.O_CREAT | os.O_EXCL))
        return True
    return False


def renames(place: Path, number: int) -> bool:
    with suppress(FileNotFoundError):
        (place / f"old-{number}").rename(place / f"taken-{number}-{os.urandom(8).hex()}")
        return True
    return False


@pytest.mark.parametrize("attempt", [creates, renames])
def test_of_two_nodes_that_try_at_once_one_succeeds(mounts: list[Path], attempt: Callable[[Path, int], bool]) -> None:
    with ThreadPoolExecutor(2) as pool:
        for number in range(RACES):
            (mounts[number % 2] / f"old-{number}").touch()
        for number in range(RACES):
            assert sorted(pool.map(attempt, mounts, [number] * 2)) == [False, True]


def test_what_one_node_synced_another_one_reads(mounts: list[Path]) -> None:
    here, there = mounts
    with (here / "file").open("wb") as file:
        for number in range(3):
            file.write(bytes([number]) * 4096)
            file.flush()
            os.fsync(file.fileno())
            size = (number + 1) * 4096
            assert eventually(lambda: (there / "file").stat().st_size == size)  # noqa: B023 - called at once
            assert (there / "file").read_bytes()[-1] == number


def test_ranges_that_two_nodes_write_into_one_file_are_both_there(mounts: list[Path]) -> None:
    (mounts[0] / "file").touch()
    os.truncate(mounts[0] / "file", 64 << 12)

    def write(half: int) -> None:
        handle = os.open(mounts[half] / "file", os.O_WRONLY)
        for block in range(half, 64, 2):
            os.pwrite(handle, bytes([block]) * 4096, block << 12)
        os.fsync(handle)
        os.close(handle)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, (0, 1)))
    for place in mounts:
        assert (place / "file").read_bytes() == b"".join(bytes([block]) * 4096 for block in range(64))
