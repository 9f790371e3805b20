"""Names that a volume takes for one, or refuses: said before the first byte, with both names or the one."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from downloader.errors import VolumeError
from downloader.filesystem.local import Disk
from downloader.integrity.checksum_file import MARKER
from downloader.volume import Volume
from downloader.volume.preflight import alike
from tests.command import model
from tests.needs import PRIVILEGES, able
from tests.volume.artifacts import URI, bring, download, manifest_of
from tests.volume.odd import folding, normalizing, refusing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from downloader.filesystem.interface import FileOperations

COMPOSED, APART = "r\u00e9sum\u00e9.bin", "re\u0301sume\u0301.bin"


def validate_names(target: Path, make: Callable[[Path], FileOperations], *paths: str) -> None:
    with Volume(target, files=make(target)) as volume, volume.lease(URI):
        volume.require_names(manifest_of(dict.fromkeys(paths, b"")))


ONE: dict[str, tuple[Callable[[Path], FileOperations], str, str]] = {
    "files": (folding, "Model.bin", "model.bin"),
    "files in one folder": (folding, "sub/Model.bin", "sub/model.bin"),
    "files in two spellings of a folder": (folding, "Sub/x", "sub/x"),
    "a file and a folder": (folding, "Sub", "sub/x"),
    "sharp s": (folding, "stra\u00dfe", "strasse"),
    "forms of Unicode": (normalizing, COMPOSED, APART),
}
TWO: dict[str, tuple[Callable[[Path], FileOperations], str, str]] = {
    **{f"{name}, on a disk of ours": (Disk, first, second) for name, (_, first, second) in ONE.items()},
    "two folders that differ besides": (folding, "Sub1/x", "sub2/x"),
    "two spellings of a folder, two files": (folding, "Sub/x", "sub/y"),
    "case where only forms are one": (normalizing, "Model.bin", "model.bin"),
}


@pytest.mark.parametrize(("make", "first", "second"), ONE.values(), ids=ONE)
def test_two_names_that_are_one_file_here_are_refused(
    target: Path, make: Callable[[Path], FileOperations], first: str, second: str
) -> None:
    with pytest.raises(VolumeError) as raised:
        validate_names(target, make, first, second, "innocent")
    for name in (first, second.partition("/")[0]):
        assert name in raised.value.message
    assert model(target) == {}


@pytest.mark.parametrize(("make", "first", "second"), TWO.values(), ids=TWO)
def test_two_names_that_are_two_files_here_are_taken(
    target: Path, make: Callable[[Path], FileOperations], first: str, second: str
) -> None:
    validate_names(target, make, first, second)
    # What was tried for it is gone again.
    assert model(target) == {}


@pytest.mark.parametrize("path", [".Artifact.SHA256", ".DOWNLOADING/x", ".Downloading"])
def test_a_name_that_is_one_of_ours_in_another_spelling_is_refused_where_names_fold(target: Path, path: str) -> None:
    with pytest.raises(VolumeError, match="needs for itself"):
        validate_names(target, folding, path)
    validate_names(target, Disk, path)


@pytest.mark.parametrize("name", ["v1:0.bin", "what?", "ends.", "n" * 150, "sub/a|b/x"])
def test_a_name_that_the_volume_refuses_is_named(target: Path, name: str) -> None:
    with pytest.raises(VolumeError, match="the volume cannot hold") as raised:
        validate_names(target, refusing, "innocent", name)
    assert name in raised.value.message
    validate_names(target, Disk, "innocent", name)


def test_usual_names_cost_nothing(target: Path) -> None:
    done: list[str] = []
    with Volume(target, files=Disk(target, fault=done.append)) as volume, volume.lease(URI):
        done.clear()
        volume.require_names(manifest_of(dict.fromkeys(["config.json", "a/model-00001-of-00002.bin", "\u00e9"], b"")))
    assert not any("/names" in doing for doing in done)


def test_pairs_are_found_among_many() -> None:
    paths = [f"folder{number}/file{number}" for number in range(1000)]
    assert list(alike(paths)) == []
    assert list(alike([*paths, "Folder7/file7"])) == [("Folder7/file7", "folder7/file7")]


def test_one_file_for_two_is_never_published(target: Path) -> None:
    """Also where it was not tried, as on a folder that folds in one that does not."""
    files = {"Model.bin": b"1" * 100, "model.bin": b"2" * 100}
    with Volume(target, files=folding(target)) as volume, pytest.raises(VolumeError, match="one file"):
        download(volume, files)
    assert not (target / MARKER).exists()


@pytest.mark.root
def test_on_an_ext4_that_folds_case_two_spellings_are_one_file(tmp_path: Path) -> None:
    """The real thing, where the kernel has it."""
    image, mount = tmp_path / "image", tmp_path / "mount"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(16 << 20)
    steps = [
        ["mkfs.ext4", "-q", "-O", "casefold", str(image)],
        ["mount", "-o", "loop", str(image), str(mount)],
    ]
    for step in steps:
        able(*step, get=f"apt-get install e2fsprogs, a kernel that folds case on ext4, and {PRIVILEGES}")
    try:
        folder = mount / "folds"
        folder.mkdir()
        subprocess.run(["chattr", "+F", str(folder)], check=True)
        with pytest.raises(VolumeError, match="one file"):
            validate_names(folder, Disk, "Model.bin", "model.bin")
        validate_names(folder, Disk, "Model.bin", "other.bin")
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)


# A folder that becomes a file, and the other way round


def test_a_folder_that_an_earlier_run_has_filled_may_become_a_file(target: Path) -> None:
    older = {"tokenizer/a": b"1", "tokenizer/deep/er/b": b"2", "c": b"3"}
    newer = {"tokenizer": b"4", "c": b"3"}
    with Volume(target) as volume:
        download(volume, older)
        download(volume, newer)
        assert volume.inventory(manifest_of(newer)).published
        assert model(target) == newer
        download(volume, older)
    assert model(target) == older


@pytest.mark.parametrize("change", ["added", "changed"])
def test_a_folder_with_something_of_the_user_stays(target: Path, change: str) -> None:
    newer = manifest_of({"tokenizer": b"4"})
    with Volume(target) as volume:
        download(volume, {"tokenizer/a": b"1"})
        (target / "tokenizer" / ("mine" if change == "added" else "a")).write_bytes(b"mine")
        with pytest.raises(VolumeError, match="tokenizer is a folder with something in it"), volume.lease(URI):
            bring(volume, newer, {"tokenizer": b"4"})
    assert b"mine" in model(target).values()
