"""The lease: who may take it when, and how the one who lost it learns of that."""

from __future__ import annotations

import errno
import json
import os
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Span
from downloader.errors import Cancelled, InternalError, LeaseLost
from downloader.filesystem.local import Disk
from downloader.lease.lease import LAST_EPOCH, Holder, render_lease
from downloader.lease.process_id import ProcessIdentity
from downloader.volume import Volume
from tests.lease.contest import FILES, CountingClock, elsewhere, lease_file
from tests.lease.holder import DATA, HALF
from tests.volume.artifacts import URI, commit, download, fill, manifest_of, sha256
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path


def test_a_holder_frozen_right_before_its_rename_finds_its_paths_gone(tmp_path: Path) -> None:
    """The lease is checked, then the process freezes, then it is taken over, then the rename happens."""
    frozen = Volume(tmp_path, ttl=60)  # so long that no heartbeat finds it out first
    file = manifest_of({"a": b"old"}).files[0]
    with frozen.lease(URI):
        partial = frozen.partial(file)
        lease = tmp_path / ".downloading/lease.1"
        (tmp_path / ".downloading/lease.2").write_bytes(lease.read_bytes().replace(b"pid", b"dip"))
        lease.unlink()
        folder = next((tmp_path / ".downloading").glob("parts.*"))
        folder.rename(folder.with_name("parts.other"))
        partial.write(0, memoryview(b"old"))
        partial.complete(partial.missing()[0])
        with pytest.raises(LeaseLost):
            commit(frozen, partial, b"old")
    assert not (tmp_path / "a").exists()
    assert (tmp_path / ".downloading/lease.2").exists()


def test_a_writer_that_was_frozen_too_long_writes_nothing_more(tmp_path: Path) -> None:
    clock = CountingClock()
    volume = Volume(tmp_path, ttl=60, clock=clock, journal_above=1 << 20)
    with volume.lease(URI):
        partial = volume.partial(manifest_of(FILES).files[0])
        part = next(tmp_path.glob(".downloading/parts.*/*.part"))
        clock.now += 100  # asleep
        lease_file(tmp_path, 2, process=elsewhere())
        with pytest.raises(LeaseLost):
            partial.write(0, memoryview(b"late"))
        assert part.read_bytes()[:4] == bytes(4)
        partial.close(flush=False)


def test_a_lease_taken_over_while_the_checksums_are_written_is_noticed(tmp_path: Path) -> None:
    """The new holder has its lease, but has not come to renaming our folder yet."""

    def fault(doing: str) -> None:
        if doing.startswith("creating") and doing.endswith("checksums"):
            lease_file(tmp_path, 2, process=elsewhere())

    volume = Volume(tmp_path, files=Disk(tmp_path, fault=fault))
    manifest = manifest_of({"a": b"a"})
    with volume.lease(URI):
        fill(volume, manifest.files[0], b"a")
        with pytest.raises(LeaseLost):
            volume.publish(manifest, {"a": sha256(b"a")})
    assert not (tmp_path / ".artifact.sha256").exists()
    assert (tmp_path / ".downloading/lease.2").exists()


def test_a_lease_of_the_same_number_may_belong_to_another_process(tmp_path: Path) -> None:
    """While this one was frozen, others took over, finished, tidied up and began again."""
    volume = Volume(tmp_path)
    with volume.lease(URI):
        lease = tmp_path / ".downloading/lease.1"
        lease.unlink()
        lease_file(tmp_path, 1, process=elsewhere())
        theirs = lease.read_bytes()
        with pytest.raises(LeaseLost):
            volume.reclaim(volume.inventory(manifest_of(FILES)))
    assert lease.read_bytes() == theirs


@pytest.mark.parametrize(("found", "raced"), [(None, 6), (6, 1)], ids=["a higher lease", "a lower lease"])
def test_two_that_were_fast_at_once_do_not_both_hold_it(tmp_path: Path, found: int | None, raced: int) -> None:
    """One sees no lease any more, one has found the last lease dead: each creates its own at the same moment."""
    if found is not None:
        lease_file(tmp_path, found, process=replace(ProcessIdentity.current(), started="1"), token="dead")

    def fault(doing: str) -> None:
        if doing.startswith("creating") and "lease." in doing:
            (tmp_path / f".downloading/lease.{found}").unlink(missing_ok=True)
            lease_file(tmp_path, raced, process=elsewhere())

    def waiting(holder: str, _: float) -> None:
        assert "another-node" in holder
        raise Cancelled

    with pytest.raises(Cancelled), Volume(tmp_path, files=Disk(tmp_path, fault=fault)).lease(URI, waiting=waiting):
        pass
    assert [path.name for path in (tmp_path / ".downloading").iterdir()] == [f"lease.{raced}"]


def test_a_living_holder_with_the_number_of_a_dead_one_is_not_replaced(tmp_path: Path) -> None:
    """While one looked at a dead lease, others took over, finished, and one began again with the same number."""
    lease_file(tmp_path, 1, process=replace(ProcessIdentity.current(), started="1"), token="dead")
    living: list[bytes] = []

    def fault(doing: str) -> None:
        if doing.startswith("creating") and doing.endswith("lease.2") and not living:
            living.append(lease_file(tmp_path, 1, process=elsewhere()).read_bytes())

    def waiting(holder: str, _: float) -> None:
        assert "another-node" in holder
        raise Cancelled

    with pytest.raises(Cancelled), Volume(tmp_path, files=Disk(tmp_path, fault=fault)).lease(URI, waiting=waiting):
        pass
    assert [(tmp_path / ".downloading/lease.1").read_bytes()] == living
    assert [path.name for path in (tmp_path / ".downloading").iterdir()] == ["lease.1"]


def test_a_newer_lease_without_a_holder_ends_no_older_one(tmp_path: Path) -> None:
    """Its maker was killed before it could step back: its lease dies, the other one does not."""
    clock = CountingClock()
    with Volume(tmp_path, ttl=60, clock=clock).lease(URI):
        (tmp_path / ".downloading/lease.2").touch()

        def meanwhile(count: int) -> None:
            lease_file(tmp_path, 1, process=elsewhere(), beats=count)
            if count == 200:
                raise Cancelled

        other = CountingClock(meanwhile)
        said: list[str] = []
        with (
            pytest.raises(Cancelled),
            Volume(tmp_path, ttl=60, clock=other).lease(
                URI, sleep=other.sleep, waiting=lambda holder, _: said.append(holder)
            ),
        ):
            pass
        assert other.now - 1000 > 120
        assert "another-node" in said[-1]


def test_a_holder_goes_on_beside_a_newer_lease_without_a_holder_and_leaves_nothing(tmp_path: Path) -> None:
    with Volume(tmp_path) as volume:
        with volume.lease(URI):
            (tmp_path / ".downloading/lease.2").touch()
            volume.reclaim(volume.inventory(manifest_of(FILES)))
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["9" * 249, "8" * 200, str(LAST_EPOCH), str(10 * LAST_EPOCH - 1)], ids=len)
@pytest.mark.parametrize("record", [b"", b"{}"], ids=["empty", "foreign"])
def test_no_number_of_a_lease_ends_every_later_run(tmp_path: Path, name: str, record: bytes) -> None:
    (tmp_path / ".downloading").mkdir()
    (tmp_path / f".downloading/lease.{name}").write_bytes(record)
    clock = CountingClock()
    with Volume(tmp_path, ttl=60, clock=clock) as volume:
        with volume.lease(URI, sleep=clock.sleep):
            fill(volume, manifest_of(FILES).files[0], DATA)
            volume.publish(manifest_of(FILES), {"model.bin": sha256(DATA)})
        assert volume.inventory(manifest_of(FILES)).published
    assert clock.now < 1100


def test_more_leases_than_there_can_be_are_waited_for_no_longer_than_one(tmp_path: Path) -> None:
    for epoch in range(1, 100):
        lease_file(tmp_path, epoch, process=elsewhere())
    clock = CountingClock()
    with Volume(tmp_path, ttl=60, clock=clock) as volume, volume.lease(URI, sleep=clock.sleep):
        assert clock.now < 1100
        assert len(list((tmp_path / ".downloading").glob("lease.*"))) == 1


def test_a_wait_can_be_ended(tmp_path: Path) -> None:
    lease_file(tmp_path, 1, process=elsewhere())

    def sleep(_: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled), Volume(tmp_path).lease(URI, sleep=sleep):
        pass


def test_only_changes_that_are_seen_count_whatever_the_clocks_say(tmp_path: Path) -> None:
    """The holder's clock is a year ahead, or behind; its heart beats for 500 looks and then stops."""
    for years in (1, -1):
        path = lease_file(tmp_path, 1, process=elsewhere())

        def meanwhile(count: int, path: Path = path, years: int = years) -> None:
            if count < 500:
                path.write_bytes(render_lease(Holder("theirs", elsewhere(), URI), count))
            date = time.time() + years * 365 * 86400
            os.utime(path, (date, date))

        clock = CountingClock(meanwhile)
        with Volume(tmp_path, ttl=60, clock=clock).lease(URI, sleep=clock.sleep):
            pass
        assert 499 + 60 / 2 <= clock.sleeps < 499 + 60 / 2 + 5


def test_a_watcher_that_slept_for_hours_gives_the_holder_its_time(tmp_path: Path) -> None:
    lease_file(tmp_path, 1, process=elsewhere())
    clock = CountingClock()

    def sleep(seconds: float) -> None:
        clock.sleep(36_000 if clock.sleeps == 3 else seconds)

    with Volume(tmp_path, ttl=60, clock=clock).lease(URI, sleep=sleep):
        pass
    assert clock.sleeps > 20


@pytest.mark.parametrize("content", [b"", b"{", b'{"token": 1}', b"[]", b"\xff" * 100, b"[" * 100_000])
def test_a_lease_that_says_nothing_is_given_its_time(tmp_path: Path, content: bytes) -> None:
    lease_file(tmp_path, 1, process=elsewhere()).write_bytes(content)
    clock = CountingClock()
    with Volume(tmp_path, ttl=60, clock=clock).lease(URI, sleep=clock.sleep):
        assert clock.now >= 1060


def test_a_takeover_that_died_half_way_loses_no_partial(tmp_path: Path) -> None:
    volume = Volume(tmp_path, journal_above=1 << 20)
    file = manifest_of(FILES).files[0]
    with volume.lease(URI):
        partial = volume.partial(file)
        partial.write(0, memoryview(bytearray(DATA[:HALF])))
        partial.complete(Span(0, HALF))
        partial.close()
    (tmp_path / ".downloading/parts.0").mkdir()
    (tmp_path / ".downloading/parts.0/junk").write_bytes(b"junk")
    (tmp_path / ".downloading/parts.0/folder").mkdir()
    (tmp_path / ".downloading/parts.0/folder/junk").write_bytes(b"junk")
    with volume.lease(URI):
        assert len(list((tmp_path / ".downloading").glob("parts.*"))) == 1
        assert fill(volume, file, DATA) == len(DATA) - HALF


def test_nothing_planted_in_our_folder_hinders_or_misleads(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    target = tmp_path / "target"
    work = target / ".downloading"
    work.mkdir(parents=True)
    (work / "lease.1").symlink_to(outside / "precious")
    (work / "lease.2").mkdir()
    (work / "lease.2/x").touch()
    os.mkfifo(work / "lease.3")
    (work / "lease.x").touch()
    (work / "lease.-1").touch()
    (work / "lease.007").touch()
    (work / "parts.evil").symlink_to(outside)
    assert download(Volume(target, ttl=3600), {"a": b"a"}) == 1
    assert sorted(path.name for path in target.iterdir()) == [".artifact.sha256", "a"]
    assert (outside / "precious").read_bytes() == b"precious"


@pytest.mark.parametrize("kind", ["symlink", "file", "fifo"])
def test_our_folder_is_made_whatever_stands_in_its_place(tmp_path: Path, kind: str) -> None:
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    target.mkdir()
    work = target / ".downloading"
    if kind == "symlink":
        work.symlink_to(outside)
    elif kind == "file":
        work.touch()
    else:
        os.mkfifo(work)
    assert download(Volume(target), {"a": b"a"}) == 1
    assert list(outside.iterdir()) == []


def test_a_lease_is_free_again_after_a_failed_run_and_the_bytes_stay(tmp_path: Path) -> None:
    volume = Volume(tmp_path, journal_above=1 << 20)
    file = manifest_of(FILES).files[0]
    with suppress(Cancelled), volume.lease(URI):
        partial = volume.partial(file)
        partial.write(0, memoryview(bytearray(DATA[:HALF])))
        partial.complete(Span(0, HALF))
        partial.close()
        raise Cancelled
    assert list((tmp_path / ".downloading").glob("lease.*")) == []
    with Volume(tmp_path, journal_above=1 << 20).lease(URI, waiting=lambda *_: pytest.fail("it waited")):
        assert volume.inventory(manifest_of(FILES)).entries[0].done_bytes == HALF


def test_an_artifact_of_any_name_can_be_leased_and_named(tmp_path: Path) -> None:
    uri = "hf://org/" + "x" * 100_000 + "\n\x1b[31m"
    waits: list[str] = []
    with Volume(tmp_path, ttl=0.5) as first, first.lease(uri):
        first.check_lease()

        def waiting(holder: str, _: float) -> None:
            waits.append(holder)
            raise Cancelled

        with pytest.raises(Cancelled), Volume(tmp_path, ttl=0.5).lease(URI, waiting=waiting):
            pass
    assert len(waits[0]) <= 300
    assert waits[0].isprintable()


def test_a_lease_that_cannot_be_given_back_does_not_hide_why_the_run_ended(tmp_path: Path) -> None:
    dead = False

    def fault(doing: str) -> None:
        if dead:
            raise OSError(errno.EIO, "Input/output error", doing)

    def end() -> None:
        nonlocal dead
        dead = True
        raise Cancelled

    volume = Volume(tmp_path, files=Disk(tmp_path, fault=fault))
    with pytest.raises(Cancelled), volume.lease(URI):
        end()


def test_a_heartbeat_raises_its_count_and_changes_nothing_else(tmp_path: Path) -> None:
    with Volume(tmp_path, ttl=0.3).lease(URI):
        path = tmp_path / ".downloading/lease.1"
        before = json.loads(path.read_text())
        assert eventually(lambda: json.loads(path.read_text()) != before)
        after = json.loads(path.read_text())
    assert after.pop("beats") > before.pop("beats")
    assert after == before


def test_the_heartbeat_tells_that_the_lease_is_lost(tmp_path: Path) -> None:
    """Nothing else may look at the volume for long: all wait for a server."""
    lost: list[LeaseLost] = []
    with Volume(tmp_path, ttl=0.3).lease(URI, on_lost=lost.append):
        lease_file(tmp_path, 2, process=elsewhere())
        assert eventually(lambda: bool(lost))
    assert len(lost) == 1
    assert "taken over" in lost[0].message


def test_a_volume_that_answers_late_is_no_lost_lease(tmp_path: Path) -> None:
    clock = CountingClock()
    volume = Volume(tmp_path, ttl=60, clock=clock)
    with volume.lease(URI):
        clock.now += 100_000
        volume.check_lease()
        lease_file(tmp_path, 2, process=elsewhere())
        volume.check_lease()
        clock.now += 100_000
        with pytest.raises(LeaseLost):
            volume.check_lease()


def test_nothing_is_changed_without_a_lease(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    manifest = manifest_of({"a": b"a"})
    with pytest.raises(InternalError):
        volume.partial(manifest.files[0])
    with pytest.raises(InternalError):
        volume.publish(manifest, {})
