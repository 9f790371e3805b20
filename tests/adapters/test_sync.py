"""`/adapter-subtree-sync.sh`: a service's folder holds what the service declares."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from downloader.adapters.reap import Reaper
from downloader.adapters.sync import sync_service
from downloader.errors import NotUnloaded
from downloader.filesystem import Disk
from tests.adapters.doors import SERVICE, Doors
from tests.command import content

if TYPE_CHECKING:
    from pathlib import Path


def plant(doors: Doors, *adapters: str) -> None:
    doors.plant(*(f"{SERVICE}/{adapter}/{name}" for adapter in adapters for name in ("config", "weights")))


def test_the_service_folder_is_made(doors: Doors) -> None:
    result = doors.sync("")
    assert result.status == 0, result.stderr
    assert doors.live.is_dir()


@pytest.mark.parametrize("keep", ["a,c", " c , a ,", "c,a,absent"])
def test_only_what_is_not_declared_goes(doors: Doors, keep: str) -> None:
    plant(doors, "a", "b", "c")
    doors.plant("other/b/config")
    result = doors.sync(keep)
    assert result.status == 0, result.stderr
    assert sorted(path.name for path in doors.live.iterdir()) == ["a", "c"]
    assert (doors.disk / "other/b/config").is_file()
    assert doors.leftovers() == []


def test_a_list_that_is_empty_on_purpose_declares_nothing(doors: Doors) -> None:
    plant(doors, "a", "b")
    result = doors.sync("")
    assert result.status == 0, result.stderr
    assert list(doors.live.iterdir()) == []


def test_a_name_in_the_list_is_no_pattern_and_no_prefix(doors: Doors) -> None:
    plant(doors, "lora", "lora-2", "lor")
    doors.sync("lora")
    assert [path.name for path in doors.live.iterdir()] == ["lora"]


def test_files_and_hidden_folders_are_no_adapters_but_symlinks_are_taken_away(doors: Doors) -> None:
    doors.plant(f"{SERVICE}/file", f"{SERVICE}/.snapshot/x", "other/a/config", f"{SERVICE}/two words/x")
    (doors.live / "link").symlink_to("../other")
    (doors.live / "broken").symlink_to("nowhere")
    result = doors.sync("")
    assert result.status == 0, result.stderr
    assert sorted(path.name for path in doors.live.iterdir()) == [".snapshot", "file"]
    assert (doors.disk / "other/a/config").is_file()


def test_slots_of_an_earlier_sync_are_removed_and_parked_downloads_are_not(doors: Doors) -> None:
    doors.plant(f".unload-tmp/{SERVICE}/a.x/adapter/file", f".unload-tmp/{SERVICE}/b.job-1/partial/file")
    result = doors.sync("")
    assert result.status == 0, result.stderr
    assert [path for path in doors.leftovers() if path.endswith("file")] == [
        f".unload-tmp/{SERVICE}/b.job-1/partial/file"
    ]


def test_a_failed_move_gives_status_1_after_all_the_others_were_tried(doors: Doors) -> None:
    plant(doors, "a", "b")
    doors.plant(f".unload-tmp/{SERVICE}")  # a file where the slots would be
    result = doors.sync("")
    assert result.status == 1
    assert "one or more adapters could not be moved" in result.last_line
    assert sorted(path.name for path in doors.live.iterdir()) == ["a", "b"]


def test_the_moves_after_a_failed_one_are_made(doors: Doors) -> None:
    plant(doors, "a", "b", "c")

    def fault(doing: str) -> None:
        if doing.startswith("renaming to") and ".unload-tmp" in doing and "/b." in doing:
            raise OSError(16, "busy")

    with Disk(doors.disk, create=False, fault=fault) as disk, pytest.raises(NotUnloaded, match=r"moved out of .*: b"):
        sync_service(disk, SERVICE, (), sleep=lambda _: None)
    assert [path.name for path in doors.live.iterdir()] == ["b"]
    assert len(content(doors.live)) == 2
    assert doors.leftovers() == []


@pytest.mark.parametrize("door", ["sync", "reap"])
def test_who_has_just_opened_an_adapter_has_a_moment_to_read_it_whoever_took_it_away(doors: Doors, door: str) -> None:
    slot = f".unload-tmp/{SERVICE}/a.x/adapter/file"
    doors.plant(slot)
    there: list[bool] = []

    def sleep(seconds: float) -> None:
        if seconds >= 1:
            there.append((doors.disk / slot).exists())

    with Disk(doors.disk, create=False) as disk:
        if door == "sync":
            sync_service(disk, SERVICE, (), sleep=sleep)
        else:
            Reaper(disk, (SERVICE,), 0, wall_clock=time.time, sleep=sleep).run()
    assert there == [True]
    assert doors.leftovers() == []


def test_a_failed_removal_is_a_warning_and_no_failure(doors: Doors, caplog: pytest.LogCaptureFixture) -> None:
    plant(doors, "a", "b")

    def fault(doing: str) -> None:
        if doing.startswith("removing") and "config" in doing:
            raise OSError(16, "busy")

    with Disk(doors.disk, create=False, fault=fault) as disk:
        sync_service(disk, SERVICE, (), sleep=lambda _: None)
    assert list(doors.live.iterdir()) == []
    assert "the reaper will retry" in caplog.text
    assert doors.reap(SERVICE).status == 0
    assert doors.leftovers() == []


def test_an_adapter_disappears_at_once_and_whole(tmp_path: Path) -> None:
    doors = Doors(tmp_path / "pod")
    plant(doors, *(f"a{number}" for number in range(20)))
    seen: set[int] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            for adapter in doors.live.iterdir():
                try:
                    seen.add(len(list(adapter.iterdir())))
                except FileNotFoundError:
                    continue

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert doors.sync("a0").status == 0
    finally:
        stop.set()
        reader.join()
    assert seen == {2}
