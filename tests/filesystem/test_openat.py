"""Paths below the target are walked without following a symlink, in one call where the kernel has it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from downloader.errors import InternalError
from downloader.filesystem import openat2
from downloader.filesystem.interface import AlreadyThere, InTheWay, NotThere
from downloader.filesystem.local import Disk
from downloader.filesystem.openat2 import OpenHow, open_below

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATH = OpenHow(getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC)


@pytest.fixture(params=["at once", "part by part"])
def disk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """Give a target, on a kernel with the call and on one without it."""
    if request.param == "part by part":
        monkeypatch.setattr(openat2, "_openat2", lambda: None)
    elif openat2._openat2() is None:  # noqa: SLF001 - there is no other way to know
        pytest.skip("there is no openat2: it takes Linux 5.6, and a sandbox that lets it through")
    (tmp_path / "target/a/b").mkdir(parents=True)
    with Disk(tmp_path / "target") as opened:
        yield opened


def test_a_file_is_created_with_its_mode_wherever_it_is(disk: Disk, tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        for path in ("top.part", "a/one.part", "a/b/two.part"):
            disk.close(disk.create(path))
            assert stat.S_IMODE((tmp_path / "target" / path).stat().st_mode) == 0o640
            with pytest.raises(AlreadyThere):
                disk.create(path)
    finally:
        os.umask(old)


def test_no_symlink_is_followed(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "target/link").symlink_to("a")
    (tmp_path / "target/a/out").symlink_to(tmp_path)
    for path in ("link/x", "link/b/x", "a/out/x", "a/out/target/x"):
        with pytest.raises(InTheWay):
            disk.create(path)
        disk.close(disk.create("a/b/source"))
        with pytest.raises(InTheWay):
            disk.rename("a/b/source", path)
        disk.unlink("a/b/source")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["target"]


def test_no_step_leads_out(disk: Disk) -> None:
    for path in ("../x", "a/../x", "a/./x", "a//x"):
        with pytest.raises(InternalError):
            disk.create(path)


def test_who_holds_a_folder_that_was_moved_away_can_name_nothing_any_more(disk: Disk, tmp_path: Path) -> None:
    """It is the fence: the process that takes over renames the folder of partials."""
    disk.close(disk.create("a/b/file.part"))
    (tmp_path / "target/a/b").rename(tmp_path / "target/a/c")
    with pytest.raises(NotThere):
        disk.rename("a/b/file.part", "file")
    with pytest.raises(NotThere):
        disk.create("a/b/other.part")
    assert not (tmp_path / "target/file").exists()


def test_the_one_call_refuses_what_the_walk_refuses(tmp_path: Path) -> None:
    (tmp_path / "target/a").mkdir(parents=True)
    (tmp_path / "target/link").symlink_to("a")
    with Disk(tmp_path / "target") as disk:
        root = disk._root  # noqa: SLF001 - what the call begins with
        assert open_below(root, "missing", PATH) == open_below(root, "link/x", PATH) == -1
        assert open_below(root, "..", PATH) == open_below(root, "a/../..", PATH) == -1
        assert open_below(root, "a\0b", PATH) == -1
