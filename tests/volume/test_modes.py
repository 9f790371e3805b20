"""The volume as others see it: whole files, with modes that let the right ones in."""

from __future__ import annotations

import os
import stat
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from downloader.volume import Volume
from tests.volume.artifacts import URI, download, remote
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def umask(mask: int) -> Iterator[None]:
    old = os.umask(mask)
    try:
        yield
    finally:
        os.umask(old)


FILES = {"a": b"a", "folder/deep/b": bytes(5 << 20)}


def modes(target: Path) -> dict[str, int]:
    names = ("", "a", "folder", "folder/deep", "folder/deep/b", ".artifact.sha256")
    return {name: stat.S_IMODE((target / name).stat().st_mode) for name in names}


@pytest.mark.parametrize(("mask", "file", "folder"), [(0o022, 0o644, 0o755), (0o027, 0o640, 0o750), (0, 0o644, 0o755)])
def test_files_and_folders_have_the_usual_modes_less_the_umask(
    tmp_path: Path, mask: int, file: int, folder: int
) -> None:
    with umask(mask), Volume(tmp_path / "target") as volume:
        download(volume, FILES)
    assert modes(tmp_path / "target") == {
        "": folder,
        "a": file,
        "folder": folder,
        "folder/deep": folder,
        "folder/deep/b": file,
        ".artifact.sha256": file,
    }


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_setgid_target_gives_everything_to_its_group(tmp_path: Path, mask: int) -> None:
    """As a volume with fsGroup has it: the next user is in the group, with any user id."""
    mount = tmp_path / "mount"
    mount.mkdir()
    if os.geteuid() == 0:
        os.chown(mount, -1, 1000)
    mount.chmod(0o2775)
    with umask(mask), Volume(mount / "models") as volume:
        download(volume, FILES)
    found = modes(mount / "models")
    assert all(found[name] & 0o060 == 0o060 for name in found)
    assert all(found[name] & 0o2070 == 0o2070 for name in ("", "folder", "folder/deep"))
    assert not any(mode & 0o002 for mode in found.values())
    groups = {(mount / "models" / name).stat().st_gid for name in found}
    assert groups == {mount.stat().st_gid}


def test_working_files_can_be_taken_over_by_the_group(tmp_path: Path) -> None:
    tmp_path.chmod(0o2775)
    with umask(0o022), Volume(tmp_path) as volume, volume.lease(URI):
        partial = volume.partial(remote("model.bin", bytes(5 << 20)))
        work = tmp_path / ".downloading"
        for path in (work, *work.rglob("*")):
            assert path.stat().st_mode & 0o020, path
        partial.close()


@pytest.mark.slow
def test_readers_never_see_half_a_file(target: Path) -> None:
    """A thread reads all the time while a file is replaced by its next version."""
    contents = [bytes([number]) * (1 << 20) for number in range(20)]
    seen: list[bytes] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                seen.append((target / "model.bin").read_bytes())
            except FileNotFoundError:
                continue

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with Volume(target) as volume:
            for content in contents:
                download(volume, {"model.bin": content})
        assert eventually(lambda: bool(seen))
    finally:
        done.set()
        reader.join()
    assert all(content in contents for content in seen)
