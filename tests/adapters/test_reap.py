"""`/adapter-reap.sh`: what it removes, what it leaves, and that it goes on past trouble."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from downloader.adapters.reap import Reaper
from downloader.config.adapters import AdapterReapSettings
from downloader.filesystem import Disk
from tests.adapters.doors import HOUR, SERVICE, Doors, age
from tests.command import content, finish
from tests.servers.faults import Stall
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.hub import Hub

AGED = str(HOUR // 2)
"""A MIN_AGE_SECONDS that what is an hour old has passed."""


def test_only_services_that_are_not_kept_are_removed(doors: Doors) -> None:
    doors.plant("live/a/file", "dead/a/file", "dead/b/sub/file", "also-live/a/file")
    age(doors.disk)
    result = doors.reap("live, also-live ,", AGED)
    assert result.status == 0, result.stderr
    assert sorted(content(doors.disk)) == ["also-live/a/file", "live/a/file"]
    assert not (doors.disk / "dead").exists()


def test_what_changed_a_short_while_ago_is_left_alone(doors: Doors) -> None:
    doors.plant("dead/a/file", ".staging/dead/a.1/file", ".aside/dead/a/file", ".unload-tmp/live/a.x/adapter/file")
    before = doors.snapshot()
    result = doors.reap("live", AGED)
    assert result.status == 0
    assert doors.snapshot() == before


def test_the_age_is_that_of_the_service_folder_itself(doors: Doors) -> None:
    doors.plant("old/a/file", "new/a/file")
    age(doors.disk)
    doors.plant("old/a/more")
    doors.plant("new/b/file")
    doors.reap("", AGED)
    assert sorted(content(doors.disk)) == ["new/a/file", "new/b/file"]


def test_a_list_that_is_empty_on_purpose_still_leaves_all_that_is_no_service(doors: Doors) -> None:
    doors.plant(
        "lost+found/file", ".snapshot/file", "$RECYCLE.BIN/file", "a file", "file", ".hidden/x/file", "two words/file"
    )
    (doors.disk / "link").symlink_to(doors.folder)
    for control in (".staging", ".aside", ".unload-tmp"):
        (doors.disk / control).mkdir()
    before = doors.snapshot()
    doors.plant("dead/a/file")
    result = doors.reap("", "0")
    assert result.status == 0, result.stderr
    assert doors.snapshot() == before


def test_control_folders_lose_the_entries_of_dead_services_and_only_those(doors: Doors) -> None:
    doors.plant(
        ".staging/dead/a.1/file",
        ".aside/dead/a/1/file",
        ".staging/live/a.1/file",
        ".aside/live/a/1/file",
        ".aside/file",
    )
    age(doors.disk)
    result = doors.reap("live", AGED)
    assert result.status == 0, result.stderr
    assert sorted(content(doors.disk)) == [".aside/live/a/1/file", ".staging/live/a.1/file"]
    assert not (doors.disk / ".staging/dead").exists()


def test_old_slots_are_removed_for_living_services_too(doors: Doors) -> None:
    doors.plant(".unload-tmp/live/old.x/adapter/file", ".unload-tmp/dead/old.y/adapter/file")
    age(doors.disk)
    doors.plant(".unload-tmp/live/new.z/adapter/file")
    result = doors.reap("live", AGED)
    assert result.status == 0, result.stderr
    assert sorted(content(doors.disk)) == [".unload-tmp/live/new.z/adapter/file"]
    assert [path.name for path in (doors.disk / ".unload-tmp").iterdir()] == ["live"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1800", 1800), (" 90 ", 90), ("0.5", 0.5), ("", 0), ("0", 0), ("soon", 0), ("-5", 0), ("nan", 0), ("0x10", 0)],
)
def test_an_age_that_is_no_number_is_zero(text: str, seconds: float) -> None:
    environ = {"ADAPTER_PVC_ROOT": "/disk", "KEEP_SERVICE_IDS": "a", "MIN_AGE_SECONDS": text}
    assert AdapterReapSettings.from_environment(environ).min_age == seconds


@pytest.mark.parametrize("min_age", [None, "soon"])
def test_without_an_age_the_youngest_service_goes(doors: Doors, min_age: str | None) -> None:
    doors.plant("dead/a/file")
    result = doors.reap("live", min_age)
    assert result.status == 0, result.stderr
    assert not (doors.disk / "dead").exists()


def test_symlinks_are_removed_and_not_followed(doors: Doors) -> None:
    doors.plant("dead/a/file", "live/a/file", ".unload-tmp/live/s.1/adapter/file")
    (doors.folder / "outside").mkdir()
    (doors.folder / "outside/precious").write_text("precious")
    for place in ("dead/up", "dead/a/up", ".unload-tmp/live/up", ".unload-tmp/up", ".staging", "gone"):
        (doors.disk / place).symlink_to(doors.folder / "outside")
    (doors.disk / "dead/live").symlink_to("../live")
    result = doors.reap("live", "0")
    assert result.status == 0, result.stderr
    assert (doors.folder / "outside/precious").read_text() == "precious"
    assert sorted(path for path in content(doors.disk) if not path.startswith((".staging", "gone", ".unload"))) == [
        "live/a/file"
    ]
    assert not (doors.disk / "dead").exists()


def test_mtimes_in_the_future_keep_a_folder_and_do_no_other_harm(doors: Doors) -> None:
    doors.plant("ahead/a/file", "dead/a/file", ".unload-tmp/live/ahead.1/adapter/file")
    age(doors.disk)
    age(doors.disk / "ahead", -10 * HOUR)
    age(doors.disk / ".unload-tmp/live/ahead.1", -10 * HOUR)
    result = doors.reap("live", AGED)
    assert result.status == 0, result.stderr
    assert sorted(content(doors.disk)) == [".unload-tmp/live/ahead.1/adapter/file", "ahead/a/file"]


@pytest.mark.parametrize("hours", [-5, 0, 5])
def test_a_wrong_clock_of_the_reapers_node_makes_nothing_older(doors: Doors, hours: int) -> None:
    doors.plant("young/a/file")
    now = (doors.disk / "young").stat().st_mtime + hours * HOUR
    with Disk(doors.disk, create=False) as disk:
        Reaper(disk, (), float(AGED), wall_clock=lambda: now, sleep=lambda _: None).run()
    assert (doors.disk / "young/a/file").exists()


def test_what_is_promoted_while_the_reaper_looks_makes_the_service_young(doors: Doors) -> None:
    doors.plant("dead/old/file")
    age(doors.disk)

    def fault(doing: str) -> None:
        if doing.startswith("listing") and doing.endswith("/dead") and not (doors.disk / "dead/new").exists():
            doors.plant("dead/new/file")

    with Disk(doors.disk, create=False, fault=fault) as disk:
        Reaper(disk, (), float(AGED), wall_clock=time.time, sleep=lambda _: None).run()
    assert sorted(content(doors.disk)) == ["dead/new/file", "dead/old/file"]


def test_a_failed_removal_is_a_warning_and_the_others_go_on(doors: Doors) -> None:
    doors.plant("dead-1/a/file", "dead-2/a/file", "dead-3/a/file", ".unload-tmp/live/s.1/adapter/file")
    stuck = doors.disk / "dead-2/a/file"

    def fault(doing: str) -> None:
        if doing.startswith("removing") and "dead-2/" in doing:
            raise OSError(16, "busy")

    with Disk(doors.disk, create=False, fault=fault) as disk:
        Reaper(disk, ("live",), 0, wall_clock=lambda: 2e9, sleep=lambda _: None).run()
    assert sorted(content(doors.disk)) == ["dead-2/a/file"]
    stuck.unlink()


@pytest.mark.skipif(subprocess.run(["unshare", "-rm", "true"], check=False).returncode != 0, reason="needs mounts")
def test_the_warning_says_that_a_later_reaper_will_retry_and_the_status_is_0(doors: Doors) -> None:
    doors.plant("dead-1/a/file", "dead-2/a/file")
    (doors.disk / "dead-1/mounted").mkdir()
    door = f'mount -t tmpfs none "$ADAPTER_PVC_ROOT/dead-1/mounted" && exec "{doors.folder}/adapter-reap.sh"'
    (doors.folder / "mounted.sh").write_text(f"#!/bin/sh\nexec unshare -rm sh -c '{door}'\n")
    (doors.folder / "mounted.sh").chmod(0o755)
    result = finish(doors.start("mounted.sh", KEEP_SERVICE_IDS="live"))
    assert result.status == 0, result.stderr
    assert "a later reaper will retry" in result.stderr
    assert sorted(path.name for path in doors.disk.iterdir()) == ["dead-1"]
    assert doors.reap("live").status == 0
    assert list(doors.disk.iterdir()) == []


def test_staging_of_a_service_that_is_kept_is_never_touched(hub: Hub, doors: Doors) -> None:
    """It has no deadline: neither a killed stage nor a silent one is dead for certain, a retry goes on with it."""
    hub.create("org/lora").commit({"adapter.safetensors": bytes(3 << 20)})
    hub.faults.add(Stall(), route="cdn", offset=1 << 20)
    process = doors.start_stage("hf://org/lora", HF_ENDPOINT=hub.endpoint, AIM_DOWNLOADER_PROTOCOL="HTTP")
    assert eventually(lambda: bool(list(doors.disk.glob(".staging/*/*/adapter.*/.downloading"))))
    os.killpg(process.pid, signal.SIGKILL)
    finish(process)
    doors.plant(f".staging/{SERVICE}/other.1/file", f".aside/{SERVICE}/lora/1/file")
    age(doors.disk)
    before = doors.snapshot()
    doors.reap(SERVICE, "0")
    assert doors.snapshot() == before
    doors.reap("another", "0")
    assert list(doors.disk.glob(".staging/*")) + list(doors.disk.glob(".aside/*")) == []


@pytest.mark.parametrize("left", ["adapter.1/file", "file", ""])
def test_the_next_stage_ends_a_removal_that_was_killed_in_staging(doors: Doors, left: str) -> None:
    gone = f".staging/{SERVICE}/.gone.1"
    doors.plant(f"{gone}/{left}" if left else gone)
    result = doors.stage("hf://org/lora", AIM_DEBUG_SIMULATE_PROMOTE="1", AIM_DEBUG_DOWNLOAD_DURATION="0")
    assert result.status == 0, result.stderr
    assert list(doors.disk.glob(".staging/*/*")) == []


def test_a_tree_may_be_deeper_than_any_recursion(doors: Doors) -> None:
    (doors.disk / "dead" / "/".join("d" * 200)).mkdir(parents=True)
    limit = sys.getrecursionlimit()
    with Disk(doors.disk, create=False) as disk:
        reaper = Reaper(disk, (), 0, wall_clock=lambda: 2e9, sleep=lambda _: None)
        try:
            sys.setrecursionlimit(len(inspect.stack()) + 100)
            reaper.run()
        finally:
            sys.setrecursionlimit(limit)
    assert list(doors.disk.iterdir()) == []


def test_a_disk_that_is_not_there_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    doors = Doors(tmp_path / "pod")
    doors.disk.rmdir()
    for result in (doors.reap(""), doors.sync(""), doors.stage("hf://a/b", AIM_DEBUG_SIMULATE_PROMOTE="1")):
        assert result.status == 74, result.stderr
        assert "adapter-disk" in result.last_line
    assert not doors.disk.exists()
