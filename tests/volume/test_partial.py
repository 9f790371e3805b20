"""Bytes on their way: nothing fetched is lost, and nothing gets its final name before its time."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Span
from downloader.errors import InternalError, VolumeError
from downloader.filesystem.local import Disk
from downloader.volume import VerifiedFile, Volume
from tests.volume.artifacts import URI, commit, fill, remote, sha256
from tests.volume.partials import DATA, FILE, SMALL, done_bytes, kill, part_of, put, reopened
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_gets_its_final_name_by_commit_and_not_before(volume: Volume, target: Path) -> None:
    partial = volume.partial(FILE)
    put(partial, 0, len(DATA))
    assert not (target / FILE.path).exists()
    commit(volume, partial, DATA)
    assert (target / FILE.path).read_bytes() == DATA


def test_spans_may_come_in_any_order_and_from_many_threads(volume: Volume, target: Path) -> None:
    partial = volume.partial(FILE)
    step = 10_000
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda start: put(partial, start, min(start + step, len(DATA))), range(0, len(DATA), step)))
    assert partial.missing() == []
    commit(volume, partial, DATA)
    assert (target / FILE.path).read_bytes() == DATA


def test_missing_names_the_gaps_in_order(volume: Volume) -> None:
    partial = volume.partial(FILE)
    put(partial, 5000, 6000)
    put(partial, 6000, 7000)
    put(partial, 100_000, 100_001)
    assert partial.missing() == [Span(0, 5000), Span(7000, 100_000), Span(100_001, len(DATA))]
    partial.close()


def test_what_was_flushed_survives_a_kill(volume: Volume, target: Path) -> None:
    partial = volume.partial(FILE)
    put(partial, 0, 100_000)
    partial.flush()
    put(partial, 100_000, 150_000)
    kill(target)
    assert reopened(target).missing() == [Span(100_000, len(DATA))]


def test_what_was_closed_survives(volume: Volume) -> None:
    partial = volume.partial(FILE)
    put(partial, 0, 100_000)
    partial.close()
    partial.close()
    partial = volume.partial(FILE)
    assert partial.missing() == [Span(100_000, len(DATA))]
    view = memoryview(bytearray(200))
    assert partial.readinto(50_000, view) == 200
    assert bytes(view) == DATA[50_000:50_200]
    assert partial.readinto(len(DATA), view) == 0
    partial.close()


def test_bytes_of_a_file_that_nothing_identifies_are_not_combined_with_those_of_a_later_run(volume: Volume) -> None:
    anonymous = replace(FILE, digests=(), validator=None, version=None)
    kept, dropped = volume.partial(FILE), volume.partial(anonymous)
    for partial in (kept, dropped):
        put(partial, 0, 100_000)
        partial.flush()
        partial.close()
    assert volume.partial(FILE).missing() == [Span(100_000, len(DATA))]
    assert volume.partial(anonymous).missing() == [Span(0, len(DATA))]


def test_a_kill_costs_at_most_the_batch_over_all_files_together(target: Path) -> None:
    batch, piece = 200_000, 10_000
    files = [remote(f"{number}.bin", DATA) for number in range(5)]
    volume = Volume(target, journal_above=64 << 10, unsynced_limit=batch)
    with volume.lease(URI):
        partials = [volume.partial(file) for file in files]
        for start in range(0, 600_000, piece):
            for partial in partials:
                put(partial, start, start + piece)
        kill(target)
        after = Volume(target, journal_above=64 << 10)
        with after.lease(URI):
            kept = [done_bytes(after.partial(file)) for file in files]
    assert 5 * 600_000 - batch < sum(kept) <= 5 * 600_000


def test_a_small_file_is_fetched_again_as_a_whole(volume: Volume, target: Path) -> None:
    partial = volume.partial(SMALL)
    partial.write(0, memoryview(b'{"b'))
    partial.complete(Span(0, 3))
    partial.close()
    assert not list(target.glob(".downloading/parts.*/*.journal"))
    assert volume.partial(SMALL).missing() == [Span(0, SMALL.size)]


def test_an_empty_file_is_a_file(volume: Volume, target: Path) -> None:
    partial = volume.partial(remote("empty", b""))
    assert partial.missing() == []
    commit(volume, partial, b"")
    assert (target / "empty").read_bytes() == b""


@pytest.mark.parametrize("damage", ["removed", "truncated", "extended", "symlink", "fifo", "folder", "second name"])
def test_a_partial_that_is_not_what_its_journal_speaks_of_is_fetched_again(
    volume: Volume, target: Path, tmp_path: Path, damage: str
) -> None:
    partial = volume.partial(FILE)
    put(partial, 0, 500_000)
    partial.close()
    part = part_of(target)
    outside = tmp_path / "outside"
    outside.write_bytes(bytes(len(DATA)))
    if damage in ("removed", "symlink", "fifo", "folder"):
        part.unlink()
    if damage == "symlink":
        part.symlink_to(outside)
    elif damage == "fifo":
        os.mkfifo(part)
    elif damage == "folder":
        part.mkdir()
    elif damage == "truncated":
        os.truncate(part, 1000)
    elif damage == "extended":
        os.truncate(part, len(DATA) + 1)
    elif damage == "second name":  # a rename that a crash left half-done: the final file must not be written to
        os.link(part, target / "final")
    before = (target / "final").read_bytes() if damage == "second name" else b""
    assert fill(volume, FILE, DATA) == len(DATA)
    assert (target / FILE.path).read_bytes() == DATA
    assert outside.read_bytes() == bytes(len(DATA))
    assert damage != "second name" or (target / "final").read_bytes() == before


def test_a_discarded_partial_starts_from_nothing(volume: Volume, target: Path) -> None:
    partial = volume.partial(FILE)
    put(partial, 0, 500_000)
    partial.flush()
    partial.discard()
    assert list(target.glob(".downloading/parts.*/*")) == []
    assert volume.partial(FILE).missing() == [Span(0, len(DATA))]


def test_no_write_is_outside_the_file(volume: Volume) -> None:
    partial = volume.partial(FILE)
    for offset, size in ((-1, 1), (len(DATA), 1), (len(DATA) - 5, 6)):
        with pytest.raises(InternalError):
            partial.write(offset, memoryview(bytes(size)))
    with pytest.raises(InternalError):
        partial.complete(Span(0, len(DATA) + 1))
    partial.close()


def test_a_file_with_gaps_is_not_committed(volume: Volume, target: Path) -> None:
    partial = volume.partial(FILE)
    put(partial, 0, 100_000)
    with pytest.raises(InternalError):
        commit(volume, partial, DATA)
    assert not (target / FILE.path).exists()
    partial.close()


def test_no_step_between_receiving_and_the_final_name_can_be_left_out(volume: Volume, target: Path) -> None:
    """Mypy rejects it as well: where it did not, it would report that a `type: ignore` is unused."""
    partial = volume.partial(SMALL)
    put(partial, 0, SMALL.size, b'{"a": 1}')
    with pytest.raises(AttributeError):
        partial.sync()  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        partial.rename_to(SMALL.path)  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        volume.commit([VerifiedFile(partial, "", "")])  # type: ignore[arg-type]
    complete = partial.finish()
    with pytest.raises(AttributeError):
        complete.write(0, memoryview(b"late"))  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        complete.rename_to(SMALL.path)  # type: ignore[attr-defined]
    synced = complete.sync()
    with pytest.raises(AttributeError):
        synced.discard()  # type: ignore[attr-defined]
    assert not (target / SMALL.path).exists()
    named = synced.rename_to(SMALL.path)
    named.close()
    assert (target / SMALL.path).read_bytes() == b'{"a": 1}'


def test_a_closed_partial_refuses_writes(volume: Volume) -> None:
    partial = volume.partial(FILE)
    partial.close()
    with pytest.raises(InternalError):
        partial.write(0, memoryview(b"late"))


def test_a_closed_partial_gets_no_name(volume: Volume, target: Path) -> None:
    """Its handles are closed: their numbers may mean other files by now."""
    partial = volume.partial(FILE)
    put(partial, 0, len(DATA))
    partial.close()
    with pytest.raises(InternalError, match="after it was closed"):
        commit(volume, partial, DATA)
    assert not (target / FILE.path).exists()


def test_a_writer_that_is_stuck_does_not_hold_up_close_and_never_hits_another_file(target: Path) -> None:
    """Its handle stays open until it is through, so the number cannot mean another file by then."""
    stuck, go_on = threading.Event(), threading.Event()

    def fault(doing: str) -> None:
        if doing.startswith("writing to") and threading.current_thread().name == "stuck":
            stuck.set()
            assert go_on.wait(AT_LAST)

    volume = Volume(target, files=Disk(target, fault=fault), journal_above=64 << 10)
    with volume.lease(URI):
        partial = volume.partial(FILE)
        thread = threading.Thread(target=partial.write, args=(0, memoryview(b"late")), name="stuck")
        thread.start()
        assert stuck.wait(AT_LAST)
        doing = volume.oldest_operation()
        assert doing is not None
        assert doing[0].startswith("writing to")
        partial.close()
        other = volume.partial(SMALL)
        other.write(0, memoryview(b'{"a": 1}'))
        other.complete(Span(0, SMALL.size))
        go_on.set()
        thread.join()
        commit(volume, other, b'{"a": 1}')
        assert (target / SMALL.path).read_bytes() == b'{"a": 1}'
        assert part_of(target).read_bytes()[:4] == b"late"


def test_a_commit_waits_for_the_last_writer(target: Path) -> None:
    """Two workers may fetch the same span, and the slower one must not write to a file under its final name."""
    stuck, go_on = threading.Event(), threading.Event()

    def fault(doing: str) -> None:
        if doing.startswith("writing to") and threading.current_thread().name == "slow":
            stuck.set()
            assert go_on.wait(AT_LAST)

    volume = Volume(target, files=Disk(target, fault=fault))
    with volume.lease(URI):
        partial = volume.partial(SMALL)
        slow = threading.Thread(target=partial.write, args=(0, memoryview(b'{"a": 1}')), name="slow")
        slow.start()
        assert stuck.wait(AT_LAST)
        put(partial, 0, SMALL.size, b'{"a": 1}')
        committing = threading.Thread(target=commit, args=(volume, partial, b'{"a": 1}'))
        committing.start()
        committing.join(0.1)
        assert committing.is_alive()
        assert not (target / SMALL.path).exists()
        go_on.set()
        slow.join()
        committing.join()
        assert (target / SMALL.path).exists()
        with pytest.raises(InternalError):
            partial.write(0, memoryview(b"late"))


def test_after_a_failed_sync_nothing_is_claimed_and_nothing_committed(target: Path) -> None:
    """The kernel reports lost pages once: the second sync would succeed, and lie."""
    failing = False

    def fault(doing: str) -> None:
        if failing and doing.startswith("syncing a file"):
            raise OSError(5, "Input/output error")

    volume = Volume(target, files=Disk(target, fault=fault), journal_above=64 << 10, ttl=3600)
    with volume.lease(URI):
        partial = volume.partial(FILE)
        put(partial, 0, len(DATA))
        failing = True
        with pytest.raises(VolumeError, match="Input/output error"):
            partial.flush()
        failing = False
        with pytest.raises(VolumeError):
            commit(volume, partial, DATA)
        assert not (target / FILE.path).exists()
        partial.close()
        assert done_bytes(volume.partial(FILE)) == 0


def test_commits_from_many_threads_all_arrive(volume: Volume, target: Path) -> None:
    contents = {f"folder/{number}": b"%d" % number for number in range(200)}
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda item: fill(volume, remote(item[0], item[1]), item[1]), contents.items()))
    assert {path: (target / path).read_bytes() for path in contents} == contents


def test_files_that_are_committed_together_share_their_syncs(target: Path) -> None:
    syncs: list[str] = []
    disk = Disk(target, fault=lambda doing: syncs.append(doing) if doing.startswith("syncing the folder") else None)
    volume = Volume(target, files=disk)
    contents = {f"folder/{number}": b"%d" % number for number in range(200)}
    with volume.lease(URI):
        partials = []
        for path, data in contents.items():
            partial = volume.partial(remote(path, data))
            put(partial, 0, len(data), data)
            partials.append(VerifiedFile(partial.finish(), sha256(data), "sha256"))
        syncs.clear()
        volume.commit(partials)
        assert [doing.rpartition(str(target))[2] for doing in syncs] == ["/folder", "", "/.downloading"]
    assert {path: (target / path).read_bytes() for path in contents} == contents


def test_a_commit_of_many_files_commits_what_it_can_and_raises_the_first_error(volume: Volume, target: Path) -> None:
    (target / "b" / "foreign").mkdir(parents=True)
    partials = []
    for path in ("a", "b", "c"):
        partial = volume.partial(remote(path, b"x"))
        put(partial, 0, 1, b"x")
        partials.append(VerifiedFile(partial.finish(), sha256(b"x"), "sha256"))
    with pytest.raises(VolumeError, match="b is a folder"):
        volume.commit(partials)
    assert [(target / path).is_file() for path in ("a", "b", "c")] == [True, False, True]


def test_a_file_that_the_former_holder_names_too_late_has_its_name(target: Path) -> None:
    """It had the folder of partials open when it was frozen, or its mount had the rename still to send."""

    def fault(doing: str) -> None:
        if doing.startswith("renaming to") and doing.endswith(f"/{FILE.path}"):
            for part in target.glob(".downloading/parts.*/*.part"):
                part.rename(target / FILE.path)

    volume = Volume(target, files=Disk(target, fault=fault))
    with volume.lease(URI):
        assert fill(volume, FILE, DATA) == len(DATA)
    assert (target / FILE.path).read_bytes() == DATA


def test_another_file_of_the_name_is_not_taken_for_one_that_is_gone(target: Path) -> None:
    def fault(doing: str) -> None:
        if doing.startswith("renaming to") and doing.endswith(f"/{FILE.path}"):
            for part in target.glob(".downloading/parts.*/*.part"):
                part.unlink()
            (target / FILE.path).write_bytes(bytes(len(DATA)))

    volume = Volume(target, files=Disk(target, fault=fault))
    with volume.lease(URI), pytest.raises(VolumeError):
        fill(volume, FILE, DATA)
