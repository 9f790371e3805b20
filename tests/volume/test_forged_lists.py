"""Lists of checksums whose comments lie: served by a source, or copied here, to pass files off as others."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from downloader.archives import ArchiveUnpacker
from downloader.archives.unpack import contents_of
from downloader.artifact import Algorithm, Digest, Manifest, RemoteFile
from downloader.filesystem.local import Disk
from downloader.integrity.checksum_file import MARKER, parse_checksums
from downloader.volume import FileState, Volume
from tests.volume.artifacts import bring, commit, git_remote, noise, remote, sha256, states

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from downloader.filesystem.interface import FileOperations, Stat

GOOD = {"config.json": b'{"model_type": "llama"}', "model.bin": noise(50_000)}
EVIL = GOOD | {"config.json": b'{"auto_map": "evil--x"}'}
OFFICIAL = Manifest(
    "hf://org/model", (git_remote("config.json", GOOD["config.json"]), remote("model.bin", GOOD["model.bin"])), "c0ffee"
)
ARCHIVE = RemoteFile("model.tar", 1234, (Digest(Algorithm.SHA256, sha256(b"the archive")),))


def forge(
    folder: Path, manifest: Manifest, contents: Mapping[str, bytes], files: FileOperations | None = None
) -> bytes:
    """Return the list that a run writes which takes these contents for the files of that manifest, proved by sha256."""
    with Volume(folder, files=files) as volume, volume.lease(manifest.uri):
        for file in manifest.files:
            partial = volume.partial(file)
            partial.write(0, memoryview(contents[file.path]))
            for span in partial.missing():
                partial.complete(span)
            commit(volume, partial, contents[file.path], "sha256")
        volume.publish(manifest, {path: sha256(data) for path, data in contents.items()})
    return (folder / MARKER).read_bytes()


def mirror(contents: Mapping[str, bytes], lying: bytes) -> Manifest:
    """Return what a web folder with these files and that list is listed as."""
    files = tuple(RemoteFile(path, len(data), locator=path) for path, data in sorted(contents.items()))
    return Manifest("https://evil/", files, version="v", checksums=lying)


def test_a_list_that_a_source_serves_proves_nothing_for_another_artifact(tmp_path: Path, target: Path) -> None:
    lying = forge(tmp_path / "forged", OFFICIAL, EVIL)
    assert len(EVIL["config.json"]) == len(GOOD["config.json"])
    with Volume(target) as volume:
        with volume.lease("https://evil/"):
            bring(volume, mirror(EVIL, lying), EVIL)
        assert (target / MARKER).read_bytes() == lying
        assert volume.verify().source == "https://evil/"
        inventory = volume.inventory(OFFICIAL)
        assert not inventory.published
        assert states(inventory) == {"config.json": FileState.UNVERIFIED, "model.bin": FileState.VERIFIED}
        with volume.lease(OFFICIAL.uri):
            bring(volume, OFFICIAL, GOOD)
        assert volume.verify().source == OFFICIAL.uri
    assert (target / "config.json").read_bytes() == GOOD["config.json"]


def test_a_copied_folder_with_a_forged_list_proves_nothing(tmp_path: Path, target: Path) -> None:
    forge(tmp_path / "forged", OFFICIAL, EVIL)
    shutil.copytree(tmp_path / "forged", target, dirs_exist_ok=True)
    with Volume(target) as volume:
        assert FileState.VERIFIED not in states(volume.inventory(OFFICIAL)).values()


def test_a_list_that_a_source_serves_does_not_stand_for_an_archive(tmp_path: Path, target: Path) -> None:
    """One that is pinned by its digest, and would never be fetched."""
    archive = Manifest("https://host/model.tar", (ARCHIVE,), single=True)
    contents = contents_of(archive, ARCHIVE, {path: len(data) for path, data in EVIL.items()})
    lying = forge(tmp_path / "forged", contents, EVIL)
    with Volume(target) as volume, volume.lease("https://evil/"):
        bring(volume, mirror(EVIL, lying), EVIL)
    assert (target / MARKER).read_bytes() == lying
    with Volume(target, ttl=60) as volume:
        inventory = ArchiveUnpacker().inventory(volume, archive)
    assert (inventory.published, inventory.entries[0].state) == (False, FileState.MISSING)


class Predictable(Disk):
    """A file system whose inode numbers and file times can be guessed."""

    def handle_stat(self, handle: int) -> Stat:
        return super().handle_stat(handle)._replace(inode=7, mtime_ns=1)

    def stats(self, folder: str, names: list[str]) -> dict[str, Stat]:
        found = super().stats(folder, names)
        return {name: details._replace(inode=7, mtime_ns=1) for name, details in found.items()}


def test_a_list_whose_writer_guessed_the_number_of_its_file_is_not_kept(tmp_path: Path, target: Path) -> None:
    guess = tmp_path / "forged"
    lying = forge(guess, OFFICIAL, EVIL, Predictable(guess))
    with Volume(target, files=Predictable(target)) as volume, volume.lease("https://evil/"):
        bring(volume, mirror(EVIL, lying), EVIL)
    kept = parse_checksums((target / MARKER).read_bytes())
    assert (kept.source, kept.files) == ("https://evil/", {path: sha256(data) for path, data in EVIL.items()})
    with Volume(target, files=Predictable(target)) as volume:
        assert states(volume.inventory(OFFICIAL))["config.json"] is FileState.UNVERIFIED


@pytest.mark.parametrize("path", ["notes", "notes/mine.txt"])
def test_what_a_foreign_list_names_is_not_ours_to_remove(target: Path, path: str) -> None:
    """A file where the artifact has a folder goes only if we put it there ourselves."""
    (target / path).parent.mkdir(exist_ok=True)
    (target / path).write_text("mine")
    (target / MARKER).write_text(f"# files: 1\n{sha256(b'mine')}  {path}\n")
    with Volume(target) as volume:
        assert path not in volume.inventory(replace(OFFICIAL)).ours
