"""No path and no symlink leads out of the target."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from downloader.errors import DownloadError, InternalError, VolumeError
from downloader.filesystem.interface import AlreadyThere, InTheWay
from downloader.filesystem.local import Disk
from tests.volume.artifacts import fill, remote

if TYPE_CHECKING:
    from pathlib import Path

    from downloader.volume import Volume


HOSTILE = ["../x", "a/../../x", "/x", "a//x", "./x", "a/.", "..", ".", "", "link/x", "deep/link/x"]


@pytest.mark.parametrize("path", HOSTILE)
@pytest.mark.parametrize("operation", ["create", "open", "unlink", "make_folder", "rename"])
def test_no_path_leads_out_of_the_target(tmp_path: Path, target: Path, path: str, operation: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_bytes(b"precious")
    (tmp_path / "x").write_bytes(b"precious")
    (target / "a").mkdir()
    (target / "deep").mkdir()
    (target / "link").symlink_to(outside)
    (target / "deep/link").symlink_to(outside)
    (target / "ours").write_bytes(b"ours")
    disk = Disk(target)
    arguments = ("ours", path) if operation == "rename" else (path,)
    with pytest.raises((VolumeError, InternalError)):
        getattr(disk, operation)(*arguments)
    assert sorted(name.name for name in outside.iterdir()) == ["x"]
    assert (outside / "x").read_bytes() == (tmp_path / "x").read_bytes() == b"precious"


def test_a_symlink_is_never_opened_listed_or_gone_through(tmp_path: Path, target: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_bytes(b"precious")
    (target / "folder").symlink_to(outside)
    (target / "file").symlink_to(outside / "x")
    disk = Disk(target)
    with pytest.raises(InTheWay):
        disk.open("file")
    with pytest.raises(AlreadyThere):
        disk.create("file")
    with pytest.raises(InTheWay):
        disk.make_folder("folder")
    assert disk.scan("folder") == {}
    assert disk.stat("folder/x") is None
    assert disk.stats("folder", ["x"]) == {}


@pytest.mark.parametrize("kind", ["fifo", "socket", "folder", "device"])
def test_what_is_no_regular_file_is_refused_without_waiting(target: Path, kind: str) -> None:
    path = target / "x"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    elif kind == "folder":
        path.mkdir()
    else:
        try:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
        except PermissionError:
            pytest.skip("devices may not be made here: run as root with CAP_MKNOD")
    for write in (False, True):
        with pytest.raises(InTheWay):
            Disk(target).open("x", write=write)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.sampled_from("./ax\0"), max_size=8))
def test_no_text_as_a_path_makes_anything_outside(tmp_path: Path, path: str) -> None:
    target = tmp_path / "inner"
    target.mkdir(exist_ok=True)
    disk = Disk(target)
    try:
        disk.close(disk.create(path))
    except (DownloadError, ValueError):
        pass
    finally:
        disk.close_all()
    assert [entry.name for entry in tmp_path.iterdir()] == ["inner"]


def test_a_symlink_planted_during_the_run_catches_nothing(volume: Volume, target: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    fill(volume, remote("folder/a", b"a"), b"a")
    (target / "folder/a").unlink()
    (target / "folder").rmdir()
    (target / "folder").symlink_to(outside)
    fill(volume, remote("folder/b", b"b"), b"b")
    assert list(outside.iterdir()) == []
    assert (target / "folder/b").read_bytes() == b"b"


def test_a_folder_that_is_removed_during_the_run_is_made_again(volume: Volume, target: Path) -> None:
    fill(volume, remote("folder/deep/a", b"a"), b"a")
    (target / "folder/deep/a").unlink()
    (target / "folder/deep").rmdir()
    (target / "folder").rmdir()
    fill(volume, remote("folder/deep/b", b"b"), b"b")
    assert (target / "folder/deep/b").read_bytes() == b"b"
