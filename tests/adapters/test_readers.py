"""What the service's pods see while adapters are replaced, and what a kill at any step leaves them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from downloader.adapters.paths import AdapterPaths
from downloader.adapters.stage import Staging
from downloader.artifact import Manifest, RemoteFile
from tests.adapters.jobs import AdapterJobs
from tests.adapters.killed import Ext4, Nfs
from tests.adapters.reader import Reader, versioned
from tests.waiting import AT_LAST, eventually

if TYPE_CHECKING:
    from downloader.filesystem import Disk
    from tests.servers.hub import Hub

MEMORY = Path("/dev/shm")  # noqa: S108 - a file system on which syncing costs nothing


@pytest.mark.parametrize("program", ["downloader", "tests.adapters.two_renames"])
def test_a_reader_sees_the_old_adapter_whole_or_the_new_one_whole(hub: Hub, tmp_path: Path, program: str) -> None:
    jobs = AdapterJobs(tmp_path / "pod", program, {"HF_ENDPOINT": hub.endpoint})
    repository = hub.create("org/lora")
    versions = range(1, 4)
    repository.commit(versioned(1))
    assert jobs.stage("hf://org/lora").status == 0
    with Reader(jobs.live) as reader:
        assert eventually(lambda: bool(reader.versions))
        for version in versions[1:]:
            repository.commit(versioned(version))
            result = jobs.stage("hf://org/lora", job=f"job-{version}")
            assert result.status == 0, result.stderr
    assert reader.wrong == []
    assert reader.versions == {"lora": list(versions)}
    if program.endswith("renames"):
        assert reader.absent.get("lora", 0) < AT_LAST
    else:
        assert not reader.absent


@pytest.mark.parametrize(("kind", "gap"), [(Ext4, False), (Nfs, True)])
def test_an_adapter_is_there_at_every_moment_where_names_can_be_exchanged(
    tmp_path: Path, kind: type[Disk], *, gap: bool
) -> None:
    for name, data in versioned(1).items():
        (tmp_path / "service/lora").mkdir(parents=True, exist_ok=True)
        (tmp_path / "service/lora" / name).write_bytes(data)

    def looked_at(doing: str) -> None:
        """Let the reader see what there is before each step that could change it."""
        before = reader.looks
        assert "service/lora" not in doing or eventually(lambda: reader.looks > before + 1)

    place = AdapterPaths("service", "lora", "job", "token")
    with Reader(tmp_path / "service") as reader, kind(tmp_path, create=False, fault=looked_at) as disk:
        staging = Staging(disk, place, ttl=60, waiting=lambda *_: None, sleep=time.sleep)
        with staging.held("hf://org/lora"):
            files = versioned(2)
            for name, data in files.items():
                (tmp_path / place.download / name).write_bytes(data)
            staging.promote(Manifest("", tuple(RemoteFile(name, len(data)) for name, data in files.items())))
    assert reader.versions == {"lora": [1, 2]}
    assert reader.wrong == []
    assert bool(reader.absent) is gap


@pytest.mark.parametrize("way", ["exchange", "renames"])
def test_a_kill_before_any_step_of_a_stage_loses_nothing_and_is_repaired(way: str) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        result = subprocess.run(
            [sys.executable, "-m", "tests.adapters.killed", folder, way], capture_output=True, text=True, check=False
        )
    assert result.returncode == 0, result.stderr
    steps = [int(line) for line in result.stdout.split()]
    assert all(step > 40 for step in steps), "it was killed at every step"
