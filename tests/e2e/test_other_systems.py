"""The main job where the system has nothing that Linux alone has, as macOS. All else here runs on Linux alone.

The names are taken away in every process before anything of ours is imported.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.command import environment, model, run
from tests.servers.bucket import Bucket
from tests.volume.artifacts import noise

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.servers.hub import Hub

FILES = {"config.json": b"{}", "folder/model.bin": noise(9 << 20, 1)}
LACKING = '''
import ctypes, errno, mmap, os, pathlib, socket, time

NAMES = {
    os: """O_PATH O_DIRECT O_TMPFILE fdatasync posix_fadvise POSIX_FADV_DONTNEED posix_fallocate preadv preadv2 pwritev2
        sched_getaffinity sched_setaffinity getxattr setxattr removexattr listxattr copy_file_range memfd_create
        pidfd_open splice eventfd getrandom waitid""",
    errno: "EREMOTEIO",
    mmap: "MADV_HUGEPAGE",
    socket: "TCP_INFO TCP_QUICKACK",
    time: "CLOCK_BOOTTIME",
}
for module, names in NAMES.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)

real = ctypes.CDLL

class CDLL(real):
    def __getattr__(self, name):
        if name in ("syncfs", "prctl", "renameat2", "fallocate"):
            raise AttributeError(name)
        return super().__getattr__(name)

ctypes.CDLL = CDLL

def without_proc(method):
    def look(self, *arguments, **more):
        if str(self).startswith(("/proc", "/sys")):
            raise FileNotFoundError(errno.ENOENT, "there is no such thing here", str(self))
        return method(self, *arguments, **more)
    return look

for name in ("read_text", "stat", "iterdir", "open", "exists"):
    setattr(pathlib.Path, name, without_proc(getattr(pathlib.Path, name)))
'''


@pytest.fixture
def elsewhere(tmp_path: Path) -> Mapping[str, str]:
    """What the environment needs so that every Python of a run is on such a system."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(LACKING)
    return {"PYTHONPATH": str(folder)}


def test_the_names_are_really_gone(elsewhere: Mapping[str, str]) -> None:
    program = "import os, pathlib; print(hasattr(os, 'O_PATH'), pathlib.Path('/proc').is_dir())"
    found = subprocess.run(
        [sys.executable, "-c", program], env=environment(elsewhere), capture_output=True, text=True, check=False
    )
    assert found.stdout.split() == ["False", "False"] or "no such thing" in found.stderr


@pytest.mark.parametrize("protocol", ["XET", "RANGES", "HTTP"])
def test_a_model_of_the_hub_is_brought_verified_and_known_again(
    hub: Hub, elsewhere: Mapping[str, str], tmp_path: Path, protocol: str
) -> None:
    hub.create("org/model").commit(FILES)
    extra = {**elsewhere, "HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": protocol}
    target = tmp_path / "target"
    result = run("download", "hf://org/model", target, extra=extra)
    assert result.status == 0, result.stderr
    assert model(target) == FILES
    again = run("download", "hf://org/model", target, extra=extra)
    assert "nothing had to be fetched" in again.stderr
    (target / "config.json").write_bytes(b"!!")
    assert run("verify", target, extra=extra).status == 65
    assert run("download", "hf://org/model", target, extra=extra).status == 0
    assert run("verify", target, extra=extra).status == 0
    assert model(target) == FILES


def test_a_folder_of_a_bucket_is_brought(elsewhere: Mapping[str, str], tmp_path: Path) -> None:
    with Bucket() as bucket:
        for path, data in FILES.items():
            bucket.put(f"m/{path}", data)
        result = run("download", "s3://bucket/m", tmp_path / "target", extra={**bucket.environment, **elsewhere})
    assert result.status == 0, result.stderr
    assert model(tmp_path / "target") == FILES
