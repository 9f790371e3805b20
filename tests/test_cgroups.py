"""What a process may use of its machine: trees of both versions of cgroups, made on the spot."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from downloader.cgroups import memory_limit, processors

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
NO_LIMIT_V1 = "9223372036854771712"


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def v2(path: str, **limits: str) -> dict[str, str]:
    """Return the files of a process in cgroup `path`, with limits by the cgroup's name ("top" is the mount itself)."""
    places = {"top": "", **{part: path[: path.index(part) + len(part)] for part in path.split("/") if part}}
    return {
        "proc/self/cgroup": f"0::{path}\n",
        **{f"sys/fs/cgroup{places[name]}/memory.max": f"{limit}\n" for name, limit in limits.items()},
    }


def v1(path: str, **limits: str) -> dict[str, str]:
    places = {"top": "", **{part: path[: path.index(part) + len(part)] for part in path.split("/") if part}}
    return {
        "proc/self/cgroup": f"12:pids:/\n5:cpu,cpuacct:{path}\n4:memory:{path}\n1:name=systemd:{path}\n0::/\n",
        **{f"sys/fs/cgroup/memory{places[name]}/memory.limit_in_bytes": limit for name, limit in limits.items()},
    }


TREES: dict[str, tuple[dict[str, str], int]] = {
    "nothing at all": ({}, MACHINE),
    "a container sees its own group at the top": (v2("/", top=str(300 * MIB)), 300 * MIB),
    "its group": (v2("/pods/one", one=str(200 * MIB)), 200 * MIB),
    "a group above it": (v2("/pods/one", pods=str(100 * MIB), one="max"), 100 * MIB),
    "the smallest of all": (v2("/pods/one", top=str(90 * MIB), pods=str(80 * MIB), one=str(85 * MIB)), 80 * MIB),
    "no limit": (v2("/pods/one", pods="max", one="max"), MACHINE),
    "a group that lies outside of what is mounted": (v2("/../../other", top=str(70 * MIB)), 70 * MIB),
    "version 1: its group": (v1("/docker/abc", abc=str(200 * MIB)), 200 * MIB),
    "version 1: the top": (v1("/docker/abc", top=str(150 * MIB)), 150 * MIB),
    "version 1: the smallest": (v1("/docker/abc", docker=str(60 * MIB), abc=str(70 * MIB)), 60 * MIB),
    "version 1: no limit": (v1("/docker/abc", top=NO_LIMIT_V1, abc=NO_LIMIT_V1), MACHINE),
    "more than the machine has": (v2("/", top=str(1 << 59)), MACHINE),
    "an empty file": (v2("/", top=""), MACHINE),
    "nonsense in the file": (v2("/", top="lots\n"), MACHINE),
    "digits of another kind": (v2("/", top="²\n"), MACHINE),
    "a broken line": ({"proc/self/cgroup": "nonsense\n\n0::/\n", "sys/fs/cgroup/memory.max": "5000000\n"}, 5_000_000),
}


@pytest.mark.parametrize(("files", "limit"), TREES.values(), ids=TREES)
def test_the_limit_is(tmp_path: Path, files: dict[str, str], limit: int) -> None:
    assert memory_limit(tree(tmp_path, files)) == limit


def test_this_machine_has_memory() -> None:
    assert 0 < memory_limit() <= MACHINE


def quota_v2(path: str, **quotas: str) -> dict[str, str]:
    return {name.replace("memory.max", "cpu.max"): content for name, content in v2(path, **quotas).items()}


def quota_v1(quota: str, period: str = "100000") -> dict[str, str]:
    files = {"cpu.cfs_quota_us": quota, "cpu.cfs_period_us": period}
    return v1("/docker/abc") | {f"sys/fs/cgroup/cpu/docker/abc/{name}": f"{text}\n" for name, text in files.items()}


QUOTAS: dict[str, tuple[dict[str, str], int]] = {
    "nothing at all": ({}, 8),
    "no quota": (quota_v2("/pods/one", pods="max 100000", one="max 100000"), 8),
    "three processors": (quota_v2("/", top="300000 100000"), 3),
    "a half counts as one": (quota_v2("/", top="50000 100000"), 1),
    "one and a half count as two": (quota_v2("/", top="150000 100000"), 2),
    "the smallest of all": (quota_v2("/pods/one", pods="200000 100000", one="400000 100000"), 2),
    "more than there are": (quota_v2("/", top="6400000 100000"), 8),
    "none": (quota_v2("/", top="0 100000"), 1),
    "nonsense": (quota_v2("/", top="lots of it"), 8),
    "a period of nothing": (quota_v2("/", top="100000 0"), 8),
    "an empty file": (quota_v2("/", top=""), 8),
    "version 1": (quota_v1("250000"), 3),
    "version 1: no quota": (quota_v1("-1"), 8),
}


@pytest.mark.parametrize(("files", "expected"), QUOTAS.values(), ids=QUOTAS)
def test_there_is_time_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert processors(tree(tmp_path, files)) == expected


def test_this_machine_has_a_processor() -> None:
    assert 1 <= processors() <= len(os.sched_getaffinity(0))
