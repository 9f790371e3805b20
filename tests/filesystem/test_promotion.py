"""The operations of a disk that only the promotion of adapters needs."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from downloader.errors import VolumeError
from downloader.filesystem import Disk, Kind, NotThere, renameat2
from tests.needs import COMMON_FILE_SYSTEM

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    (tmp_path / "one/in").mkdir(parents=True)
    (tmp_path / "two").mkdir()
    (tmp_path / "two/file").write_bytes(b"2")
    return Disk(tmp_path, create=False)


def test_two_paths_are_exchanged_in_one_step(disk: Disk, tmp_path: Path) -> None:
    if not disk.exchange("one", "two"):
        pytest.skip(f"this file system cannot exchange names: {COMMON_FILE_SYSTEM}")
    assert (tmp_path / "one/file").read_bytes() == b"2"
    assert (tmp_path / "two/in").is_dir()


def test_a_path_that_is_missing_cannot_be_exchanged(disk: Disk) -> None:
    with pytest.raises(NotThere):
        disk.exchange("one", "three")


def test_where_names_cannot_be_exchanged_nothing_is_changed(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renameat2, "_renameat2", lambda: None)
    assert not disk.exchange("one", "two")
    assert (tmp_path / "one/in").is_dir()


def test_a_folder_that_was_opened_stays_that_folder(disk: Disk, tmp_path: Path) -> None:
    with disk.inside("one") as opened:
        assert disk.is_at("one", opened)
        assert opened.name == f"{tmp_path}/one"
        disk.rename("one", "moved")
        assert not disk.is_at("one", opened)
        opened.make_folder("new")
    assert (tmp_path / "moved/new").is_dir()


def test_only_a_folder_can_be_opened(disk: Disk) -> None:
    with pytest.raises(VolumeError):
        disk.inside("two/file")


def test_folders_of_one_file_system_have_one_device(disk: Disk) -> None:
    assert disk.device("one") == disk.device("two") == disk.device("")


@pytest.mark.parametrize(("mode", "expected"), [(0o600, 0o644), (0o700, 0o755), (0o444, 0o644)])
def test_a_file_is_made_readable_and_stays_executable(disk: Disk, tmp_path: Path, mode: int, expected: int) -> None:
    (tmp_path / "two/file").chmod(mode)
    disk.make_readable("two/file", Kind.FILE)
    assert stat.S_IMODE((tmp_path / "two/file").stat().st_mode) == expected


def test_a_folder_is_made_readable(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "one").chmod(0o700)
    disk.make_readable("one", Kind.FOLDER)
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o755
