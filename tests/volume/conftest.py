"""Volumes for the tests of this folder."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from downloader.volume import Volume
from tests.needs import PRIVILEGES, able
from tests.volume.artifacts import URI, download

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "target"
    path.mkdir()
    return path


@pytest.fixture
def volume(target: Path) -> Iterator[Volume]:
    """A volume whose lease is held."""
    with Volume(target, journal_above=64 << 10, unsynced_limit=256 << 10) as volume, volume.lease(URI):
        yield volume


@pytest.fixture
def finished(target: Path, request: pytest.FixtureRequest) -> Path:
    """A target with the FILES of the test's module, complete and marked."""
    with Volume(target) as volume:
        download(volume, request.module.FILES)
    return target


class Mounts:
    """Mounts small file systems as root, and skips the test where even root may not."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder = folder
        self._kind = kind
        self._mounted: list[Path] = []

    def __call__(self, mebibytes: int, *, inodes: int | None = None, options: str = "") -> Path:
        """Return a new file system with about that much room, empty."""
        path = self._folder / f"mounted{len(self._mounted)}"
        path.mkdir()
        extra = [f"nr_inodes={inodes}"] if inodes and self._kind == "tmpfs" else []
        if self._kind == "tmpfs":
            chosen = ",".join([f"size={mebibytes}m", *extra, *filter(None, [options])])
            self._run("mount", "-t", "tmpfs", "-o", chosen, "tmpfs", str(path))
        else:
            image = path.with_suffix(".ext4")
            with image.open("wb") as file:
                file.truncate((mebibytes + 5) << 20)  # the file system needs as much for itself
            count = ["-N", str(inodes)] if inodes else []
            self._run("mkfs.ext4", "-q", "-b", "4096", "-m", "0", *count, str(image))
            self._run("mount", "-o", ",".join(["loop", *filter(None, [options])]), str(image), str(path))
        self._mounted.append(path)
        return path

    def _run(self, *command: str) -> None:
        able(*command, get=f"apt-get install e2fsprogs, and {PRIVILEGES}")

    def close(self) -> None:
        for path in self._mounted:
            subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.root) for kind in ("tmpfs", "ext4")])
def mounted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mounts]:
    """A maker of small file systems, in memory and on a loop device."""
    mounts = Mounts(tmp_path, request.param)
    yield mounts
    mounts.close()
