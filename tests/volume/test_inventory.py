"""What is on the volume is believed only if it proves itself, and then at the price of a look."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Manifest, Span
from downloader.errors import VolumeError
from downloader.filesystem.local import Disk
from downloader.integrity.checksum_file import MARKER
from downloader.volume import FileState, Volume
from tests.volume.artifacts import (
    URI,
    bring,
    commit,
    download,
    fill,
    git_remote,
    manifest_of,
    noise,
    remote,
    sha256,
    states,
)

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"config.json": b'{"a": 1}', "folder/model.bin": noise(200_000), "empty": b""}
MANIFEST = manifest_of(FILES)
VERIFIED = dict.fromkeys(FILES, FileState.VERIFIED)


def run(target: Path, files: dict[str, bytes], manifest: Manifest | None = None) -> int:
    with Volume(target, journal_above=64 << 10) as volume:
        return download(volume, files, manifest=manifest)


class Reads(Disk):
    """Counts what is opened, and forbids hashing."""

    def __init__(self, target: Path) -> None:
        super().__init__(target)
        self.opened: list[str] = []

    def open(self, path: str, *, write: bool = False) -> int:
        self.opened.append(path)
        return super().open(path, write=write)


def test_an_empty_volume_lacks_everything(volume: Volume) -> None:
    inventory = volume.inventory(MANIFEST)
    assert set(states(inventory).values()) == {FileState.MISSING}
    assert (inventory.needed_bytes, len(inventory.missing())) == (MANIFEST.size, 3)
    assert not inventory.published


def test_a_finished_volume_is_believed_without_opening_a_file_or_writing_one(target: Path) -> None:
    assert run(target, FILES) == MANIFEST.size
    disk = Reads(target)
    before = sorted((path, path.stat().st_mtime_ns) for path in target.rglob("*"))
    inventory = Volume(target, files=disk).inventory(MANIFEST)
    assert inventory.published
    assert inventory.digests == {path: sha256(data) for path, data in FILES.items()}
    assert [entry.done_bytes for entry in inventory.entries] == [file.size for file in MANIFEST.files]
    assert not set(disk.opened) & FILES.keys()
    assert sorted((path, path.stat().st_mtime_ns) for path in target.rglob("*")) == before


def test_a_survey_looks_at_each_folder_and_not_at_each_file_on_its_own(target: Path) -> None:
    files = {f"folder{number % 10}/{number}": b"x" for number in range(400)}
    run(target, files)
    looks: list[str] = []
    with Volume(target, files=Disk(target, fault=looks.append)) as volume:
        assert volume.inventory(manifest_of(files)).published
    assert len(looks) < 60


@pytest.mark.parametrize("published", [True, False], ids=["with sha256", "without digests"])
def test_what_an_unfinished_run_has_committed_is_hashed_and_not_fetched(
    target: Path,
    published: bool,  # noqa: FBT001
) -> None:
    manifest = manifest_of(FILES, published=published)
    with Volume(target) as volume:
        with volume.lease(URI):
            fill(volume, manifest.files[0], FILES["config.json"])
        with volume.lease(URI):
            inventory = volume.inventory(manifest)
            assert states(inventory)["config.json"] is FileState.UNVERIFIED
            found = volume.check(inventory.entries[0])
            assert found
            assert found.sha256 == sha256(FILES["config.json"])
            assert found.proof == ("sha256" if published else "size only")


@pytest.mark.parametrize("change", ["bytes", "time", "replaced"])
def test_a_committed_file_that_was_touched_is_hashed_again(target: Path, change: str) -> None:
    path = target / "config.json"
    with Volume(target) as volume, volume.lease(URI):
        fill(volume, MANIFEST.files[0], FILES["config.json"])
        if change == "bytes":
            path.write_bytes(b'{"b": 1}')
        elif change == "time":
            os.utime(path)
        else:
            times = path.stat().st_atime_ns, path.stat().st_mtime_ns
            path.rename(target / "aside")
            path.write_bytes(b'{"b": 1}')
            os.utime(path, ns=times)
        entry = volume.inventory(MANIFEST).entries[0]
        assert entry.state is FileState.UNVERIFIED
        found = volume.check(entry)
        assert (found and found.sha256) == (sha256(FILES["config.json"]) if change == "time" else None)


@pytest.mark.parametrize("published", [True, False], ids=["with sha256", "without digests"])
def test_a_listed_file_changed_after_the_list_is_hashed_again(target: Path, published: bool) -> None:  # noqa: FBT001
    manifest = manifest_of(FILES, published=published)
    run(target, FILES, manifest)
    os.utime(target / "config.json")
    with Volume(target) as volume, volume.lease(URI):
        inventory = volume.inventory(manifest)
        assert states(inventory) == VERIFIED | {"config.json": FileState.UNVERIFIED}
        found = volume.check(inventory.entries[0])
        assert found
        assert (found.state, found.sha256) == (FileState.VERIFIED, sha256(FILES["config.json"]))
    assert run(target, FILES, manifest) == 0
    assert states(Volume(target).inventory(manifest)) == VERIFIED


def test_a_new_revision_costs_only_what_it_changed(target: Path) -> None:
    """The weights are named by sha256, the small files by git blob id, as the Hub does."""
    first, second = dict(FILES), FILES | {"config.json": b'{"a": 2}'}

    def listed(files: dict[str, bytes], commit: str) -> Manifest:
        weights = "folder/model.bin"
        found = [remote(path, data) if path == weights else git_remote(path, data) for path, data in files.items()]
        return Manifest(URI, tuple(sorted(found, key=lambda file: file.path)), commit)

    run(target, first, listed(first, "c0"))
    assert Volume(target).inventory(listed(first, "c0")).published
    with Volume(target) as volume:
        inventory = volume.inventory(listed(second, "c1"))
    assert not inventory.published
    assert states(inventory) == {
        "config.json": FileState.UNVERIFIED,
        "empty": FileState.VERIFIED,
        "folder/model.bin": FileState.VERIFIED,
    }
    assert run(target, second, listed(second, "c1")) == len(second["config.json"])
    assert Volume(target).inventory(listed(second, "c1")).published


def test_an_object_that_was_replaced_behind_the_same_size_is_fetched_again(target: Path) -> None:
    manifest = manifest_of(FILES, published=False)
    run(target, FILES, manifest)
    newer = FILES | {"config.json": b'{"a": 2}'}
    assert manifest_of(newer, published=False).files[0].size == manifest.files[0].size
    assert run(target, newer, manifest_of(newer, published=False)) > 0
    assert (target / "config.json").read_bytes() == newer["config.json"]


def test_a_file_that_nothing_can_prove_is_not_believed(target: Path) -> None:
    (target / "config.json").write_bytes(FILES["config.json"])
    inventory = Volume(target).inventory(manifest_of(FILES, published=False))
    assert states(inventory)["config.json"] is FileState.MISSING


def test_a_volume_filled_by_other_tools_is_adopted_and_not_fetched(target: Path) -> None:
    for path, data in FILES.items():
        (target / path).parent.mkdir(exist_ok=True)
        (target / path).write_bytes(data)
    synced: list[str] = []
    disk = Disk(target, fault=lambda doing: synced.append(doing) if doing.startswith("syncing a file") else None)
    volume = Volume(target, files=disk)
    manifest = Manifest(URI, tuple(git_remote(file.path, FILES[file.path]) for file in MANIFEST.files), "c0")
    with volume.lease(URI):
        inventory = volume.inventory(manifest)
        assert set(states(inventory).values()) == {FileState.UNVERIFIED}
        assert inventory.needed_bytes == 0
        for entry in inventory.entries:
            synced.clear()
            found = volume.check(entry)
            assert found
            assert (found.sha256, found.proof) == (sha256(FILES[entry.file.path]), "git-sha1")
            assert len(synced) == 1
        assert bring(volume, manifest, FILES) == 0
    assert volume.inventory(manifest).published


def test_progress_of_a_check_is_told_and_can_end_it(target: Path) -> None:
    (target / "folder").mkdir()
    (target / "folder/model.bin").write_bytes(FILES["folder/model.bin"])
    with Volume(target) as volume, volume.lease(URI):
        entry = next(h for h in volume.inventory(MANIFEST).entries if h.file.path == "folder/model.bin")
        told: list[int] = []
        assert volume.check(entry, told.append) is not None
        assert sum(told) == entry.file.size

        def stop(_: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            volume.check(entry, stop)


def test_a_file_that_is_written_to_while_it_is_hashed_is_not_believed(target: Path) -> None:
    path = target / "config.json"
    path.write_bytes(FILES["config.json"])
    with Volume(target) as volume, volume.lease(URI):
        entry = volume.inventory(MANIFEST).entries[0]

        def write(_: int) -> None:
            path.write_bytes(b'{"b": 1}')

        assert volume.check(entry, write) is None


def test_a_partial_counts_as_much_as_its_journal_says_and_needs_room_for_the_rest(target: Path) -> None:
    data = noise(8 << 20)
    file = remote("model.bin", data)
    with Volume(target, journal_above=1 << 20) as volume, volume.lease(URI):
        partial = volume.partial(file)
        partial.write(0, memoryview(bytearray(data[: 3 << 20])))
        partial.complete(Span(0, 2 << 20))
        partial.close()
        entry = volume.inventory(Manifest(URI, (file,))).entries[0]
    assert (entry.state, entry.done_bytes) == (FileState.PARTIAL, 2 << 20)
    assert entry.needed_bytes <= 5 << 20
    (entry,) = Volume(target, journal_above=1 << 20).inventory(Manifest(URI, (file,))).entries
    assert entry.done_bytes == 2 << 20


def test_the_same_bytes_under_another_path_are_another_file(target: Path) -> None:
    run(target, FILES)
    moved = {"moved.json": FILES["config.json"]}
    assert states(Volume(target).inventory(manifest_of(moved))) == {"moved.json": FileState.MISSING}


@pytest.mark.parametrize("date", [1, 2**62], ids=["long ago", "in the future"])
def test_whatever_the_dates_of_files_are_a_later_change_is_noticed(target: Path, date: int) -> None:
    """A node with a wrong clock wrote one of them, or it was unpacked from an archive."""
    for path, data in FILES.items():
        (target / path).parent.mkdir(exist_ok=True)
        (target / path).write_bytes(data)
        os.utime(target / path, ns=(date, date))
    assert run(target, FILES) == 0
    assert Volume(target).inventory(MANIFEST).published
    (target / "config.json").write_bytes(b'{"b": 1}')
    assert states(Volume(target).inventory(MANIFEST)) == VERIFIED | {"config.json": FileState.UNVERIFIED}
    os.utime(target / "config.json", ns=(date - 1, date - 1))
    assert states(Volume(target).inventory(MANIFEST)) == VERIFIED | {"config.json": FileState.UNVERIFIED}
    assert run(target, FILES) == len(FILES["config.json"])


def test_a_clock_that_was_ahead_when_the_files_were_written_costs_no_hashing(target: Path) -> None:
    """Another machine wrote them, two hours ahead of the one that publishes."""
    with Volume(target) as volume, volume.lease(URI):
        for file in MANIFEST.files:
            fill(volume, file, FILES[file.path])
            os.utime(target / file.path, ns=(2**62, 2**62))
        volume.publish(MANIFEST, {path: sha256(data) for path, data in FILES.items()})
    assert states(Volume(target).inventory(MANIFEST)) == VERIFIED


def test_two_artifacts_may_use_one_target_after_each_other(target: Path) -> None:
    run(target, FILES)
    other = {"other.bin": b"other"}
    assert run(target, other, manifest_of(other, uri="s3://bucket/")) == 5
    assert {path: (target / path).read_bytes() for path in FILES} == FILES
    assert run(target, FILES) == 0
    assert (target / "other.bin").read_bytes() == b"other"


def test_the_checksum_file_is_away_while_files_it_lists_are_changed(target: Path) -> None:
    run(target, FILES)
    newer = manifest_of(FILES | {"config.json": b"newer"})
    with Volume(target) as volume:
        with volume.lease(URI):
            assert (target / MARKER).exists()
            fill(volume, newer.files[0], b"newer")
            assert not (target / MARKER).exists()
        inventory = volume.inventory(newer)
    assert states(inventory) == dict.fromkeys(FILES, FileState.UNVERIFIED)
    assert not inventory.published
    assert run(target, FILES | {"config.json": b"newer"}, newer) == 0


def test_a_run_that_changes_nothing_leaves_the_checksum_file_alone(target: Path) -> None:
    run(target, FILES)
    before = (target / MARKER).read_bytes()
    with pytest.raises(VolumeError), Volume(target) as volume, volume.lease(URI):
        raise VolumeError("the source was away")
    assert (target / MARKER).read_bytes() == before


def test_publish_refuses_what_is_not_there(target: Path) -> None:
    run(target, FILES)
    digests = {path: sha256(data) for path, data in FILES.items()}
    with Volume(target) as volume, volume.lease(URI):
        (target / "config.json").unlink()
        with pytest.raises(VolumeError, match=r"config\.json"):
            volume.publish(MANIFEST, digests)
        (target / "config.json").write_bytes(b"longer than before")
        with pytest.raises(VolumeError, match=r"config\.json"):
            volume.publish(MANIFEST, digests)


def test_what_proved_a_file_stands_in_the_list(target: Path) -> None:
    proofs = {"config.json": "etag", "empty": "etag", "folder/model.bin": "size only"}
    with Volume(target) as volume:
        with volume.lease(URI):
            for file in MANIFEST.files:
                partial = volume.partial(file)
                partial.write(0, memoryview(FILES[file.path]))
                partial.complete(Span(0, file.size))
                commit(volume, partial, FILES[file.path], proofs[file.path])
            volume.publish(MANIFEST, {path: sha256(data) for path, data in FILES.items()})
        assert volume.verify().proofs == proofs
        assert {entry.file.path: entry.proof for entry in volume.inventory(MANIFEST).entries} == proofs


def test_after_a_crash_a_file_is_proved_by_what_its_source_publishes_and_not_by_what_the_volume_says(
    target: Path,
) -> None:
    with Volume(target) as volume, volume.lease(URI):
        partial = volume.partial(MANIFEST.files[0])
        partial.write(0, memoryview(FILES["config.json"]))
        partial.complete(Span(0, partial.file.size))
        commit(volume, partial, FILES["config.json"], "etag")
    with Volume(target) as volume:  # the first one never came to an end
        with volume.lease(URI):
            bring(volume, MANIFEST, FILES)
        assert volume.verify().proofs["config.json"] == "sha256"
