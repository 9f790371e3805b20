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
from tests.adapters.jobs import SERVICE, AdapterJobs
from tests.command import content

if TYPE_CHECKING:
    from pathlib import Path


def plant(jobs: AdapterJobs, *adapters: str) -> None:
    jobs.plant(*(f"{SERVICE}/{adapter}/{name}" for adapter in adapters for name in ("config", "weights")))


def test_the_service_folder_is_made(jobs: AdapterJobs) -> None:
    result = jobs.sync("")
    assert result.status == 0, result.stderr
    assert jobs.live.is_dir()


@pytest.mark.parametrize("keep", ["a,c", " c , a ,", "c,a,absent"])
def test_only_what_is_not_declared_goes(jobs: AdapterJobs, keep: str) -> None:
    plant(jobs, "a", "b", "c")
    jobs.plant("other/b/config")
    result = jobs.sync(keep)
    assert result.status == 0, result.stderr
    assert sorted(path.name for path in jobs.live.iterdir()) == ["a", "c"]
    assert (jobs.disk / "other/b/config").is_file()
    assert jobs.remains() == []


def test_a_list_that_is_empty_on_purpose_declares_nothing(jobs: AdapterJobs) -> None:
    plant(jobs, "a", "b")
    result = jobs.sync("")
    assert result.status == 0, result.stderr
    assert list(jobs.live.iterdir()) == []


def test_a_name_in_the_list_is_no_pattern_and_no_prefix(jobs: AdapterJobs) -> None:
    plant(jobs, "lora", "lora-2", "lor")
    jobs.sync("lora")
    assert [path.name for path in jobs.live.iterdir()] == ["lora"]


def test_files_and_hidden_folders_are_no_adapters_but_symlinks_are_taken_away(jobs: AdapterJobs) -> None:
    jobs.plant(f"{SERVICE}/file", f"{SERVICE}/.snapshot/x", "other/a/config", f"{SERVICE}/two words/x")
    (jobs.live / "link").symlink_to("../other")
    (jobs.live / "broken").symlink_to("nowhere")
    result = jobs.sync("")
    assert result.status == 0, result.stderr
    assert sorted(path.name for path in jobs.live.iterdir()) == [".snapshot", "file"]
    assert (jobs.disk / "other/a/config").is_file()


def test_slots_of_an_earlier_sync_are_removed_and_parked_downloads_are_not(jobs: AdapterJobs) -> None:
    jobs.plant(f".unload-tmp/{SERVICE}/a.x/adapter/file", f".unload-tmp/{SERVICE}/b.job-1/partial/file")
    result = jobs.sync("")
    assert result.status == 0, result.stderr
    assert [path for path in jobs.remains() if path.endswith("file")] == [f".unload-tmp/{SERVICE}/b.job-1/partial/file"]


def test_a_failed_move_gives_status_1_after_all_the_others_were_tried(jobs: AdapterJobs) -> None:
    plant(jobs, "a", "b")
    jobs.plant(f".unload-tmp/{SERVICE}")  # a file where the slots would be
    result = jobs.sync("")
    assert result.status == 1
    assert "one or more adapters could not be moved" in result.last_line
    assert sorted(path.name for path in jobs.live.iterdir()) == ["a", "b"]


def test_the_moves_after_a_failed_one_are_made(jobs: AdapterJobs) -> None:
    plant(jobs, "a", "b", "c")

    def fault(doing: str) -> None:
        if doing.startswith("renaming to") and ".unload-tmp" in doing and "/b." in doing:
            raise OSError(16, "busy")

    with Disk(jobs.disk, create=False, fault=fault) as disk, pytest.raises(NotUnloaded, match=r"moved out of .*: b"):
        sync_service(disk, SERVICE, (), sleep=lambda _: None)
    assert [path.name for path in jobs.live.iterdir()] == ["b"]
    assert len(content(jobs.live)) == 2
    assert jobs.remains() == []


@pytest.mark.parametrize("entry_point", ["sync", "reap"])
def test_a_reader_of_an_adapter_has_a_moment_before_its_files_are_removed(jobs: AdapterJobs, entry_point: str) -> None:
    slot = f".unload-tmp/{SERVICE}/a.x/adapter/file"
    jobs.plant(slot)
    there: list[bool] = []

    def sleep(seconds: float) -> None:
        if seconds >= 1:
            there.append((jobs.disk / slot).exists())

    with Disk(jobs.disk, create=False) as disk:
        if entry_point == "sync":
            sync_service(disk, SERVICE, (), sleep=sleep)
        else:
            Reaper(disk, (SERVICE,), 0, wall_clock=time.time, sleep=sleep).run()
    assert there == [True]
    assert jobs.remains() == []


def test_a_failed_removal_is_a_warning_and_no_failure(jobs: AdapterJobs, caplog: pytest.LogCaptureFixture) -> None:
    plant(jobs, "a", "b")

    def fault(doing: str) -> None:
        if doing.startswith("removing") and "config" in doing:
            raise OSError(16, "busy")

    with Disk(jobs.disk, create=False, fault=fault) as disk:
        sync_service(disk, SERVICE, (), sleep=lambda _: None)
    assert list(jobs.live.iterdir()) == []
    assert "the reaper will retry" in caplog.text
    assert jobs.reap(SERVICE).status == 0
    assert jobs.remains() == []


def test_an_adapter_disappears_at_once_and_whole(tmp_path: Path) -> None:
    jobs = AdapterJobs(tmp_path / "pod")
    plant(jobs, *(f"a{number}" for number in range(20)))
    seen: set[int] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            for adapter in jobs.live.iterdir():
                try:
                    seen.add(len(list(adapter.iterdir())))
                except FileNotFoundError:
                    continue

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert jobs.sync("a0").status == 0
    finally:
        stop.set()
        reader.join()
    assert seen == {2}
