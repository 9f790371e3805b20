"""Users without a name: pods of one namespace run under any id, and share a volume through its group.

The image under such users is in tests/image, the modes of files in tests/volume/test_modes.py.
"""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command import finish, model, start
from tests.needs import PRIVILEGES, able
from tests.servers.blobs import Noise
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.hub import Hub

MIB = 1 << 20
FILES = {"config.json": b"{}", "sub/model.safetensors": Noise(60 * MIB, seed=95).bytes()}
PARTS = "t/.downloading/parts.*/*.part"
pytestmark = pytest.mark.root

GROUP = 1000
FIRST, SECOND, STRANGER = 1_234_567, 7_654_321, 1_111_111


def user(uid: int, gid: int = GROUP) -> list[str]:
    """Return how to become this user, who may read what root may: Python itself, wherever that is installed."""
    reading = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search")
    return ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", *reading]


@pytest.fixture
def volume() -> Iterator[Path]:
    """A volume as fsGroup makes it."""
    able(*user(FIRST), "true", get=f"apt-get install util-linux, and {PRIVILEGES}")
    with tempfile.TemporaryDirectory(prefix="users-") as folder:
        os.chown(folder, 0, GROUP)
        Path(folder).chmod(0o2775)
        yield Path(folder)


@pytest.mark.parametrize("protocol", ["XET", "HF_TRANSFER"])
def test_what_one_user_began_another_of_the_group_finishes(protocol: str, hub: Hub, volume: Path) -> None:
    hub.create("org/model").commit(FILES)
    extra = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": protocol, "AIM_CONNECTIONS": "2"}
    own = {**extra, "HF_HOME": str(volume / "h"), "AIM_BANDWIDTH": "20M"}
    process = start("download", "hf://org/model", volume / "t", extra=own, through=user(FIRST))
    # What has landed counts: Xet fetches much of a small file before a byte of it comes out.
    assert eventually(lambda: any(part.stat().st_blocks > 40 * MIB // 512 for part in volume.glob(PARTS)))
    os.killpg(process.pid, signal.SIGKILL)
    finish(process)
    hub.log.clear()
    own = {**extra, "HF_HOME": str(volume / "h2")}
    result = finish(start("download", "hf://org/model", volume / "t", extra=own, through=user(SECOND)))
    assert result.status == 0, result.stderr
    assert model(volume / "t") == FILES
    assert hub.log.sent("cdn") + hub.log.sent("xorb") < 50 * MIB
    for path in (volume / "t").rglob("*"):
        assert path.stat().st_gid == GROUP
        assert path.stat().st_mode & 0o060 == 0o060
        assert path.stat().st_mode & 0o002 == 0


def test_a_user_with_read_access_finds_silent_rot_and_is_told_what_to_do(hub: Hub, volume: Path) -> None:
    hub.create("org/model").commit(FILES)
    extra = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER"}
    assert finish(start("download", "hf://org/model", volume, extra=extra, through=user(FIRST))).status == 0
    victim = volume / "sub/model.safetensors"
    times = victim.stat().st_atime_ns, victim.stat().st_mtime_ns
    with victim.open("r+b") as file:
        file.write(b"rotten")
    os.utime(victim, ns=times)
    result = finish(start("verify", volume, through=user(STRANGER, STRANGER)))
    assert result.status == 65, result.stderr
    assert "remove these" in result.last_line
    result = finish(start("verify", volume, through=user(FIRST)))
    assert result.status == 65, result.stderr
    assert "remove" not in result.last_line
    assert finish(start("download", "hf://org/model", volume, extra=extra, through=user(FIRST))).status == 0
    assert model(volume) == FILES


def test_a_user_without_write_access_is_told_which_user_needs_it(hub: Hub, volume: Path) -> None:
    hub.create("org/model").commit(FILES)
    stranger = user(STRANGER, STRANGER)
    process = start("download", "hf://org/model", volume, extra={"HF_ENDPOINT": hub.endpoint}, through=stranger)
    result = finish(process)
    assert result.status == 74, result.stderr
    assert f"writable for user {STRANGER}" in result.last_line


@pytest.mark.usefixtures("volume")
def test_a_limit_of_processes_is_no_bug_to_report(hub: Hub) -> None:
    hub.create("org/model").commit(FILES)
    only_one = ["prlimit", "--nproc=1", *user(FIRST)]
    result = finish(start("list", "hf://org/model", extra={"HF_ENDPOINT": hub.endpoint}, through=only_one))
    assert result.status == 70, result.stderr
    assert "no more threads" in result.last_line
    assert "report" not in result.last_line
