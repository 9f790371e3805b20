"""Bytes on their way: nothing fetched is lost, and nothing gets its final name before its time."""

from __future__ import annotations

import ctypes
import logging
import mmap
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import RemoteFile, Span
from downloader.errors import IntegrityError, InternalError, VolumeError
from downloader.volume import Volume
from downloader.volume.disk import Disk
from tests.volume.artifacts import URI, fill, noise, remote, sha256

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from downloader.volume import Partial

DATA = noise(1 << 20)
FILE = remote("folder/model.bin", DATA)
SMALL = remote("config.json", b'{"a": 1}')


def put(partial: Partial, start: int, stop: int, data: bytes = DATA) -> None:
    partial.write(start, memoryview(bytearray(data[start:stop])))
    partial.complete(Span(start, stop))


def part_of(target: Path, file: RemoteFile = FILE) -> Path:
    return next(target.glob(f".downloading/parts.*/{file.identity}.part"))


def reopened(target: Path) -> Partial:
    """Return the partial as a process sees it that comes after a kill: nothing was closed or flushed."""
    volume = Volume(target, journal_above=64 << 10, batch=256 << 10)
    lease = volume.lease(URI)
    lease.__enter__()
    return volume.partial(FILE)


def kill(target: Path) -> None:
    """Make the lease look like that of a dead process."""
    for lease in target.glob(".downloading/lease.*"):
        lease.unlink()


def test_a_file_gets_its_final_name_by_commit_and_not_before(volume: Volume, target: Path) -> None:
    partial = volume.partial(FILE)
    put(partial, 0, len(DATA))
    assert not (target / FILE.path).exists()
    partial.commit(sha256(DATA))
    assert (target / FILE.path).read_bytes() == DATA


def test_spans_may_come_in_any_order_and_from_many_threads(volume: Volume, target: Path) -> None:
    partial = volume.partial(FILE)
    step = 10_000
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda start: put(partial, start, min(start + step, len(DATA))), range(0, len(DATA), step)))
    assert partial.missing() == []
    partial.commit(sha256(DATA))
    assert (target / FILE.path).read_bytes() == DATA


def test_missing_names_the_gaps_in_order(volume: Volume) -> None:
    partial = volume.partial(FILE)
    put(partial, 5000, 6000)
    put(partial, 6000, 7000)
    put(partial, 100_000, 100_001)
    assert partial.missing() == [Span(0, 5000), Span(7000, 100_000), Span(100_001, len(DATA))]
    assert partial.done_bytes == 2001
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


def test_a_kill_costs_at_most_the_batch_over_all_files_together(target: Path) -> None:
    batch, piece = 200_000, 10_000
    files = [remote(f"{number}.bin", DATA) for number in range(5)]
    volume = Volume(target, journal_above=64 << 10, batch=batch)
    with volume.lease(URI):
        partials = [volume.partial(file) for file in files]
        for start in range(0, 600_000, piece):
            for partial in partials:
                put(partial, start, start + piece)
        kill(target)
        after = Volume(target, journal_above=64 << 10)
        with after.lease(URI):
            kept = [after.partial(file).done_bytes for file in files]
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
    partial.commit(sha256(b""))
    assert (target / "empty").read_bytes() == b""


@pytest.mark.parametrize("damage", ["removed", "truncated", "extended", "symlink", "fifo", "folder", "second name"])
def test_a_partial_that_is_not_what_its_journal_speaks_of_is_fetched_anew(
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


def test_nobody_writes_outside_the_file(volume: Volume) -> None:
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
        partial.commit(sha256(DATA))
    assert not (target / FILE.path).exists()
    partial.close()


def test_a_closed_partial_refuses_writes(volume: Volume) -> None:
    partial = volume.partial(FILE)
    partial.close()
    with pytest.raises(InternalError):
        partial.write(0, memoryview(b"late"))


def test_a_writer_that_is_stuck_does_not_hold_up_close_and_never_hits_another_file(target: Path) -> None:
    """Its handle stays open until it is through, so the number cannot mean another file by then."""
    stuck, go_on = threading.Event(), threading.Event()

    def fault(doing: str) -> None:
        if doing.startswith("writing to") and threading.current_thread().name == "stuck":
            stuck.set()
            assert go_on.wait(10)

    volume = Volume(target, files=Disk(target, fault=fault), journal_above=64 << 10)
    with volume.lease(URI):
        partial = volume.partial(FILE)
        thread = threading.Thread(target=partial.write, args=(0, memoryview(b"late")), name="stuck")
        thread.start()
        assert stuck.wait(10)
        doing = volume.oldest_operation()
        assert doing is not None
        assert doing[0].startswith("writing to")
        partial.close()
        other = volume.partial(SMALL)
        other.write(0, memoryview(b'{"a": 1}'))
        other.complete(Span(0, SMALL.size))
        go_on.set()
        thread.join()
        other.commit(sha256(b'{"a": 1}'))
        assert (target / SMALL.path).read_bytes() == b'{"a": 1}'
        assert part_of(target).read_bytes()[:4] == b"late"


def test_a_commit_waits_for_the_last_writer(target: Path) -> None:
    """Two workers may fetch the same span, and the slower one must not write to a file under its final name."""
    stuck, go_on = threading.Event(), threading.Event()

    def fault(doing: str) -> None:
        if doing.startswith("writing to") and threading.current_thread().name == "slow":
            stuck.set()
            assert go_on.wait(10)

    volume = Volume(target, files=Disk(target, fault=fault))
    with volume.lease(URI):
        partial = volume.partial(SMALL)
        slow = threading.Thread(target=partial.write, args=(0, memoryview(b'{"a": 1}')), name="slow")
        slow.start()
        assert stuck.wait(10)
        put(partial, 0, SMALL.size, b'{"a": 1}')
        commit = threading.Thread(target=partial.commit, args=(sha256(b'{"a": 1}'),))
        commit.start()
        commit.join(0.1)
        assert commit.is_alive()
        assert not (target / SMALL.path).exists()
        go_on.set()
        slow.join()
        commit.join()
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
            partial.commit(sha256(DATA))
        assert not (target / FILE.path).exists()
        partial.close()
        assert volume.partial(FILE).done_bytes == 0


def test_commits_from_many_threads_share_their_syncs_and_all_arrive(target: Path) -> None:
    syncs: list[str] = []
    disk = Disk(target, fault=lambda doing: syncs.append(doing) if doing.startswith("syncing the folder") else None)
    volume = Volume(target, files=disk)
    contents = {f"folder/{number}": b"%d" % number for number in range(200)}
    with volume.lease(URI), ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda item: fill(volume, remote(item[0], item[1]), item[1]), contents.items()))
    assert {path: (target / path).read_bytes() for path in contents} == contents
    assert len(syncs) < 2 * len(contents)


def test_commit_many_commits_what_it_can_and_tells_of_the_rest(volume: Volume, target: Path) -> None:
    (target / "b" / "foreign").mkdir(parents=True)
    partials = []
    for path in ("a", "b", "c"):
        partial = volume.partial(remote(path, b"x"))
        put(partial, 0, 1, b"x")
        partials.append((partial, sha256(b"x")))
    with pytest.raises(VolumeError, match="b is a folder"):
        volume.commit_many(partials)
    assert [(target / path).is_file() for path in ("a", "b", "c")] == [True, False, True]


# Past the page cache


def aligned(data: bytes) -> memoryview:
    memory = mmap.mmap(-1, len(data))
    memory[:] = data
    return memoryview(memory)


def test_aligned_and_other_writes_make_one_file(volume: Volume, target: Path) -> None:
    data = noise((1 << 20) + 123)
    file = remote("model.bin", data)
    partial = volume.partial(file)
    partial.write(0, aligned(data[: 512 << 10]))
    partial.write(512 << 10, aligned(data[512 << 10 : (1 << 20)])[:4096])
    partial.write((512 << 10) + 4096, memoryview(bytearray(data[(512 << 10) + 4096 :])))
    partial.complete(Span(0, file.size))
    partial.commit(sha256(data))
    assert (target / "model.bin").read_bytes() == data


class Refusing(Disk):
    """A file system that opens files for direct writes and then does not take them."""

    def write_direct(self, handle: int, offset: int, data: memoryview) -> bool:
        del handle, offset, data
        return False


class Unable(Disk):
    """A file system that has no direct writes."""

    def open_direct(self, path: str) -> int | None:
        del path
        return None


@pytest.mark.parametrize("kind", [Refusing, Unable])
def test_without_direct_writes_it_goes_on_and_says_so_to_whoever_debugs(
    target: Path, kind: type[Disk], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    volume = Volume(target, files=kind(target), journal_above=64 << 10)
    with volume.lease(URI):
        partial = volume.partial(FILE)
        partial.write(0, aligned(DATA))
        partial.complete(Span(0, len(DATA)))
        partial.commit(sha256(DATA))
    assert (target / FILE.path).read_bytes() == DATA
    assert sum("direct writes" in record.message for record in caplog.records) == 1
    assert all(record.levelno == logging.DEBUG for record in caplog.records)


def test_direct_writes_leave_the_page_cache_alone(volume: Volume, target: Path) -> None:
    data = noise(8 << 20)
    file = remote("model.bin", data)
    partial = volume.partial(file)
    if partial._direct is None:  # noqa: SLF001 -- the only way to know why there is nothing to see
        pytest.skip("no direct writes on this file system")
    partial.write(0, aligned(data))
    part = part_of(target, file)
    assert cached_pages(part) == 0
    partial.complete(Span(0, len(data)))
    partial.commit(sha256(data))
    assert cached_pages(target / "model.bin") == 0


def test_buffered_writes_leave_the_page_cache_after_the_batch(target: Path) -> None:
    data = noise(2 << 20)
    file = remote("model.bin", data)
    volume = Volume(target, files=Unable(target), journal_above=64 << 10, batch=256 << 10)
    with volume.lease(URI):
        partial = volume.partial(file)
        for start in range(0, len(data), 64 << 10):
            put(partial, start, start + (64 << 10), data)
        assert cached_pages(part_of(target, file)) * 4096 <= 512 << 10
        partial.commit(sha256(data))


def cached_pages(path: Path) -> int:
    """Count the pages of a file that are in the page cache."""
    size = path.stat().st_size
    pages = -(-size // mmap.PAGESIZE)
    answer = (ctypes.c_ubyte * pages)()
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY) as memory:
        start = ctypes.c_char.from_buffer(memory)
        failed = ctypes.CDLL(None).mincore(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(size), answer)
        del start
    assert not failed
    return sum(page & 1 for page in answer)


# Another program's file


def test_a_file_of_another_program_is_adopted_with_our_mode(volume: Volume, target: Path) -> None:
    path = volume.foreign_path(FILE)
    path.write_bytes(DATA)
    path.chmod(0o600)
    partial = volume.partial(FILE)
    put(partial, 0, 1000, bytes(1000))
    partial.adopt()
    assert partial.missing() == []
    view = memoryview(bytearray(len(DATA)))
    assert partial.readinto(0, view) == len(DATA)
    assert view == DATA
    partial.commit(sha256(DATA))
    assert (target / FILE.path).read_bytes() == DATA
    assert stat.S_IMODE((target / FILE.path).stat().st_mode) == 0o644 & ~umask()


def test_an_adopted_file_survives_a_kill(volume: Volume, target: Path) -> None:
    volume.foreign_path(FILE).write_bytes(DATA)
    volume.partial(FILE).adopt()
    kill(target)
    assert reopened(target).missing() == []


def test_an_adopted_file_of_another_size_is_refused(volume: Volume) -> None:
    volume.foreign_path(FILE).write_bytes(DATA[:-1])
    partial = volume.partial(FILE)
    with pytest.raises(IntegrityError):
        partial.adopt()
    partial.close()


@pytest.mark.parametrize("kind", ["missing", "symlink", "second name", "fifo"])
def test_only_a_plain_file_of_its_own_is_adopted(volume: Volume, tmp_path: Path, kind: str) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(DATA)
    path = volume.foreign_path(FILE)
    makers: dict[str, Callable[[], None]] = {
        "missing": lambda: None,
        "symlink": lambda: path.symlink_to(outside),
        "second name": lambda: os.link(outside, path),
        "fifo": lambda: os.mkfifo(path),
    }
    makers[kind]()
    partial = volume.partial(FILE)
    with pytest.raises(VolumeError):
        partial.adopt()
    partial.close()


def umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
