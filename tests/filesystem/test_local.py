"""The real file system: what it refuses comes out in our words."""

from __future__ import annotations

import errno
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from downloader.errors import Category, DownloadError, NoSpace, VolumeError
from downloader.filesystem.interface import NotThere
from downloader.filesystem.local import Disk
from downloader.volume import Volume
from tests.volume.artifacts import download
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.volume.conftest import Mounts


def failing(number: int, verb: str) -> Callable[[str], None]:
    def fault(doing: str) -> None:
        if doing.startswith(verb):
            raise OSError(number, os.strerror(number))

    return fault


REFUSALS = {
    errno.ENOSPC: (NoSpace, 73, "no space left on device"),
    errno.EDQUOT: (NoSpace, 73, "quota exceeded"),
    errno.EROFS: (VolumeError, 74, "mounted read-only"),
    errno.EACCES: (VolumeError, 74, "writable for user"),
    errno.EPERM: (VolumeError, 74, "writable for user"),
    errno.EIO: (VolumeError, 74, "storage behind the volume fails"),
    errno.ENAMETOOLONG: (VolumeError, 74, "does not allow a name of this length"),
    errno.EFBIG: (VolumeError, 74, "does not allow a file of this size"),
    errno.EMFILE: (VolumeError, 74, "limit of open files"),
    errno.ENOTCONN: (VolumeError, 74, "not connected"),
}


@pytest.mark.parametrize("number", REFUSALS)
def test_each_refusal_says_what_and_where_and_what_to_do(target: Path, number: int) -> None:
    kind, status, words = REFUSALS[number]
    disk = Disk(target, fault=failing(number, "creating"))
    with pytest.raises(DownloadError) as caught:
        disk.create("model.bin")
    assert type(caught.value) is kind
    assert caught.value.exit_status == status
    assert words in str(caught.value)
    assert f"{target}/model.bin" in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
    assert (caught.value.category is Category.STORAGE_FULL) == (kind is NoSpace)


READS: dict[str, Callable[[Disk], Any]] = {
    "opening": lambda disk: disk.open("model.bin"),
    "looking at": lambda disk: disk.stat("model.bin"),
    "listing": lambda disk: disk.scan("sub"),
}


@pytest.mark.parametrize("verb", READS)
def test_a_user_who_only_reads_is_not_told_to_get_the_right_to_write(target: Path, verb: str) -> None:
    disk = Disk(target, fault=failing(errno.EACCES, f"{verb} {target}/"))
    with pytest.raises(VolumeError, match="must be readable for user"):
        READS[verb](disk)
    with pytest.raises(VolumeError, match="must be readable for user"):
        Disk(target, create=False, fault=failing(errno.EACCES, "opening"))


def test_a_user_who_resumes_is_told_to_get_the_right_to_write(target: Path) -> None:
    (target / "part").touch()
    disk = Disk(target, fault=failing(errno.EACCES, "reopening"))
    with pytest.raises(VolumeError, match="must be writable for user"):
        disk.open("part", write=True)
    with pytest.raises(VolumeError, match="must be writable for user"):
        Disk(target, fault=failing(errno.EACCES, "making or opening"))


def test_a_stale_file_in_a_folder_that_is_still_there_was_removed_by_another_node(target: Path) -> None:
    disk = Disk(target, fault=failing(errno.ESTALE, "creating"))
    with pytest.raises(NotThere):
        disk.create("model.bin")


def test_a_folder_that_another_process_makes_and_removes_at_this_moment_is_made_or_found(target: Path) -> None:
    ended = threading.Event()

    def disturb() -> None:
        while not ended.is_set():
            with suppress(OSError):
                (target / "work").mkdir()
            with suppress(OSError):
                (target / "work").rmdir()

    with ThreadPoolExecutor() as pool, Disk(target) as disk:
        other = pool.submit(disturb)
        try:
            for _ in range(5000):
                disk.make_folder("work")
        finally:
            ended.set()
        other.result()


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
@pytest.mark.parametrize(("operation", "words"), [("rename", "cannot rename"), ("truncate", "writes only in order")])
def test_a_volume_that_lacks_an_operation_is_told_from_one_that_fails(
    target: Path, operation: str, number: int, words: str
) -> None:
    (target / "file").touch()
    plan: list[int] = []

    def fault(_: str) -> None:
        if plan:
            raise OSError(number, os.strerror(number))

    disk = Disk(target, fault=fault)
    handle = disk.open("file", write=True)
    plan.append(1)
    with pytest.raises(VolumeError) as caught:
        OPERATIONS[operation](disk, handle)
    assert words in caught.value.hint
    assert "object stores" in caught.value.hint


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_no_refusal_of_any_system_escapes_untranslated(target: Path, number: int) -> None:
    disk = Disk(target, fault=failing(number, "creating"))
    with pytest.raises(DownloadError):
        disk.create("model.bin")


OPERATIONS: dict[str, Callable[[Disk, int], object]] = {
    "create": lambda disk, _: disk.create("new"),
    "open": lambda disk, _: disk.open("file"),
    "open_direct": lambda disk, _: disk.open_direct("file"),
    "close": lambda disk, handle: disk.close(handle),
    "write": lambda disk, handle: disk.write(handle, 0, b"x"),
    "write_direct": lambda disk, handle: disk.write_direct(handle, 0, memoryview(b"x")),
    "read": lambda disk, handle: disk.read(handle, 0, memoryview(bytearray(1))),
    "sync": lambda disk, handle: disk.sync(handle),
    "forget": lambda disk, handle: disk.forget(handle),
    "truncate": lambda disk, handle: disk.truncate(handle, 1),
    "touch": lambda disk, handle: disk.touch(handle, 1),
    "handle_stat": lambda disk, handle: disk.handle_stat(handle),
    "stat": lambda disk, _: disk.stat("file"),
    "stats": lambda disk, _: disk.stats("", ["file"]),
    "scan": lambda disk, _: disk.scan(""),
    "rename": lambda disk, _: disk.rename("file", "other"),
    "unlink": lambda disk, _: disk.unlink("file"),
    "make_folder": lambda disk, _: disk.make_folder("folder"),
    "remove_folder": lambda disk, _: disk.remove_folder("folder"),
    "sync_folder": lambda disk, _: disk.sync_folder(""),
    "space": lambda disk, _: disk.space(),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_every_operation_translates_and_is_seen_while_it_waits(
    target: Path, operation: Callable[[Disk, int], object]
) -> None:
    (target / "file").write_bytes(b"x")
    plan: list[Callable[[], None]] = []
    disk = Disk(target, fault=lambda _: plan[0]() if plan else None)
    handle = disk.open("file", write=True)
    assert disk.oldest_operation() is None

    def fail() -> None:
        seen.append(disk.oldest_operation())
        raise OSError(errno.EIO, "Input/output error")

    seen: list[tuple[str, float] | None] = []
    plan.append(fail)
    with pytest.raises(VolumeError, match="Input/output error"):
        operation(disk, handle)
    assert seen[0] is not None
    assert str(target) in seen[0][0]
    assert disk.oldest_operation() is None


def test_the_oldest_of_several_operations_is_named(target: Path) -> None:
    first, go_on = threading.Event(), threading.Event()

    def fault(doing: str) -> None:
        if doing.startswith("listing"):
            first.set()
            assert go_on.wait(AT_LAST)

    disk = Disk(target, fault=fault)
    thread = threading.Thread(target=disk.scan, args=("",))
    thread.start()
    assert first.wait(AT_LAST)
    time.sleep(0.05)
    disk.stat("a")
    oldest = disk.oldest_operation()
    go_on.set()
    thread.join()
    assert oldest is not None
    assert oldest[0] == f"listing {target}"
    assert oldest[1] >= 0.05


def test_a_full_disk_without_inodes_says_so(mounted: Mounts) -> None:
    disk = Disk(mounted(10, inodes=32))
    for number in range(disk.space().free_files or 0):
        disk.close(disk.create(str(number)))
    with pytest.raises(NoSpace, match="all inodes are used"):
        disk.create("one more")


def test_a_full_disk_says_so(mounted: Mounts) -> None:
    disk = Disk(mounted(1))
    handle = disk.create("a")
    with pytest.raises(NoSpace, match="free or add space"):
        disk.write(handle, 0, bytes(8 << 20))
    disk.close(handle)


# The target


def test_a_missing_target_is_made_with_all_that_is_above_it(tmp_path: Path) -> None:
    with Volume(tmp_path / "a/b/c") as volume:
        download(volume, {"x": b"x"})
    assert (tmp_path / "a/b/c/x").read_bytes() == b"x"


def test_a_missing_target_may_be_made_by_many_at_once(tmp_path: Path) -> None:
    """As two Jobs do that start together on one new volume."""
    for number in range(20):
        together = threading.Barrier(8)

        def make(number: int = number, together: threading.Barrier = together) -> None:
            together.wait()
            Volume(tmp_path / f"{number}/a/b").close()

        with ThreadPoolExecutor(8) as pool:
            for made in [pool.submit(make) for _ in range(8)]:
                made.result()
        assert list((tmp_path / f"{number}/a/b").iterdir()) == []


def test_a_missing_target_is_not_made_where_that_is_not_asked_for(tmp_path: Path) -> None:
    with pytest.raises(NotThere, match="a/b"):
        Volume(tmp_path / "a/b", create=False)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("place", ["file", "file/below", "dangling"])
def test_a_target_that_is_no_folder_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "dangling").symlink_to(tmp_path / "file/x")
    with pytest.raises(VolumeError) as caught:
        Volume(tmp_path / place)
    assert str(tmp_path / place) in str(caught.value)


def test_a_target_may_be_reached_through_a_symlink_because_the_user_named_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with Volume(tmp_path / "link/models") as volume:
        download(volume, {"x": b"x"})
    assert (tmp_path / "real/models/x").read_bytes() == b"x"


def test_a_volume_that_is_mounted_read_only_says_so(mounted: Mounts) -> None:
    target = mounted(1, options="ro")
    with pytest.raises(VolumeError, match="mounted read-only"), Volume(target) as volume:
        download(volume, {"x": b"x"})


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG])
def test_a_name_that_no_file_can_have_is_not_there(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SMB refuses such names even when they are only looked at."""
    disk, real = Disk(tmp_path), os.stat
    (tmp_path / "b").touch()

    def stat(name: str, **options: Any) -> os.stat_result:
        if name == "v1:0":
            raise OSError(number, os.strerror(number))
        return real(name, **options)

    monkeypatch.setattr(os, "stat", stat)
    assert disk.stat("v1:0") is None
    assert list(disk.stats("", ["v1:0", "b"])) == ["b"]
