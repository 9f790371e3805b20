"""`/adapter-reap.sh`: what it removes, what it leaves, and that it continues after errors."""

from __future__ import annotations

import inspect
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from downloader.adapters.reap import Reaper
from downloader.config.adapters import AdapterReapSettings
from downloader.filesystem import Disk
from tests.adapters.jobs import HOUR, SERVICE, AdapterJobs, age
from tests.command import content, finish
from tests.needs import PRIVILEGES, able
from tests.servers.faults import Stall
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.hub import Hub

AGED = str(HOUR // 2)
"""A MIN_AGE_SECONDS that what is an hour old has passed."""


def test_only_services_that_are_not_kept_are_removed(jobs: AdapterJobs) -> None:
    jobs.plant("live/a/file", "dead/a/file", "dead/b/sub/file", "also-live/a/file")
    age(jobs.disk)
    result = jobs.reap("live, also-live ,", AGED)
    assert result.status == 0, result.stderr
    assert sorted(content(jobs.disk)) == ["also-live/a/file", "live/a/file"]
    assert not (jobs.disk / "dead").exists()


def test_what_changed_a_short_while_ago_is_left_alone(jobs: AdapterJobs) -> None:
    jobs.plant("dead/a/file", ".staging/dead/a.1/file", ".aside/dead/a/file", ".unload-tmp/live/a.x/adapter/file")
    before = jobs.snapshot()
    result = jobs.reap("live", AGED)
    assert result.status == 0
    assert jobs.snapshot() == before


def test_the_age_is_that_of_the_service_folder_itself(jobs: AdapterJobs) -> None:
    jobs.plant("old/a/file", "new/a/file")
    age(jobs.disk)
    jobs.plant("old/a/more")
    jobs.plant("new/b/file")
    jobs.reap("", AGED)
    assert sorted(content(jobs.disk)) == ["new/a/file", "new/b/file"]


def test_a_list_that_is_empty_on_purpose_still_leaves_all_that_is_no_service(jobs: AdapterJobs) -> None:
    jobs.plant(
        "lost+found/file", ".snapshot/file", "$RECYCLE.BIN/file", "a file", "file", ".hidden/x/file", "two words/file"
    )
    (jobs.disk / "link").symlink_to(jobs.folder)
    for control in (".staging", ".aside", ".unload-tmp"):
        (jobs.disk / control).mkdir()
    before = jobs.snapshot()
    jobs.plant("dead/a/file")
    result = jobs.reap("", "0")
    assert result.status == 0, result.stderr
    assert jobs.snapshot() == before


def test_control_folders_lose_the_entries_of_dead_services_and_only_those(jobs: AdapterJobs) -> None:
    jobs.plant(
        ".staging/dead/a.1/file",
        ".aside/dead/a/1/file",
        ".staging/live/a.1/file",
        ".aside/live/a/1/file",
        ".aside/file",
    )
    age(jobs.disk)
    result = jobs.reap("live", AGED)
    assert result.status == 0, result.stderr
    assert sorted(content(jobs.disk)) == [".aside/live/a/1/file", ".staging/live/a.1/file"]
    assert not (jobs.disk / ".staging/dead").exists()


def test_old_slots_are_removed_for_living_services_too(jobs: AdapterJobs) -> None:
    jobs.plant(".unload-tmp/live/old.x/adapter/file", ".unload-tmp/dead/old.y/adapter/file")
    age(jobs.disk)
    jobs.plant(".unload-tmp/live/new.z/adapter/file")
    result = jobs.reap("live", AGED)
    assert result.status == 0, result.stderr
    assert sorted(content(jobs.disk)) == [".unload-tmp/live/new.z/adapter/file"]
    assert [path.name for path in (jobs.disk / ".unload-tmp").iterdir()] == ["live"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1800", 1800), (" 90 ", 90), ("0.5", 0.5), ("", 0), ("0", 0), ("soon", 0), ("-5", 0), ("nan", 0), ("0x10", 0)],
)
def test_an_age_that_is_no_number_is_zero(text: str, seconds: float) -> None:
    environ = {"ADAPTER_PVC_ROOT": "/disk", "KEEP_SERVICE_IDS": "a", "MIN_AGE_SECONDS": text}
    assert AdapterReapSettings.from_environment(environ).min_age == seconds


@pytest.mark.parametrize("min_age", [None, "soon"])
def test_without_an_age_the_youngest_service_goes(jobs: AdapterJobs, min_age: str | None) -> None:
    jobs.plant("dead/a/file")
    result = jobs.reap("live", min_age)
    assert result.status == 0, result.stderr
    assert not (jobs.disk / "dead").exists()


def test_symlinks_are_removed_and_not_followed(jobs: AdapterJobs) -> None:
    jobs.plant("dead/a/file", "live/a/file", ".unload-tmp/live/s.1/adapter/file")
    (jobs.folder / "outside").mkdir()
    (jobs.folder / "outside/precious").write_text("precious")
    for place in ("dead/up", "dead/a/up", ".unload-tmp/live/up", ".unload-tmp/up", ".staging", "gone"):
        (jobs.disk / place).symlink_to(jobs.folder / "outside")
    (jobs.disk / "dead/live").symlink_to("../live")
    result = jobs.reap("live", "0")
    assert result.status == 0, result.stderr
    assert (jobs.folder / "outside/precious").read_text() == "precious"
    assert sorted(path for path in content(jobs.disk) if not path.startswith((".staging", "gone", ".unload"))) == [
        "live/a/file"
    ]
    assert not (jobs.disk / "dead").exists()


def test_mtimes_in_the_future_keep_a_folder_and_do_no_other_harm(jobs: AdapterJobs) -> None:
    jobs.plant("ahead/a/file", "dead/a/file", ".unload-tmp/live/ahead.1/adapter/file")
    age(jobs.disk)
    age(jobs.disk / "ahead", -10 * HOUR)
    age(jobs.disk / ".unload-tmp/live/ahead.1", -10 * HOUR)
    result = jobs.reap("live", AGED)
    assert result.status == 0, result.stderr
    assert sorted(content(jobs.disk)) == [".unload-tmp/live/ahead.1/adapter/file", "ahead/a/file"]


@pytest.mark.parametrize("hours", [-5, 0, 5])
def test_a_wrong_clock_of_the_reapers_node_makes_nothing_older(jobs: AdapterJobs, hours: int) -> None:
    jobs.plant("young/a/file")
    now = (jobs.disk / "young").stat().st_mtime + hours * HOUR
    with Disk(jobs.disk, create=False) as disk:
        Reaper(disk, (), float(AGED), wall_clock=lambda: now, sleep=lambda _: None).run()
    assert (jobs.disk / "young/a/file").exists()


def test_what_is_promoted_while_the_reaper_looks_makes_the_service_young(jobs: AdapterJobs) -> None:
    jobs.plant("dead/old/file")
    age(jobs.disk)

    def fault(doing: str) -> None:
        if doing.startswith("listing") and doing.endswith("/dead") and not (jobs.disk / "dead/new").exists():
            jobs.plant("dead/new/file")

    with Disk(jobs.disk, create=False, fault=fault) as disk:
        Reaper(disk, (), float(AGED), wall_clock=time.time, sleep=lambda _: None).run()
    assert sorted(content(jobs.disk)) == ["dead/new/file", "dead/old/file"]


def test_a_failed_removal_is_a_warning_and_the_others_go_on(jobs: AdapterJobs) -> None:
    jobs.plant("dead-1/a/file", "dead-2/a/file", "dead-3/a/file", ".unload-tmp/live/s.1/adapter/file")
    stuck = jobs.disk / "dead-2/a/file"

    def fault(doing: str) -> None:
        if doing.startswith("removing") and "dead-2/" in doing:
            raise OSError(16, "busy")

    with Disk(jobs.disk, create=False, fault=fault) as disk:
        Reaper(disk, ("live",), 0, wall_clock=lambda: 2e9, sleep=lambda _: None).run()
    assert sorted(content(jobs.disk)) == ["dead-2/a/file"]
    stuck.unlink()


def test_the_warning_says_that_a_later_reaper_will_retry_and_the_status_is_0(jobs: AdapterJobs) -> None:
    able("unshare", "-rm", "true", get=PRIVILEGES)
    jobs.plant("dead-1/a/file", "dead-2/a/file")
    (jobs.disk / "dead-1/mounted").mkdir()
    entry_point = f'mount -t tmpfs none "$ADAPTER_PVC_ROOT/dead-1/mounted" && exec "{jobs.folder}/adapter-reap.sh"'
    (jobs.folder / "mounted.sh").write_text(f"#!/bin/sh\nexec unshare -rm sh -c '{entry_point}'\n")
    (jobs.folder / "mounted.sh").chmod(0o755)
    result = finish(jobs.start("mounted.sh", KEEP_SERVICE_IDS="live"))
    assert result.status == 0, result.stderr
    assert "a later reaper will retry" in result.stderr
    assert sorted(path.name for path in jobs.disk.iterdir()) == ["dead-1"]
    assert jobs.reap("live").status == 0
    assert list(jobs.disk.iterdir()) == []


def test_staging_of_a_service_that_is_kept_is_never_touched(hub: Hub, jobs: AdapterJobs) -> None:
    """It has no deadline: neither a killed stage nor a silent one is dead for certain, a retry goes on with it."""
    hub.create("org/lora").commit({"adapter.safetensors": bytes(3 << 20)})
    hub.faults.add(Stall(), route="cdn", offset=1 << 20)
    process = jobs.start_stage("hf://org/lora", HF_ENDPOINT=hub.endpoint, AIM_DOWNLOADER_PROTOCOL="HTTP")
    assert eventually(lambda: bool(list(jobs.disk.glob(".staging/*/*/adapter.*/.downloading"))))
    os.killpg(process.pid, signal.SIGKILL)
    finish(process)
    jobs.plant(f".staging/{SERVICE}/other.1/file", f".aside/{SERVICE}/lora/1/file")
    age(jobs.disk)
    before = jobs.snapshot()
    jobs.reap(SERVICE, "0")
    assert jobs.snapshot() == before
    jobs.reap("another", "0")
    assert list(jobs.disk.glob(".staging/*")) + list(jobs.disk.glob(".aside/*")) == []


@pytest.mark.parametrize("left", ["adapter.1/file", "file", ""])
def test_the_next_stage_ends_a_removal_that_was_killed_in_staging(jobs: AdapterJobs, left: str) -> None:
    gone = f".staging/{SERVICE}/.gone.1"
    jobs.plant(f"{gone}/{left}" if left else gone)
    result = jobs.stage("hf://org/lora", AIM_DEBUG_SIMULATE_PROMOTE="1", AIM_DEBUG_DOWNLOAD_DURATION="0")
    assert result.status == 0, result.stderr
    assert list(jobs.disk.glob(".staging/*/*")) == []


def test_a_tree_may_be_deeper_than_any_recursion(jobs: AdapterJobs) -> None:
    (jobs.disk / "dead" / "/".join("d" * 200)).mkdir(parents=True)
    limit = sys.getrecursionlimit()
    with Disk(jobs.disk, create=False) as disk:
        reaper = Reaper(disk, (), 0, wall_clock=lambda: 2e9, sleep=lambda _: None)
        try:
            sys.setrecursionlimit(len(inspect.stack()) + 100)
            reaper.run()
        finally:
            sys.setrecursionlimit(limit)
    assert list(jobs.disk.iterdir()) == []


def test_a_disk_that_is_not_there_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    jobs = AdapterJobs(tmp_path / "pod")
    jobs.disk.rmdir()
    for result in (jobs.reap(""), jobs.sync(""), jobs.stage("hf://a/b", AIM_DEBUG_SIMULATE_PROMOTE="1")):
        assert result.status == 74, result.stderr
        assert "adapter-disk" in result.last_line
    assert not jobs.disk.exists()
