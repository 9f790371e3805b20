"""The seal fits the very same files of the very same version; whatever else is there is left to the inventory."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Manifest
from downloader.filesystem.local import Disk
from downloader.integrity.checksum_file import MARKER, parse_checksums
from downloader.lease.lease import WORK
from downloader.volume import FileState, Volume
from downloader.volume.completion import COMPLETION_ATTRIBUTE
from tests.volume.artifacts import URI, bring, download, manifest_of, noise, sha256, states
from tests.volume.test_healing import DAMAGES, MARKERS
from tests.volume.test_healing import FILES as HEALED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from downloader.volume import CompletedArtifact

FILES = {"config.json": b'{"a": 1}', "folder/model.bin": noise(200_000), "empty": b""}
MANIFEST = replace(manifest_of(FILES), version="v1")


@pytest.fixture
def finished(target: Path) -> Path:
    """A volume that a run has finished with."""
    with Volume(target) as volume:
        download(volume, FILES, manifest=MANIFEST)
    return target


def completed(target: Path) -> CompletedArtifact | None:
    with Volume(target) as volume:
        return volume.completed()


def fits(target: Path, version: str = "v1") -> bool:
    found = completed(target)
    return found is not None and found.fits(version)


def test_an_untouched_volume_is_known_by_its_version_without_opening_a_file(finished: Path) -> None:
    opened: list[str] = []
    with Volume(finished, files=Disk(finished, fault=opened.append)) as volume:
        found = volume.completed()
    assert found
    assert found.fits("v1")
    assert not found.fits("v2")
    assert found.checksums.files == {path: sha256(data) for path, data in FILES.items()}
    assert [(file.path, file.size, file.digests) for file in found.manifest.files] == [
        (file.path, file.size, file.digests) for file in MANIFEST.files
    ]
    assert (found.manifest.uri, found.manifest.revision) == (URI, "c0ffee")
    assert [doing for doing in opened if "opening" in doing] == [
        f"making or opening {finished}",
        f"opening {finished}/{MARKER}",
    ]


def test_where_a_source_has_no_version_nothing_is_stamped(target: Path) -> None:
    with Volume(target) as volume:
        download(volume, FILES)
        assert volume.completed() is None
    assert b"# version: " not in (target / MARKER).read_bytes()


@pytest.mark.parametrize("damage", [damage for damage, _ in DAMAGES.values()], ids=DAMAGES)
def test_no_damage_is_taken_for_the_artifact(target: Path, damage: Callable[[Path], object]) -> None:
    with Volume(target) as volume:
        download(volume, HEALED, manifest=replace(manifest_of(HEALED), version="v1"))
    assert fits(target)
    damage(target)
    assert not fits(target)


@pytest.mark.parametrize("damage", MARKERS.values(), ids=MARKERS)
def test_without_its_list_an_artifact_is_not_known(finished: Path, damage: Callable[[Path], object]) -> None:
    damage(finished / MARKER)
    assert not fits(finished)


def keep_times(path: Path, change: Callable[[], object]) -> None:
    found = path.stat()
    change()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def shorten(target: Path) -> None:
    path = target / "folder/model.bin"
    keep_times(path, lambda: os.truncate(path, 1000))


def swap_contents(target: Path) -> None:
    """Replace a file by another one of the same size and date."""
    path = target / "config.json"
    (target / "new").write_bytes(b'{"b": 2}')
    os.utime(target / "new", ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    (target / "new").rename(path)


def rewrite(old: str, new: str) -> Callable[[Path], None]:
    def change(target: Path) -> None:
        text = (target / MARKER).read_text()
        assert old in text
        (target / MARKER).write_text(text.replace(old, new))

    return change


def copy_list(target: Path) -> None:
    shutil.copy2(target / MARKER, target / "x")
    (target / "x").rename(target / MARKER)


TOUCHES: dict[str, Callable[[Path], object]] = {
    "shortened, with its old date": shorten,
    "replaced, with size and date of the old one": swap_contents,
    "dated later": lambda target: os.utime(target / "empty"),
    "dated earlier": lambda target: os.utime(target / "empty", (1, 1)),
    "a list that was copied": copy_list,
    "another digest in the list": rewrite(sha256(FILES["config.json"]), sha256(b"")),
    "another path in the list": rewrite("  config.json", "  folder/model.bin2"),
    "a path less in the list": rewrite(f"{sha256(b'')}  empty\n", ""),
    "another seal": rewrite("# seal: ", "# seal: 0"),
    "another proof": rewrite("# seal: ", "# proof: sha256\n# seal: "),
    "the proof of one file": rewrite("# seal: ", "# proof: sha256  config.json\n# seal: "),
    "a run that has to go on": lambda target: (target / WORK / "parts.x").mkdir(parents=True),
}


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES)
def test_whatever_was_touched_is_left_to_the_survey(finished: Path, touch: Callable[[Path], object]) -> None:
    touch(finished)
    assert not fits(finished)


def test_what_changes_nothing_of_the_artifact_does_not_matter(finished: Path) -> None:
    (finished / WORK).mkdir()
    (finished / "notes.txt").write_text("mine")
    (finished / "folder").rename(finished / "aside")
    (finished / "aside").rename(finished / "folder")
    os.utime(finished / MARKER, (1, 1))
    assert fits(finished)


def test_a_copy_is_hashed_once_and_not_fetched(finished: Path) -> None:
    """A copy cannot be told from a folder that was made to look like one."""
    copy = finished.parent / "copy"
    shutil.copytree(finished, copy)
    assert not fits(copy)
    with Volume(copy) as volume:
        assert set(states(volume.inventory(MANIFEST)).values()) == {FileState.UNVERIFIED}
        assert download(volume, FILES, manifest=MANIFEST) == 0
        assert volume.inventory(MANIFEST).published
    assert fits(copy)


def test_what_cannot_be_looked_at_is_left_to_the_survey(finished: Path) -> None:
    def fault(doing: str) -> None:
        if "looking at" in doing and doing.endswith("folder"):
            raise PermissionError(13, "Permission denied")

    with Volume(finished, files=Disk(finished, fault=fault)) as volume:
        assert volume.completed() is None


def test_the_next_version_is_sealed_again(finished: Path) -> None:
    newer = FILES | {"config.json": b'{"a": 2}'}
    with Volume(finished) as volume:
        download(volume, newer, manifest=replace(manifest_of(newer), version="v2"))
    assert fits(finished, "v2")
    assert not fits(finished)


def test_a_sealed_foreign_list_seals_nothing(finished: Path, target: Path) -> None:
    """A source may serve a list with a seal in it, and say there whatever it knows of another artifact."""
    other = target.parent / "other"
    lying = (finished / MARKER).read_bytes()
    assert parse_checksums(lying).seal
    manifest = Manifest("s3://evil/", manifest_of(FILES, published=False).files, version="v3", checksums=lying)
    with Volume(other) as volume, volume.lease(manifest.uri):
        bring(volume, manifest, FILES)
    assert (other / MARKER).read_bytes() == lying
    assert not fits(other)
    os.removexattr(other, COMPLETION_ATTRIBUTE)
    assert not fits(other)
    assert not fits(other, "v3")
    with Volume(other) as volume:
        assert set(states(volume.inventory(manifest)).values()) == {FileState.UNVERIFIED}
