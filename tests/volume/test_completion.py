"""Where an artifact is marked as complete: in a list, in extended attributes, or nowhere."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Completion, Manifest
from downloader.errors import IntegrityError
from downloader.filesystem.local import Disk
from downloader.integrity.checksum_file import MARKER
from downloader.lease import WORK
from downloader.volume import FileState, Volume
from downloader.volume.completion import COMPLETION_ATTRIBUTE, PREVIOUS_ATTRIBUTE, SHA256
from tests.command import content
from tests.needs import PRIVILEGES, able, extended_attributes
from tests.volume.artifacts import URI, download, git_remote, manifest_of, noise, remote, sha256, states
from tests.volume.test_healing import DAMAGES
from tests.volume.test_healing import FILES as HEALED
from tests.volume.test_hostile_records import deep

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.filesystem.interface import FileOperations

FILES = {"config.json": b'{"a": 1}', "folder/model.bin": noise(200_000), "empty": b"", ".hidden/x": b"x"}
MANIFEST = replace(manifest_of(FILES), version="v1")
OWN = "".join(f"{sha256(data)} *{path}\n" for path, data in FILES.items()).encode()
WITH_OWN = Manifest(
    "s3://bucket/", manifest_of(FILES, published=False).files, version="v1", checksums=b"# mine, from 2019\n" + OWN
)


class Plain(Disk):
    """A disk without extended attributes, as old NFS and FAT are."""

    def attributes(self, folder: str, names: list[str], name: str) -> dict[str, bytes]:
        del folder, names, name
        return {}

    def attribute(self, path: str, name: str) -> None:
        del path, name

    def set_attribute(self, path: str, name: str, value: bytes) -> bool:
        del path, name, value
        return False


@pytest.fixture(autouse=True)
def _attributes_here(tmp_path: Path) -> None:
    extended_attributes(tmp_path)


def volume_of(target: Path, completion: Completion = Completion.XATTR, files: FileOperations | None = None) -> Volume:
    return Volume(target, files=files, completion=completion)


@pytest.fixture
def finished(target: Path) -> Path:
    """A volume that a run has finished with, and marked in attributes."""
    with volume_of(target) as volume:
        assert download(volume, FILES, manifest=MANIFEST) == MANIFEST.size
    return target


def test_the_volume_holds_the_sources_files_and_nothing_else(finished: Path) -> None:
    assert content(finished) == FILES
    assert sorted(path.name for path in finished.iterdir()) == [".hidden", "config.json", "empty", "folder"]
    assert os.getxattr(finished / "config.json", SHA256).decode().split()[0] == sha256(FILES["config.json"])
    assert f"# source: {URI}\n" in os.getxattr(finished, COMPLETION_ATTRIBUTE).decode()


def test_a_rerun_is_metadata_alone(finished: Path) -> None:
    before = {path: path.stat().st_ctime_ns for path in finished.rglob("*")}
    opened: list[str] = []
    with volume_of(finished, files=Disk(finished, fault=opened.append)) as volume:
        sealed = volume.completed()
        assert sealed
        assert sealed.fits("v1")
        assert not sealed.fits("v2")
        inventory = volume.inventory(MANIFEST)
    assert inventory.published
    assert inventory.digests == {path: sha256(data) for path, data in FILES.items()}
    assert not [doing for doing in opened if doing.startswith(("reading", "marking"))]
    assert {path: path.stat().st_ctime_ns for path in finished.rglob("*")} == before


def test_files_without_any_sha256_of_the_source_are_known_too(target: Path) -> None:
    found = (git_remote(path, data) if path == "config.json" else remote(path, data) for path, data in FILES.items())
    manifest = Manifest(URI, tuple(sorted(found, key=lambda file: file.path)), "c0")
    with volume_of(target) as volume:
        download(volume, FILES, manifest=manifest)
        assert volume.inventory(manifest).published


@pytest.mark.parametrize(("damage", "broken"), DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_found_by_verify_and_mended_alone(
    target: Path, damage: Callable[[Path], object], broken: set[str]
) -> None:
    with volume_of(target) as volume:
        download(volume, HEALED)
        damage(target)
        found = volume.verify().damaged
        named = {damage.path for damage in found} - {"(names unknown)"}
        assert found
        assert named <= broken
        assert download(volume, HEALED) == sum(len(HEALED[path]) for path in broken)
        assert volume.verify().damaged == ()
        assert volume.inventory(manifest_of(HEALED)).published


def test_verify_counts_files_that_took_their_names_along(finished: Path) -> None:
    (finished / "config.json").unlink()
    with volume_of(finished) as volume:
        found = volume.verify()
    assert [str(damage) for damage in found.damaged] == [
        "(names unknown): 1 of 4 files gone, replaced or without a mark"
    ]
    assert (found.source, found.checked) == (URI, 3)


def test_a_copy_of_a_file_with_its_attributes_is_not_one_of_the_artifact(finished: Path) -> None:
    shutil.copy2(finished / "config.json", finished / "copy.json")
    assert os.getxattr(finished / "copy.json", SHA256)
    with volume_of(finished) as volume:
        found = volume.verify()
        assert (found.damaged, found.unlisted, found.checked) == ((), ("copy.json",), 4)
        assert volume.inventory(MANIFEST).published


def replace_with_attributes(target: Path) -> None:
    """Put a file in the place of another, with all that is known of it."""
    shutil.copy2(target / "config.json", target / "folder/model.bin")


def leave_one(target: Path) -> None:
    for path in FILES.keys() - {"empty"}:
        (target / path).unlink()


@pytest.mark.parametrize(
    "damage", [lambda target: (target / "config.json").unlink(), replace_with_attributes, leave_one]
)
def test_a_mark_that_lost_names_is_not_the_mark_of_the_artifact(
    finished: Path, damage: Callable[[Path], object]
) -> None:
    damage(finished)
    with volume_of(finished) as volume:
        assert volume.completed() is None
        assert not volume.inventory(MANIFEST).published
        download(volume, FILES, manifest=MANIFEST)
        assert volume.completed()
    assert content(finished) == FILES


def test_files_of_an_earlier_mark_do_not_stand_in_for_files_that_are_gone(finished: Path) -> None:
    """Three files are on the volume that were marked at some time, and the mark of now speaks of three others."""
    later = {"a": b"aa", "b": b"bb", "config.json": b"changed"}
    manifest = replace(manifest_of(later, uri="hf://org/later"), version="v2")
    for path in FILES.keys() - {"config.json"}:
        os.utime(finished / path)  # a program touched them, so they are not listed any more
    with volume_of(finished) as volume:
        download(volume, later, manifest=manifest)
        found = volume.completed()
        assert found
        assert found.digests.keys() == later.keys()
        (finished / "a").unlink()
        assert volume.completed() is None
        assert [str(damage) for damage in volume.verify().damaged] == [
            "(names unknown): 1 of 3 files gone, replaced or without a mark"
        ]


def test_what_another_artifact_has_lost_is_told(finished: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = {"other/a": b"a", "other/b": b"b"}
    manifest = replace(manifest_of(other, uri="hf://org/other"), version="v2")
    with volume_of(finished) as volume:
        download(volume, other, manifest=manifest)
        (finished / "other/a").unlink()
        assert download(volume, other, manifest=manifest) == 1
        assert not caplog.records
        (finished / "config.json").unlink()
        assert volume.inventory(manifest).published  # it is all there, and nothing has to be written
        assert [str(damage) for damage in volume.verify().damaged] == [
            "(names unknown): 1 of 6 files gone, replaced or without a mark"
        ]
        (finished / "other/a").unlink()
        assert download(volume, other, manifest=manifest) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "not listed any more: 1 file of earlier runs, gone or replaced together with its mark"
    ]


def test_a_copied_folder_is_hashed_once(finished: Path) -> None:
    copy = finished.parent / "copy"
    subprocess.run(["cp", "-a", finished, copy], check=True)
    assert os.getxattr(copy, COMPLETION_ATTRIBUTE)
    with volume_of(copy) as volume:
        assert volume.completed() is None
        assert FileState.VERIFIED not in states(volume.inventory(MANIFEST)).values()
        assert download(volume, FILES, manifest=MANIFEST) == 0
        assert volume.inventory(MANIFEST).published


@pytest.mark.parametrize("completion", [Completion.FILE, Completion.XATTR])
def test_the_list_for_sha256sum_can_always_be_had(target: Path, completion: Completion) -> None:
    with volume_of(target, completion) as volume:
        download(volume, FILES, manifest=MANIFEST)
        listed = volume.checksums()
    (target.parent / "list").write_bytes(listed)
    command = ["sha256sum", "--check", "--strict", "--quiet", str(target.parent / "list")]
    subprocess.run(command, cwd=target, check=True)
    assert f"# source: {URI}".encode() in listed


def test_there_is_no_list_where_files_are_gone_or_nothing_was_finished(finished: Path) -> None:
    (finished / "config.json").unlink()
    with volume_of(finished) as volume, pytest.raises(IntegrityError, match="1 of 4 files"):
        volume.checksums()
    os.removexattr(finished, COMPLETION_ATTRIBUTE)
    with volume_of(finished) as volume, pytest.raises(IntegrityError, match="no download was finished here"):
        volume.checksums()


@pytest.mark.parametrize("second", [Completion.FILE, Completion.XATTR, Completion.NONE])
@pytest.mark.parametrize("first", [Completion.FILE, Completion.XATTR, Completion.NONE])
def test_another_choice_moves_the_mark_and_fetches_nothing(target: Path, first: Completion, second: Completion) -> None:
    with volume_of(target, first) as volume:
        download(volume, FILES, manifest=MANIFEST)
    with volume_of(target, second) as volume:
        assert volume.inventory(MANIFEST).published == (first == second != Completion.NONE)
        assert download(volume, FILES, manifest=MANIFEST) == 0
    assert (target / MARKER).exists() == (second is Completion.FILE)
    names = os.listxattr(target)
    assert (COMPLETION_ATTRIBUTE in names, PREVIOUS_ATTRIBUTE in names) == (second is Completion.XATTR, False)
    with volume_of(target, second) as volume:
        assert set(states(volume.inventory(MANIFEST)).values()) == {
            FileState.UNVERIFIED if second is Completion.NONE else FileState.VERIFIED
        }


@pytest.mark.parametrize("manifest", [MANIFEST, WITH_OWN], ids=["no list", "its own list"])
@pytest.mark.parametrize("completion", [Completion.FILE, Completion.XATTR])
def test_the_mark_of_a_run_that_was_killed_before_it_cleaned_up_stays(
    target: Path, completion: Completion, manifest: Manifest
) -> None:
    with volume_of(target, completion) as volume:
        download(volume, FILES, manifest=manifest)
    (target / WORK / "parts.dead").mkdir(parents=True)
    os.setxattr(target, PREVIOUS_ATTRIBUTE, b"# files: 0\n")
    before = (target / MARKER).stat().st_ino if (target / MARKER).exists() else None
    doing: list[str] = []
    with volume_of(target, completion, Disk(target, fault=doing.append)) as volume:
        assert not volume.inventory(manifest).published
        assert download(volume, FILES, manifest=manifest) == 0
        assert volume.inventory(manifest).published
    assert not [
        each for each in doing if each.startswith("marking") or (each.startswith("renaming") and MARKER in each)
    ]
    assert f"syncing the folder {target}" in doing, "it may have been killed before that"
    assert ((target / MARKER).stat().st_ino if (target / MARKER).exists() else None) == before
    assert not (target / WORK).exists()
    assert PREVIOUS_ATTRIBUTE not in os.listxattr(target)


def test_the_mark_in_another_place_goes_also_if_the_run_that_wrote_the_new_one_was_killed(finished: Path) -> None:
    old = os.getxattr(finished, COMPLETION_ATTRIBUTE)
    for _ in range(2):
        with volume_of(finished, Completion.FILE) as volume:
            download(volume, FILES, manifest=MANIFEST)
        assert COMPLETION_ATTRIBUTE not in os.listxattr(finished)
        os.setxattr(finished, COMPLETION_ATTRIBUTE, old)


@pytest.mark.parametrize("completion", [Completion.FILE, Completion.XATTR])
def test_a_sources_own_list_stays_as_it_is_and_a_rerun_is_metadata_alone(target: Path, completion: Completion) -> None:
    with volume_of(target, completion) as volume:
        download(volume, FILES, manifest=WITH_OWN)
        assert (target / MARKER).read_bytes() == WITH_OWN.checksums == volume.checksums()
        assert volume.inventory(WITH_OWN).published
        sealed = volume.completed()
        assert sealed
        assert sealed.fits("v1")
        assert volume.verify().source == "s3://bucket/"
        (target / MARKER).write_bytes(OWN.replace(b"config", b"confix"))
        assert not volume.inventory(WITH_OWN).published
        (target / MARKER).write_bytes(OWN.replace(sha256(b"x").encode(), b"0" * 64))
        assert [damage.path for damage in volume.verify().damaged] == [MARKER]
        assert download(volume, FILES, manifest=WITH_OWN) == 0
        assert (target / MARKER).read_bytes() == WITH_OWN.checksums


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (Path.unlink, "is missing"),
        (lambda path: path.write_bytes(b"no list"), "is not the list that the source has"),
        (lambda path: path.write_bytes(OWN), "is not the list that the source has"),
    ],
    ids=["gone", "not a list", "another one of the same files"],
)
@pytest.mark.parametrize("completion", [Completion.FILE, Completion.XATTR])
def test_a_sources_own_list_is_one_of_its_files(
    target: Path, completion: Completion, damage: Callable[[Path], object], told: str
) -> None:
    with volume_of(target, completion) as volume:
        download(volume, FILES, manifest=WITH_OWN)
        assert volume.completed()
        damage(target / MARKER)
        assert volume.completed() is None
        assert [str(found) for found in volume.verify().damaged] == [f"{MARKER}: {told}"]
        assert download(volume, FILES, manifest=WITH_OWN) == 0
        assert volume.completed()
    assert content(target) == {**FILES, MARKER: WITH_OWN.checksums}


def test_a_list_that_is_not_the_sources_is_taken_from_a_volume_that_has_nothing_else(finished: Path) -> None:
    (finished / MARKER).write_bytes(OWN)
    with volume_of(finished) as volume:
        assert volume.completed() is None
        download(volume, FILES, manifest=MANIFEST)
        assert volume.completed()
    assert content(finished) == FILES


@pytest.mark.parametrize("manifest", [MANIFEST, WITH_OWN], ids=["no list", "its own list"])
def test_without_attributes_a_rerun_hashes_and_says_so_once(
    target: Path, manifest: Manifest, caplog: pytest.LogCaptureFixture
) -> None:
    for fetched in (MANIFEST.size, 0):
        caplog.clear()
        with volume_of(target, files=Plain(target)) as volume:
            assert FileState.VERIFIED not in states(volume.inventory(manifest)).values()
            assert download(volume, FILES, manifest=manifest) == fetched
        assert [record.getMessage() for record in caplog.records] == [
            "the volume has no extended attributes, so the next run hashes what it finds"
        ]
    assert content(target) == FILES | ({MARKER: manifest.checksums} if manifest.checksums else {})


@pytest.mark.root
def test_a_real_file_system_without_attributes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    able("mount", "-t", "ramfs", "ramfs", str(mount), get=PRIVILEGES)
    try:
        for fetched in (MANIFEST.size, 0):
            with volume_of(mount) as volume:
                assert download(volume, FILES, manifest=MANIFEST) == fetched
        assert caplog.text.count("no extended attributes") == 2
        assert content(mount) == FILES
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)


def test_a_file_that_takes_no_attribute_is_hashed_again_alone(target: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Private(Disk):
        """One file belongs to another user, who lets us read it."""

        def set_attribute(self, path: str, name: str, value: bytes) -> bool:
            return path != "config.json" and super().set_attribute(path, name, value)

    with volume_of(target, files=Private(target)) as volume:
        download(volume, FILES, manifest=MANIFEST)
        assert "no extended attributes on 1 file, so" in caplog.text
        inventory = volume.inventory(MANIFEST)
    assert not inventory.published
    assert [entry.file.path for entry in inventory.having(FileState.UNVERIFIED)] == ["config.json"]


@pytest.mark.slow
def test_deep_foreign_folders_are_no_problem(finished: Path) -> None:
    deep(finished / "deep")
    try:
        with volume_of(finished) as volume:
            assert volume.inventory(MANIFEST).published
    finally:
        subprocess.run(["rm", "-rf", str(finished / "deep")], check=True)


def test_another_selection_of_the_same_repository_is_added(target: Path) -> None:
    first = replace(MANIFEST, files=MANIFEST.files[:2])
    with volume_of(target) as volume:
        download(volume, FILES, manifest=first)
        download(volume, FILES, manifest=replace(MANIFEST, files=MANIFEST.files[2:]))
        assert volume.verify().checked == 4
        assert volume.inventory(first).published
