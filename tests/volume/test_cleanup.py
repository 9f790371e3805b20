"""Partial files of dead runs of any tool are removed; files that a user may need are not."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Span
from downloader.errors import NoSpace
from downloader.filesystem.local import Disk
from downloader.volume import Volume
from tests.volume.artifacts import URI, download, fill, manifest_of, noise, remote, sha256

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"a": b"a", "folder/b": b"b"}
NOW = 2_000_000_000.0

ORPHANS = [
    ".cache/huggingface/download/model.safetensors.abc.incomplete",
    ".cache/huggingface/download/folder/deep/x.incomplete",
    ".s3cmd.x1Y_z234.tmp",
    "folder/.s3cmd.abcdefgh.tmp",
]
NOT_ORPHANS = [
    "model.incomplete",
    ".cache/other/x.incomplete",
    ".cache/huggingface/download/model.safetensors.metadata",
    ".cache/huggingface/download/incomplete",
    ".s3cmd.tmp",
    ".s3cmd.a b c d.tmp",
    "s3cmd.abcdefgh.tmp",
    "other/.s3cmd.abcdefgh.tmp",
    "notes.part",
]


def plant(target: Path, path: str, age: float) -> Path:
    place = target / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(noise(5000))
    os.utime(place, (NOW - age, NOW - age))
    return place


def volume_of(target: Path) -> Volume:
    return Volume(target, journal_above=1000, wall_clock=lambda: NOW)


@pytest.mark.parametrize("path", ORPHANS)
def test_what_other_tools_left_unfinished_is_reclaimed(target: Path, path: str) -> None:
    place = plant(target, path, 3600)
    with volume_of(target) as volume, volume.lease(URI):
        inventory = volume.inventory(manifest_of(FILES))
        assert [stale.path for stale in inventory.stale_files] == [path]
        assert volume.reclaim(inventory) >= 5000
    assert not place.exists()


@pytest.mark.parametrize("path", ORPHANS)
def test_a_file_of_the_artifact_is_no_leftover_whatever_its_name(target: Path, path: str) -> None:
    files = {path: noise(5000), "model.bin": noise(10)}
    place = plant(target, path, 3600)
    with volume_of(target) as volume:
        with volume.lease(URI):
            inventory = volume.inventory(manifest_of(files))
            assert inventory.stale_files == ()
        assert download(volume, files) == 10
        os.utime(place, (NOW - 3600, NOW - 3600))
        (target / "model.bin").unlink()  # a run with a filter that leaves that file out
        download(volume, {"model.bin": noise(10)})
    assert place.read_bytes() == noise(5000)


@pytest.mark.parametrize("path", [path for path in ORPHANS if not path.startswith("folder")])
@pytest.mark.parametrize("finished", [True, False])
def test_a_full_volume_gets_no_room_from_what_a_run_has_brought(
    target: Path,
    path: str,
    finished: bool,  # noqa: FBT001
) -> None:
    """There is no room for a lease, so the artifact is not known yet."""
    manifest = manifest_of({path: noise(5000)})
    with volume_of(target) as volume, volume.lease(URI):
        fill(volume, manifest.files[0], noise(5000))
        if finished:
            volume.publish(manifest, {path: sha256(noise(5000))})
    os.utime(target / path, (NOW - 3600, NOW - 3600))

    def fault(doing: str) -> None:
        if doing.startswith("creating"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    full = Volume(target, files=Disk(target, fault=fault), wall_clock=lambda: NOW)
    with full, pytest.raises(NoSpace), full.lease(URI):
        pass
    assert (target / path).read_bytes() == noise(5000)


@pytest.mark.parametrize("path", ORPHANS)
def test_what_is_still_being_written_is_left_alone(target: Path, path: str) -> None:
    plant(target, path, 10)
    assert volume_of(target).inventory(manifest_of(FILES)).stale_files == ()


@pytest.mark.parametrize("path", NOT_ORPHANS)
def test_what_might_be_a_users_file_is_left_alone(target: Path, path: str) -> None:
    place = plant(target, path, 3600)
    with volume_of(target) as volume:
        assert volume.inventory(manifest_of(FILES)).stale_files == ()
        download(volume, FILES)
    assert place.read_bytes() == noise(5000)


def test_a_symlink_or_a_folder_of_that_name_is_left_alone(target: Path, tmp_path: Path) -> None:
    outside = plant(tmp_path, "outside/x.incomplete", 3600)
    cache = target / ".cache/huggingface"
    cache.mkdir(parents=True)
    (cache / "x.incomplete").symlink_to(outside)
    (cache / "linked").symlink_to(outside.parent)
    (cache / "folder.incomplete").mkdir()
    assert volume_of(target).inventory(manifest_of(FILES)).stale_files == ()


def test_partials_of_another_artifact_are_reclaimed_and_ours_are_kept(target: Path) -> None:
    ours, theirs = noise(10_000, 1), noise(10_000, 2)
    files = [remote("model.bin", ours), remote("other.bin", theirs)]
    with volume_of(target) as volume:
        with volume.lease(URI):
            for file, data in zip(files, (ours, theirs), strict=True):
                partial = volume.partial(file)
                partial.write(0, memoryview(bytearray(data[:5000])))
                partial.complete(Span(0, 5000))
                partial.close()
            folder = next(target.glob(".downloading/parts.*"))
            (folder / f"{files[0].identity}.foreign").write_bytes(b"half, by an older version of ours")
            (folder / "scratch").mkdir()
            (folder / "scratch/chunk").write_bytes(noise(5000))
        with volume.lease(URI):
            manifest = manifest_of({"model.bin": ours})
            assert volume.reclaim(volume.inventory(manifest)) >= 15_000
            left = {path.name for path in target.glob(".downloading/parts.*/**/*") if path.is_file()}
            assert left == {f"{files[0].identity}.part", f"{files[0].identity}.journal"}
            assert volume.inventory(manifest).entries[0].done_bytes == 5000


def test_an_empty_working_folder_is_removed_without_a_lease_and_one_in_use_is_not(target: Path) -> None:
    work = target / ".downloading"
    work.mkdir()
    with volume_of(target) as volume:
        volume.tidy()
        assert not work.exists()
        volume.tidy()
        with volume.lease(URI):
            volume.tidy()
            volume.check_lease()


def test_a_volume_that_cannot_be_written_keeps_its_working_folder(target: Path) -> None:
    def fault(doing: str) -> None:
        if doing.startswith("removing"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    (target / ".downloading").mkdir()
    with Volume(target, files=Disk(target, fault=fault)) as volume:
        volume.tidy()
    assert (target / ".downloading").is_dir()


def test_nothing_else_is_left_after_success(target: Path) -> None:
    with volume_of(target) as volume:
        with volume.lease(URI):
            volume.partial(remote("other.bin", noise(10_000))).close()
            (target / ".downloading/future").mkdir()
            (target / ".downloading/future/thing").touch()
        download(volume, FILES)
    assert {str(path.relative_to(target)) for path in target.rglob("*")} == {
        "a",
        "folder",
        "folder/b",
        ".artifact.sha256",
    }
