"""The real file system: what it refuses comes out in our words, and no symlink leads out of the target."""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from downloader.errors import Category, DownloadError, InternalError, NoSpace, VolumeError
from downloader.volume import Volume
from downloader.volume.disk import Disk
from downloader.volume.files import AlreadyThere, InTheWay, NotThere
from tests.volume.artifacts import URI, download, fill, remote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.volume.conftest import Mounts


def failing(number: int, verb: str) -> Callable[[str], None]:
    def fault(doing: str) -> None:
        if doing.startswith(verb):
            raise OSError(number, os.strerror(number))

    return fault


@contextmanager
def umask(mask: int) -> Iterator[None]:
    old = os.umask(mask)
    try:
        yield
    finally:
        os.umask(old)


# Errors

REFUSALS = {
    errno.ENOSPC: (NoSpace, 73, "no space left on device"),
    errno.EDQUOT: (NoSpace, 73, "quota exceeded"),
    errno.EROFS: (VolumeError, 74, "mounted read-only"),
    errno.EACCES: (VolumeError, 74, "writable for user"),
    errno.EPERM: (VolumeError, 74, "writable for user"),
    errno.EIO: (VolumeError, 74, "storage behind the volume fails"),
    errno.ESTALE: (VolumeError, 74, "remounted"),
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
    "settle_mode": lambda disk, handle: disk.settle_mode(handle),
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
            assert go_on.wait(10)

    disk = Disk(target, fault=fault)
    thread = threading.Thread(target=disk.scan, args=("",))
    thread.start()
    assert first.wait(10)
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


# No way out

HOSTILE = ["../x", "a/../../x", "/x", "a//x", "./x", "a/.", "..", ".", "", "link/x", "deep/link/x"]


@pytest.mark.parametrize("path", HOSTILE)
@pytest.mark.parametrize("operation", ["create", "open", "unlink", "make_folder", "rename"])
def test_no_path_leads_out_of_the_target(tmp_path: Path, target: Path, path: str, operation: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_bytes(b"precious")
    (tmp_path / "x").write_bytes(b"precious")
    (target / "a").mkdir()
    (target / "deep").mkdir()
    (target / "link").symlink_to(outside)
    (target / "deep/link").symlink_to(outside)
    (target / "ours").write_bytes(b"ours")
    disk = Disk(target)
    arguments = ("ours", path) if operation == "rename" else (path,)
    with pytest.raises((VolumeError, InternalError)):
        getattr(disk, operation)(*arguments)
    assert sorted(name.name for name in outside.iterdir()) == ["x"]
    assert (outside / "x").read_bytes() == (tmp_path / "x").read_bytes() == b"precious"


def test_a_symlink_is_never_opened_listed_or_gone_through(tmp_path: Path, target: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_bytes(b"precious")
    (target / "folder").symlink_to(outside)
    (target / "file").symlink_to(outside / "x")
    disk = Disk(target)
    with pytest.raises(InTheWay):
        disk.open("file")
    with pytest.raises(AlreadyThere):
        disk.create("file")
    with pytest.raises(InTheWay):
        disk.make_folder("folder")
    assert disk.scan("folder") == {}
    assert disk.stat("folder/x") is None
    assert disk.stats("folder", ["x"]) == {}


@pytest.mark.parametrize("kind", ["fifo", "socket", "folder", "device"])
def test_what_is_no_regular_file_is_refused_without_waiting(target: Path, kind: str) -> None:
    path = target / "x"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    elif kind == "folder":
        path.mkdir()
    else:
        try:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
        except PermissionError:
            pytest.skip("needs the right to make devices")
    for write in (False, True):
        with pytest.raises(InTheWay):
            Disk(target).open("x", write=write)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.sampled_from("./ax\0"), max_size=8))
def test_no_text_as_a_path_makes_anything_outside(tmp_path: Path, path: str) -> None:
    target = tmp_path / "inner"
    target.mkdir(exist_ok=True)
    disk = Disk(target)
    try:
        disk.close(disk.create(path))
    except (DownloadError, ValueError):
        pass
    finally:
        disk.close_all()
    assert [entry.name for entry in tmp_path.iterdir()] == ["inner"]


def test_a_symlink_planted_during_the_run_catches_nothing(volume: Volume, target: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    fill(volume, remote("folder/a", b"a"), b"a")
    (target / "folder/a").unlink()
    (target / "folder").rmdir()
    (target / "folder").symlink_to(outside)
    fill(volume, remote("folder/b", b"b"), b"b")
    assert list(outside.iterdir()) == []
    assert (target / "folder/b").read_bytes() == b"b"


def test_a_folder_that_somebody_removes_during_the_run_is_made_again(volume: Volume, target: Path) -> None:
    fill(volume, remote("folder/deep/a", b"a"), b"a")
    (target / "folder/deep/a").unlink()
    (target / "folder/deep").rmdir()
    (target / "folder").rmdir()
    fill(volume, remote("folder/deep/b", b"b"), b"b")
    assert (target / "folder/deep/b").read_bytes() == b"b"


# As seen by others

FILES = {"a": b"a", "folder/deep/b": bytes(5 << 20)}


def modes(target: Path) -> dict[str, int]:
    names = ("", "a", "folder", "folder/deep", "folder/deep/b", ".artifact.sha256")
    return {name: stat.S_IMODE((target / name).stat().st_mode) for name in names}


@pytest.mark.parametrize(("mask", "file", "folder"), [(0o022, 0o644, 0o755), (0o027, 0o640, 0o750), (0, 0o644, 0o755)])
def test_files_and_folders_have_the_usual_modes_less_the_umask(
    tmp_path: Path, mask: int, file: int, folder: int
) -> None:
    with umask(mask), Volume(tmp_path / "target") as volume:
        download(volume, FILES)
    assert modes(tmp_path / "target") == {
        "": folder,
        "a": file,
        "folder": folder,
        "folder/deep": folder,
        "folder/deep/b": file,
        ".artifact.sha256": file,
    }


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_setgid_target_gives_everything_to_its_group(tmp_path: Path, mask: int) -> None:
    """As a volume with fsGroup has it: whoever comes next is in the group, under any user id."""
    mount = tmp_path / "mount"
    mount.mkdir()
    if os.geteuid() == 0:
        os.chown(mount, -1, 1000)
    mount.chmod(0o2775)
    with umask(mask), Volume(mount / "models") as volume:
        download(volume, FILES)
    found = modes(mount / "models")
    assert all(found[name] & 0o060 == 0o060 for name in found)
    assert all(found[name] & 0o2070 == 0o2070 for name in ("", "folder", "folder/deep"))
    assert not any(mode & 0o002 for mode in found.values())
    groups = {(mount / "models" / name).stat().st_gid for name in found}
    assert groups == {mount.stat().st_gid}


def test_working_files_can_be_taken_over_by_the_group(tmp_path: Path) -> None:
    tmp_path.chmod(0o2775)
    with umask(0o022), Volume(tmp_path) as volume, volume.lease(URI):
        partial = volume.partial(remote("model.bin", bytes(5 << 20)))
        work = tmp_path / ".downloading"
        for path in (work, *work.rglob("*")):
            assert path.stat().st_mode & 0o020, path
        partial.close()


def test_readers_never_see_half_a_file(target: Path) -> None:
    """Somebody reads all the time while a file is replaced by its next version."""
    contents = [bytes([number]) * (1 << 20) for number in range(20)]
    seen: list[bytes] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                seen.append((target / "model.bin").read_bytes())
            except FileNotFoundError:
                continue

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with Volume(target) as volume:
            for content in contents:
                download(volume, {"model.bin": content})
    finally:
        done.set()
        reader.join()
    assert seen
    assert all(content in contents for content in seen)
