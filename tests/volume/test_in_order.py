"""Volumes that take a file's bytes only one after the other, each once, as mounts of object stores do."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from downloader.filesystem import syncfs
from downloader.filesystem.local import Disk
from downloader.volume import Volume
from tests.command import model, run
from tests.servers.process import Child
from tests.servers.rclone import rclone
from tests.transfer.harness import Run
from tests.volume.artifacts import URI, download, manifest_of, noise
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.web import WebServer

FILES = {"config.json": b"{}", "empty": b"", "folder/model.bin": noise(6 << 20, 1), "small.bin": noise(1 << 20, 2)}
REFUSED = OSError(errno.ESPIPE, os.strerror(errno.ESPIPE))


class InOrder(Disk):
    """A real disk that takes bytes only behind those that came last, of files that were just made."""

    def __init__(self, target: Path) -> None:
        super().__init__(target)
        self.ends: dict[int, int] = {}
        self.out_of_order: list[str] = []

    def create(self, path: str) -> int:
        handle = super().create(path)
        self.ends[handle] = 0
        return handle

    def open(self, path: str, *, write: bool = False) -> int:
        handle = super().open(path, write=write)
        self.ends.pop(handle, None)
        return handle

    def open_direct(self, path: str) -> int | None:
        self.out_of_order.append(f"direct writes to {path}")
        return None

    def write(self, handle: int, offset: int, data: memoryview | bytes) -> None:
        if self.ends.get(handle) != offset:
            self.out_of_order.append(f"a write at {offset}")
            with self._operation("writing to"):
                raise REFUSED
        super().write(handle, offset, data)
        self.ends[handle] = offset + len(data)

    def truncate(self, handle: int, size: int) -> None:
        if self.handle_stat(handle).size != size:
            with self._operation("sizing a file of"):
                raise REFUSED


@pytest.fixture
def in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InOrder:
    monkeypatch.setattr(syncfs, "kind", lambda _: "fuse.bucket")
    (tmp_path / "target").mkdir()
    return InOrder(tmp_path / "target")


def test_files_come_in_one_stream_each_and_are_finished(in_order: InOrder, tmp_path: Path) -> None:
    with Volume(tmp_path / "target", files=in_order) as volume:
        with volume.lease(URI):
            transfer_run = Run(volume, FILES)
            transfer_run.fetch()
            assert sorted(transfer_run.sink.committed) == sorted(FILES)
            assert sorted(span.start for _, span in transfer_run.source.opened) == [0] * len(transfer_run.source.opened)
            manifest = manifest_of(FILES)
            volume.publish(manifest, {file.path: file.digests[0].value for file in manifest.files})
        assert in_order.out_of_order == []
        assert volume.inventory(manifest).published
    assert model(tmp_path / "target") == FILES


def test_the_lease_beats_although_it_cannot_be_rewritten(in_order: InOrder, tmp_path: Path) -> None:
    with Volume(tmp_path / "target", files=in_order, ttl=0.3) as volume, volume.lease(URI):
        lease = tmp_path / "target/.downloading/lease.1"
        before = lease.read_bytes()
        assert eventually(lambda: lease.read_bytes() not in (b"", before))
        volume.check_lease()
    assert list((tmp_path / "target").iterdir()) == []


def test_a_killed_run_is_taken_up_by_the_next_one(in_order: InOrder, tmp_path: Path) -> None:
    target = tmp_path / "target"
    with Volume(target, files=in_order) as volume, volume.lease(URI):
        transfer_run = Run(volume, FILES)
        transfer_run.fetch()
    assert (target / ".downloading/ledger").exists()
    (target / "small.bin").unlink()
    with Volume(target, files=InOrder(target)) as volume:
        assert download(volume, FILES) == len(FILES["small.bin"])
    assert model(target) == FILES


def test_other_file_systems_are_not_tried(tmp_path: Path) -> None:
    disk = InOrder(tmp_path)
    assert disk.writes_in_order("probe") is False
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Path]:
    """A folder that rclone mounts without a cache for writes."""
    if not os.access("/dev/fuse", os.W_OK) or shutil.which("fusermount3") is None:
        pytest.skip("no mounts without /dev/fuse and fusermount3: docker run --device /dev/fuse, tests/prepare servers")
    backing, mounted = tmp_path / "backing", tmp_path / "mounted"
    backing.mkdir()
    mounted.mkdir()
    places = {"RCLONE_CONFIG": str(tmp_path / "rclone.conf"), "RCLONE_CACHE_DIR": str(tmp_path / "cache")}
    with Child([rclone(), "mount", str(backing), str(mounted)], folder=tmp_path, environment=places) as child:
        try:
            child.wait_until(lambda: os.path.ismount(mounted))
            yield mounted
        finally:
            subprocess.run(["umount", "--lazy", str(mounted)], check=True)


@pytest.mark.root
def test_a_mount_of_rclone_without_a_cache_gets_the_artifact(bucket: Path, web: WebServer, web_root: Path) -> None:
    source = web_root / f"in-order-{os.getpid()}-{time.monotonic_ns()}"
    for path, data in FILES.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(data)
    listed = subprocess.run(["sha256sum", *FILES], cwd=source, capture_output=True, check=True)
    (source / "SHA256SUMS").write_bytes(listed.stdout)
    uri = f"{web.url}/{source.name}/"
    for _ in range(2):
        result = run("download", uri, bucket / "model", extra={"AIM_LEASE_TTL": "3"})
        assert result.status == 0, result.stderr
        got = model(bucket / "model")
        assert {path: got[path] for path in FILES} == FILES
    assert "nothing had to be fetched" in result.stderr
    assert sorted(path.name for path in (bucket / "model").iterdir()) == sorted(
        [".artifact.sha256", "config.json", "empty", "folder", "small.bin", *({"SHA256SUMS"} & got.keys())]
    )
