"""Files that another program wrote for us are taken over, once they are what they should be."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from downloader.errors import IntegrityError, VolumeError
from tests.volume.artifacts import sha256
from tests.volume.partials import DATA, FILE, kill, put, reopened

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from downloader.volume import Volume


def test_a_file_of_another_program_is_adopted_with_our_mode(volume: Volume, target: Path) -> None:
    path = volume.foreign_path(FILE)
    path.write_bytes(DATA)
    path.chmod(0o600)
    partial = volume.partial(FILE)
    put(partial, 0, 1000, bytes(1000))
    partial.adopt()
    assert partial.missing() == []
    view = memoryview(bytearray(len(DATA)))
    assert partial.readinto(0, view) == len(DATA)
    assert view == DATA
    partial.commit(sha256(DATA))
    assert (target / FILE.path).read_bytes() == DATA
    assert stat.S_IMODE((target / FILE.path).stat().st_mode) == 0o644 & ~umask()


def test_an_adopted_file_survives_a_kill(volume: Volume, target: Path) -> None:
    volume.foreign_path(FILE).write_bytes(DATA)
    volume.partial(FILE).adopt()
    kill(target)
    assert reopened(target).missing() == []


def test_an_adopted_file_of_another_size_is_refused(volume: Volume) -> None:
    volume.foreign_path(FILE).write_bytes(DATA[:-1])
    partial = volume.partial(FILE)
    with pytest.raises(IntegrityError):
        partial.adopt()
    partial.close()


@pytest.mark.parametrize("kind", ["missing", "symlink", "second name", "fifo"])
def test_only_a_plain_file_of_its_own_is_adopted(volume: Volume, tmp_path: Path, kind: str) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(DATA)
    path = volume.foreign_path(FILE)
    makers: dict[str, Callable[[], None]] = {
        "missing": lambda: None,
        "symlink": lambda: path.symlink_to(outside),
        "second name": lambda: os.link(outside, path),
        "fifo": lambda: os.mkfifo(path),
    }
    makers[kind]()
    partial = volume.partial(FILE)
    with pytest.raises(VolumeError):
        partial.adopt()
    partial.close()


def umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
