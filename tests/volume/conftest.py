"""Volumes for the tests of this folder."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from downloader.volume import Volume
from tests.volume.artifacts import URI

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "target"
    path.mkdir()
    return path


@pytest.fixture
def volume(target: Path) -> Iterator[Volume]:
    """A volume whose lease is held."""
    with Volume(target, journal_above=64 << 10, batch=256 << 10) as volume, volume.lease(URI):
        yield volume


@pytest.fixture
def small_file_system(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts file systems in memory with the options given: needs root, and skips without."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        path = tmp_path / f"mounted{len(mounted)}"
        path.mkdir()
        answer = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True, text=True, check=False
        )
        if answer.returncode:
            pytest.skip(f"cannot mount here: {answer.stderr.strip()}")
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
