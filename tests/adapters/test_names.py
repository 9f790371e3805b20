"""Names from the environment are hostile: nothing outside the service's own folders is ever touched because of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from downloader.config.adapters import AdapterReapSettings, AdapterStageSettings, AdapterSyncSettings
from downloader.errors import ConfigurationError
from tests.adapters.jobs import SERVICE, AdapterJobs, age
from tests.command import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NAMES_OF_PATHS = ["..", "a/b", ".staging"]
"""What the jobs are tried with."""
HOSTILE = [
    *NAMES_OF_PATHS,
    ".",
    "*",
    "../live",
    "/etc",
    "/",
    ".aside",
    ".unload-tmp",
    ".hidden",
    "lost+found",
    "-rf",
    "a b",
    "a\nb",
    "a\\b",
    "a;b",
    "$(reboot)",
    "ünïcode",
    "a" * 254,
]
"""What the settings refuse."""
SIMULATED = {"AIM_DEBUG_SIMULATE_PROMOTE": "1", "AIM_DEBUG_DOWNLOAD_DURATION": "0"}


@pytest.fixture
def jobs(jobs: AdapterJobs) -> AdapterJobs:
    """A disk with files of several services."""
    jobs.plant("live/a/file", "dead/a/file", f"{SERVICE}/lora/file", f"{SERVICE}/a/file", "lost+found/file")
    jobs.plant(".staging/live/a.1/file", ".aside/live/a/1/file", ".unload-tmp/live/a.x/adapter/file")
    age(jobs.disk)
    return jobs


@pytest.mark.parametrize("name", [*HOSTILE, "", " "])
def test_no_setting_takes_a_name_that_no_folder_of_ours_has(name: str) -> None:
    right = {
        "ADAPTER_PVC_ROOT": "/adapter-disk",
        "SERVICE_ID": "s",
        "ADAPTER_PATH": "a",
        "KEEP_SERVICE_IDS": "s,t",
        "KEEP_ADAPTER_PATHS": "a,b",
    }
    attempts: list[tuple[Callable[[Mapping[str, str]], object], str, str]] = [
        (AdapterStageSettings.from_environment, "SERVICE_ID", name),
        (AdapterStageSettings.from_environment, "ADAPTER_PATH", name),
        (AdapterSyncSettings.from_environment, "SERVICE_ID", name),
    ]
    if name.strip():
        attempts += [
            (AdapterStageSettings.from_environment, "JOB_ID", name),
            (AdapterSyncSettings.from_environment, "KEEP_ADAPTER_PATHS", f"a,{name}"),
            (AdapterReapSettings.from_environment, "KEEP_SERVICE_IDS", f"{name},s"),
        ]
    for read, variable, text in attempts:
        read(right)
        with pytest.raises(ConfigurationError, match=variable):
            read(right | {variable: text})


@pytest.mark.parametrize("name", ["a", "A-b_c.d", "_a", "0b7e0f7c-6d1c-4d3e-9a55-0f6f2b1f9c01", "a..b", "a" * 253])
def test_every_name_of_kubernetes_is_taken(name: str) -> None:
    environ = {"ADAPTER_PVC_ROOT": "/", "SERVICE_ID": name, "ADAPTER_PATH": name, "JOB_ID": name}
    settings = AdapterStageSettings.from_environment(environ)
    assert (settings.service, settings.adapter, settings.job) == (name, name, name)


@pytest.mark.parametrize("name", [*NAMES_OF_PATHS, ""])
def test_no_entry_point_does_anything_with_a_name_that_no_folder_of_ours_has(jobs: AdapterJobs, name: str) -> None:
    before = jobs.snapshot()
    results = [
        jobs.stage("hf://a/b", SERVICE_ID=name, **SIMULATED),
        jobs.stage("hf://a/b", adapter=name, **SIMULATED),
        jobs.sync("a", SERVICE_ID=name),
    ]
    for result, variable in zip(results, ("SERVICE_ID", "ADAPTER_PATH", "SERVICE_ID"), strict=True):
        assert result.status == 78, result.stderr
        assert variable in result.last_line
    assert jobs.snapshot() == before


@pytest.mark.parametrize("name", NAMES_OF_PATHS)
def test_a_list_with_one_bad_name_removes_nothing_at_all(jobs: AdapterJobs, name: str) -> None:
    before = jobs.snapshot()
    results = [
        jobs.reap(f"live,{name}", "0"),
        jobs.sync(f"{name},lora"),
        jobs.stage("hf://a/b", job=name, **SIMULATED),
    ]
    for result, variable in zip(results, ("KEEP_SERVICE_IDS", "KEEP_ADAPTER_PATHS", "JOB_ID"), strict=True):
        assert result.status == 78, result.stderr
        assert variable in result.last_line
    assert jobs.snapshot() == before


@pytest.mark.parametrize("text", [" ", " , ,", '["live"]'])
def test_a_list_that_holds_no_names_removes_nothing_at_all(jobs: AdapterJobs, text: str) -> None:
    before = jobs.snapshot()
    assert jobs.reap(text, "0").status == 78
    assert jobs.sync(text).status == 78
    assert jobs.snapshot() == before


def test_a_list_that_got_lost_removes_nothing_at_all(jobs: AdapterJobs) -> None:
    before = jobs.snapshot()
    for entry_point, variable in (
        ("adapter-reap.sh", "KEEP_SERVICE_IDS"),
        ("adapter-subtree-sync.sh", "KEEP_ADAPTER_PATHS"),
    ):
        process = jobs.start(entry_point, SERVICE_ID=SERVICE)
        _, stderr = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 78
        assert f"{variable} is not set" in stderr
    assert jobs.snapshot() == before


def test_everything_that_is_wrong_is_named_at_once(jobs: AdapterJobs) -> None:
    result = jobs.stage("hf://a/b", adapter="..", SERVICE_ID="", ADAPTER_PVC_ROOT="")
    assert result.status == 78
    assert all(name in result.last_line for name in ("ADAPTER_PVC_ROOT", "SERVICE_ID", "ADAPTER_PATH"))


@pytest.mark.parametrize("place", [SERVICE, ".staging", f".staging/{SERVICE}", f".staging/{SERVICE}/lora.job-1"])
def test_a_stage_goes_through_no_planted_symlink(jobs: AdapterJobs, place: str) -> None:
    outside = jobs.folder / "outside"
    (outside / "lora").mkdir(parents=True)
    (outside / "lora/precious").write_text("precious")
    if (jobs.disk / place).exists():
        (jobs.disk / place).rename(jobs.folder / "moved")
    (jobs.disk / place).parent.mkdir(exist_ok=True)
    (jobs.disk / place).symlink_to(outside)
    result = jobs.stage("hf://a/b", **SIMULATED)
    assert result.status == 74, result.stderr
    assert str(jobs.disk / place) in result.last_line
    assert [str(path.relative_to(outside)) for path in sorted(outside.rglob("*"))] == ["lora", "lora/precious"]


@pytest.mark.parametrize("place", [SERVICE, ".unload-tmp", f".unload-tmp/{SERVICE}"])
def test_a_sync_goes_through_no_planted_symlink(jobs: AdapterJobs, place: str) -> None:
    outside = jobs.folder / "outside"
    (outside / "slot/adapter").mkdir(parents=True)
    (outside / "slot/adapter/precious").write_text("precious")
    if (jobs.disk / place).exists():
        (jobs.disk / place).rename(jobs.folder / "moved")
    (jobs.disk / place).parent.mkdir(exist_ok=True)
    (jobs.disk / place).symlink_to(outside)
    result = jobs.sync("a")
    assert result.status == (74 if place == SERVICE else 1), result.stderr
    assert [str(path.relative_to(outside)) for path in sorted(outside.rglob("*"))] == [
        "slot",
        "slot/adapter",
        "slot/adapter/precious",
    ]


def test_the_entry_points_are_no_commands_for_people(jobs: AdapterJobs) -> None:
    process = jobs.start("artifact-downloader", "--help")
    stdout, _ = process.communicate(timeout=TIMEOUT)
    assert "download" in stdout
    assert "adapter" not in stdout
