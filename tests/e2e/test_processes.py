"""How many processes a run has by default: as many as CPUs, memory and bytes are worth.

The files have no bytes on any disk: they are as large as real ones, and no test waits until they have come.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.cgroup import CgroupError, MemoryCgroup
from tests.command import Result, finish, member_logs, model, run, start
from tests.e2e.test_shards import FILES, helpers_of
from tests.needs import PRIVILEGES
from tests.waiting import eventually

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers.hub import Hub
    from tests.servers.web import WebServer

    Begin = Callable[..., subprocess.Popen[str]]


GIB = 1 << 30
SLOW = {"AIM_BANDWIDTH": "4M", "AIM_CPUS": "8"}


@pytest.fixture
def large(web: WebServer, web_root: Path) -> str:
    with (web_root / "model.bin").open("wb") as file:
        file.truncate(5 * GIB)
    return f"{web.url}/model.bin"


@pytest.fixture
def begin(large: str, tmp_path: Path) -> Iterator[Begin]:
    """Return what starts a run, and waits until it has fetched something."""
    begun: list[subprocess.Popen[str]] = []

    def start_one(**extra: str) -> subprocess.Popen[str]:
        begun.append(start("download", large, tmp_path, extra={**SLOW, **extra}))
        assert eventually(lambda: any(path.stat().st_blocks for path in tmp_path.rglob("*.part")))
        return begun[0]

    yield start_one
    for process in begun:
        if process.poll() is None:
            process.kill()
            finish(process)


def end(process: subprocess.Popen[str]) -> Result:
    process.send_signal(signal.SIGTERM)
    return finish(process)


def test_a_large_artifact_has_several_processes_where_there_are_cpus(begin: Begin, tmp_path: Path) -> None:
    process = begin()
    assert eventually(lambda: len(member_logs(tmp_path)) == 2)
    assert len(helpers_of(process)) == 1
    assert end(process).status == 143


@pytest.mark.parametrize(
    "extra",
    [{"AIM_CPUS": "3"}, {"AIM_PROCESSES": "1"}, {"AIM_CONNECTIONS": "1"}, {"AIM_MIRRORS": "http://127.0.0.1:1/m"}],
    ids=["three CPUs", "one process was asked for", "one connection", "mirrors"],
)
def test_it_has_one_process_with(begin: Begin, tmp_path: Path, extra: dict[str, str]) -> None:
    process = begin(**extra)
    assert not list(tmp_path.glob(".downloading/shards.*"))
    assert not helpers_of(process)
    assert end(process).status == 143


def test_a_small_artifact_has_one_process(stocked: Hub, tmp_path: Path) -> None:
    own = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER", "AIM_CPUS": "64"}
    result = run("download", "hf://org/model", tmp_path, extra={**own, "AIM_LOG_LEVEL": "debug"})
    assert result.status == 0, result.stderr
    assert "claimed" not in result.stderr
    assert model(tmp_path) == FILES


def test_eight_processes_in_little_memory_are_as_many_as_fit(stocked: Hub, tmp_path: Path) -> None:
    own = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER"}
    try:
        group = MemoryCgroup(200 << 20)
    except CgroupError as error:
        pytest.skip(f"no cgroup can be made here ({error}): {PRIVILEGES}")
    with group:
        process = start(
            "download", "hf://org/model", tmp_path / "m", "--processes", "8", extra=own, through=group.prefix
        )
        result = finish(process)
    assert result.status == 0, result.stderr
    assert result.stderr.count("200 MiB of memory: enough for 2 processes and not for 8") == 1
    assert model(tmp_path / "m") == FILES
