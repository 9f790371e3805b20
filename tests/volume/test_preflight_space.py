"""A full volume: found out before the first byte, survived in the middle, and finished when there is room again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Manifest, Span
from downloader.errors import NoSpace
from downloader.filesystem.local import Disk
from downloader.formatting import format_size
from downloader.volume import Volume
from tests.volume.artifacts import URI, bring, download, fill, manifest_of, noise, remote, sha256

if TYPE_CHECKING:
    from pathlib import Path

    from tests.volume.conftest import Mounts

MIB = 1 << 20


def test_what_does_not_fit_is_refused_with_needed_free_and_path(mounted: Mounts) -> None:
    target = mounted(8)
    with Volume(target) as volume:
        free = format_size(Disk(target).space().free_bytes or 0)
        volume.require_space(6 * MIB, 1)
        with pytest.raises(NoSpace) as caught:
            volume.require_space(20 * MIB, 3)
    assert caught.value.exit_status == 73
    for words in ("no space left on device", str(target), "20.1 MiB more", "20971520 bytes in 3 files", f"{free} free"):
        assert words in str(caught.value)


def test_every_file_takes_whole_blocks(mounted: Mounts) -> None:
    with Volume(mounted(8)) as volume:
        volume.require_space(2500, 1)
        with pytest.raises(NoSpace, match="2500 bytes in 2500 files"):
            volume.require_space(2500, 2500)


def test_too_few_inodes_are_refused_too(mounted: Mounts) -> None:
    with Volume(mounted(8, inodes=100)) as volume:
        volume.require_space(0, 20)
        with pytest.raises(NoSpace, match="inodes"):
            volume.require_space(0, 300)


def test_a_volume_that_does_not_say_how_much_room_it_has_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FUSE file systems that have no statfs answer with zeros, and object stores have no end."""
    real = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "fstatvfs", lambda _: os.statvfs_result((real.f_bsize, *[0] * 8, real.f_namemax)))
    with Volume(tmp_path) as volume:
        volume.require_space(1 << 50, 3)
        assert download(volume, {"a": b"a"}) == 1


def test_nothing_is_needed_for_nothing(mounted: Mounts) -> None:
    target = mounted(1)
    with Volume(target) as volume:
        fill_up(target / "theirs")
        with pytest.raises(NoSpace):
            volume.require_space(1 << 20, 1)
        volume.require_space(0, 0)


def test_only_what_is_still_to_come_needs_room(mounted: Mounts) -> None:
    """A volume of 12 MiB takes 8 MiB and can be resumed when only 6 MiB are left."""
    target = mounted(12)
    data = noise(8 * MIB)
    manifest = manifest_of({"model.bin": data})
    with Volume(target, journal_above=MIB) as volume, volume.lease(URI):
        inventory = volume.inventory(manifest)
        volume.require_space(inventory.needed_bytes, len(inventory.missing()))
        partial = volume.partial(manifest.files[0])
        partial.write(0, memoryview(bytearray(data[: 6 * MIB])))
        partial.complete(Span(0, 6 * MIB))
        partial.close()
        inventory = volume.inventory(manifest)
        volume.require_space(inventory.needed_bytes, len(inventory.missing()))
        assert bring(volume, manifest, {"model.bin": data}) == 2 * MIB


@pytest.mark.parametrize("killed", [False, True], ids=["", "after a kill"])
def test_a_volume_of_the_rounded_size_takes_the_artifact(mounted: Mounts, *, killed: bool) -> None:
    """Sizes are rounded up and nothing is added, as the operator does with a headroom of 0 percent."""
    target = mounted(12)
    free = Disk(target).space().free_bytes
    assert free is not None
    data = {"model.bin": noise(free - (200 << 10)), "config.json": b"{}"}
    manifest = manifest_of(data)
    with Volume(target, journal_above=MIB) as volume:
        if killed:
            with volume.lease(URI):
                partial = volume.partial(manifest.files[1])
                partial.write(0, memoryview(bytearray(data["model.bin"][: 6 * MIB])))
                partial.complete(Span(0, 6 * MIB))
                partial.flush()
                partial.close()
        with volume.lease(URI):
            inventory = volume.inventory(manifest)
            volume.require_space(inventory.needed_bytes, len(inventory.missing()))
            bring(volume, manifest, data)
    assert (target / "model.bin").read_bytes() == data["model.bin"]
    assert not (target / ".downloading").exists()


def test_a_volume_that_fills_up_meanwhile_can_be_resumed_when_there_is_room(mounted: Mounts) -> None:
    target = mounted(12)
    data = noise(8 * MIB)
    file = remote("model.bin", data)
    with Volume(target, journal_above=MIB) as volume:
        with volume.lease(URI):
            partial = volume.partial(file)
            partial.write(0, memoryview(bytearray(data[: 4 * MIB])))
            partial.complete(Span(0, 4 * MIB))
            partial.flush()
            fill_up(target / "theirs")
            with pytest.raises(NoSpace):
                partial.write(4 * MIB, memoryview(bytearray(data[4 * MIB :])))
            partial.close()
        assert names(target) == [".downloading", "theirs"]
        (target / "theirs").unlink()
        with volume.lease(URI):
            assert fill(volume, file, data) == 4 * MIB
            volume.publish(Manifest(URI, (file,)), {"model.bin": sha256(data)})
    assert (target / "model.bin").read_bytes() == data


def test_a_killed_run_on_a_volume_without_a_free_byte_can_be_taken_over(mounted: Mounts) -> None:
    """The dead holder's lease gives the block that the next one needs."""
    target = mounted(8)
    work = target / ".downloading"
    with Volume(target) as volume, volume.lease(URI):
        record = (work / "lease.1").read_bytes()
    work.mkdir()
    (work / "lease.1").write_bytes(record.replace(b'"started": "', b'"started": "9'))
    (work / "parts.dead").mkdir()
    fill_up(work / "parts.dead" / f"{'0' * 32}.part")
    with Volume(target) as volume:
        assert download(volume, {"a": b"a"}) == 1
    assert names(target) == [".artifact.sha256", "a"]


def test_a_volume_full_of_other_tools_leftovers_makes_room_for_a_lease(mounted: Mounts) -> None:
    target = mounted(4)
    orphan = target / ".cache/huggingface/download/model.incomplete"
    orphan.parent.mkdir(parents=True)
    fill_up(orphan)
    os.utime(orphan, (1, 1))
    with Volume(target) as volume:
        assert download(volume, {"a": b"a"}) == 1
    assert not orphan.exists()


def test_a_full_volume_with_nothing_to_reclaim_is_an_error_that_says_so(mounted: Mounts) -> None:
    target = mounted(1)
    fill_up(target / "theirs")
    with pytest.raises(NoSpace, match="no space left on device"), Volume(target) as volume:
        download(volume, {"a": b"a"})
    assert not list(target.glob(".downloading/lease.*"))


def names(target: Path) -> list[str]:
    return sorted(path.name for path in target.iterdir() if path.name != "lost+found")


def fill_up(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
