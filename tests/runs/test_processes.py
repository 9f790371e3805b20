"""How many processes share the work of a run, by default and where the user gives a number."""

from __future__ import annotations

import logging

import pytest

from downloader.artifact import TransferProtocol
from downloader.config import Settings
from downloader.runs.processes import Processes

GIB = 1 << 30
AUTO = {"AIM_PROCESSES": "auto"}


def processes(
    environ: dict[str, str],
    *,
    memory: int = 64 * GIB,
    connections: int | None = None,
    possible: bool = True,
    xet: bool = False,
) -> Processes:
    protocols = (TransferProtocol.XET, TransferProtocol.HTTP) if xet else (TransferProtocol.HTTP,)
    settings = Settings.from_environment({"AIM_CPUS": "16", **environ})
    return Processes(settings, protocols=protocols, connections=connections, possible=possible, memory=memory)


@pytest.mark.parametrize(("cpus", "expected"), [(1, 1), (3, 1), (4, 2), (8, 4), (16, 8), (192, 8)])
def test_the_number_follows_from_the_cpus_and_is_one_below_four(cpus: int, expected: int) -> None:
    assert processes({**AUTO, "AIM_CPUS": str(cpus)}).settle(1000 * GIB) == expected


@pytest.mark.parametrize(
    ("gib", "expected"), [(0, 1), (3.9, 1), (4, 2), (9, 4), (15.9, 7), (1000, 8)], ids=lambda value: f"{value}"
)
def test_each_process_has_something_to_fetch(gib: float, expected: int) -> None:
    assert processes(AUTO).settle(int(gib * GIB)) == expected


def test_pods_divide_the_bytes_before_their_processes_do() -> None:
    pods = {"AIM_DOWNLOADER_SHARDS": "4", "JOB_COMPLETION_INDEX": "2"}
    assert processes({**AUTO, **pods}).settle(16 * GIB) == 2


@pytest.mark.parametrize(("mib", "xet", "expected"), [(100, False, 1), (200, False, 2), (600, True, 2), (400, True, 1)])
def test_the_memory_has_to_be_enough_for_them(mib: int, xet: bool, expected: int) -> None:  # noqa: FBT001
    assert processes(AUTO, memory=mib << 20, xet=xet).settle(1000 * GIB) == expected


@pytest.mark.parametrize(
    "found",
    [
        processes({}),
        processes(AUTO, possible=False),
        processes(AUTO, connections=1),
    ],
    ids=["a program that did not ask", "a run that cannot share its work", "one connection"],
)
def test_others_have_one_process(found: Processes) -> None:
    assert found.most == found.settle(1000 * GIB) == 1


def test_what_was_asked_for_counts_however_little_there_is_to_do(caplog: pytest.LogCaptureFixture) -> None:
    assert processes({"AIM_PROCESSES": "5", "AIM_CPUS": "1"}).settle(1) == 5
    assert not caplog.records


def test_what_was_asked_for_is_limited_by_the_memory_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    found = processes({"AIM_PROCESSES": "8"}, memory=200 << 20)
    assert found.settle(GIB) == found.settle(GIB) == 2
    assert caplog.messages == ["200 MiB of memory: enough for 2 processes and not for 8"]


@pytest.mark.parametrize(
    ("connections", "words"),
    [(3, "3 connections: enough for 3 processes"), (1, "1 connection: enough for one process")],
)
def test_processes_without_a_connection_are_not_started(
    connections: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    assert processes({"AIM_PROCESSES": "8"}, connections=connections).settle(GIB) == connections
    assert caplog.messages == [f"{words} and not for 8"]


def test_each_process_has_an_equal_part() -> None:
    found = processes({"AIM_PROCESSES": "3"})
    assert found.part(16) == 16
    found.settle(GIB)
    assert (found.part(16), found.part(1)) == (5, 1)
