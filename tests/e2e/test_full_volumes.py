"""No room: on the volume a run ends and can be resumed, in the scratch folder it only goes another way.

What does not fit at all is in tests/e2e/test_failures.py, the layer below in tests/volume/test_preflight_space.py, a
volume that fills up under Xet in tests/faults/test_xet.py.
"""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from downloader.errors import Category
from tests.command import finish, model, run, start
from tests.contract.operator_log import BOTH_STATES, filed
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Held
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.hub import Hub

pytestmark = pytest.mark.root

MIB = 1 << 20
FILES = {"config.json": b"{}", "model.safetensors": Noise(40 * MIB, seed=91).bytes()}
SIZE = sum(map(len, FILES.values()))


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """Mount a small file system."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def use_up(path: Path) -> None:
    """Leave no byte free."""
    with path.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError:
                return


def landed(target: Path) -> int:
    """Return the bytes that unfinished files hold on the volume by now."""
    return sum(512 * part.stat().st_blocks for part in target.rglob("*.part"))


@pytest.mark.parametrize("protocol", ["HF_TRANSFER", "HTTP"])
def test_a_volume_that_another_program_fills_is_finished_when_there_is_room_again(
    protocol: str, stocked: Hub, tmp_path: Path
) -> None:
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": f"{protocol},HTTP", "AIM_CONNECTIONS": "2"}
    held = Held()
    stocked.faults.add(held, route="cdn", offset=24 * MIB, times=FOREVER)
    with mounted(tmp_path / "t", "size=64m") as target:
        process = start("download", "hf://org/model", target, extra=extra)
        assert eventually(lambda: landed(target) > 12 * MIB)
        use_up(target / "theirs")
        held.go_on.set()
        result = finish(process)
        assert result.status == 73, result.stderr
        assert "switching" not in result.stderr
        assert {filed(result.stderr, newest=newest) for newest in BOTH_STATES} == {Category.STORAGE_FULL}
        assert not list(target.glob(".downloading/lease*"))
        (target / "theirs").unlink()
        stocked.log.clear()
        result = run("download", "hf://org/model", target, extra=extra)
        assert result.status == 0, result.stderr
        assert model(target) == FILES
    assert stocked.log.sent("cdn") < SIZE - 8 * MIB


def test_a_volume_without_inodes_is_refused_before_the_first_byte(stocked: Hub, tmp_path: Path) -> None:
    with mounted(tmp_path / "t", "size=64m,nr_inodes=12") as target:
        result = run("download", "hf://org/model", target, extra={"HF_ENDPOINT": stocked.endpoint})
    assert result.status == 73, result.stderr
    assert "inodes" in result.last_line
    assert {filed(result.stderr, newest=newest) for newest in BOTH_STATES} == {Category.STORAGE_FULL}
    assert stocked.log.sent("cdn") == stocked.log.sent("xorb") == 0


SCRATCH = {"without a byte": "size=64k", "without an inode": "size=64k,nr_inodes=2", "read-only": "ro"}


@pytest.mark.parametrize("problem", SCRATCH)
def test_scratch_that_cannot_be_written_is_no_full_volume(problem: str, stocked: Hub, tmp_path: Path) -> None:
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "XET,HF_TRANSFER"}
    with mounted(tmp_path / "scratch", SCRATCH[problem]) as scratch:
        if problem != "read-only":
            use_up(scratch / "theirs")
        extra |= {"HF_HOME": str(scratch / "hf"), "TMPDIR": str(scratch)}
        result = run("download", "hf://org/model", tmp_path / "t", extra=extra)
        alone = run("download", "hf://org/model", tmp_path / "t2", extra={**extra, "AIM_DOWNLOADER_PROTOCOL": "XET"})
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == FILES
    if problem == "without a byte":  # a folder is all that Xet needs
        assert alone.status == 0, alone.stderr
        return
    assert "HF_HOME" in alone.last_line
    assert alone.status == 69, alone.stderr
    assert {filed(alone.stderr, newest=newest) for newest in BOTH_STATES} == {Category.OTHER}
