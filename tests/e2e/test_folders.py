"""`file://`: from a folder of this machine, such as another volume, to a target, with proof."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import tarfile
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from downloader.integrity import MARKER
from tests.command import PEOPLE, content, finish, model, run, start
from tests.needs import PRIVILEGES, able
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Held
from tests.waiting import AT_LAST, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers.hub import Hub

FILES = {
    ".hidden/notes": b"hidden files are files",
    "config.json": b"{}",
    "empty.txt": b"",
    "weights/model 1%2F+ä#?.bin": Noise((9 << 20) + 321, seed=41).bytes(),
}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def uri_of(path: Path) -> str:
    return f"file://{quote(str(path))}"


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A folder that nothing of ours has touched. Its name needs an encoding."""
    return write(tmp_path / "a folder%20", FILES)


@pytest.fixture
def finished(plain: Path, tmp_path: Path) -> Path:
    """A folder that this program has filled."""
    target = tmp_path / "finished"
    assert run("download", uri_of(plain), target).status == 0
    return target


def test_a_folder_without_a_mark_is_copied_and_a_rerun_fetches_nothing(plain: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    first = run("download", uri_of(plain), target)
    assert first.status == 0, first.stderr
    assert model(target) == FILES
    assert "has no completion mark for 4 files: hashed while read" in first.stderr
    assert "4 downloaded, not verified (the source publishes no checksum)" in first.stderr
    assert "FILE, 4 files missing" in first.stderr
    again = run("download", f"FILE://localhost{uri_of(plain)[7:]}/", target)
    assert again.status == 0, again.stderr
    assert "nothing had to be fetched" in again.stderr
    assert run("verify", target).status == 0


@pytest.mark.parametrize("where", ["file", "xattr"])
def test_a_finished_folder_is_copied_by_the_sha256_of_its_mark(plain: Path, tmp_path: Path, where: str) -> None:
    between, target = tmp_path / "between", tmp_path / "target"
    run("download", uri_of(plain), between, extra={"AIM_COMPLETION": where})
    (between / "unlisted").write_bytes(b"of another program")
    done = run("download", uri_of(between), target)
    assert done.status == 0, done.stderr
    assert model(target) == FILES
    assert "4 verified by sha256" in done.stderr
    checksums = run("checksums", target)
    assert checksums.stdout.count("  ") == 4
    again = run("download", uri_of(between), target, extra={"AIM_REQUIRE_DIGEST": "1"})
    assert "nothing had to be fetched" in again.stderr


def test_a_damaged_file_of_a_finished_folder_gets_no_name(finished: Path, tmp_path: Path) -> None:
    damaged, target = finished / "weights/model 1%2F+ä#?.bin", tmp_path / "target"
    data = bytearray(damaged.read_bytes())
    data[5 << 20] ^= 1
    damaged.write_bytes(data)
    result = run("download", uri_of(finished), target)
    assert result.status == 65
    assert "the bytes have sha256" in result.last_line
    assert not (target / "weights/model 1%2F+ä#?.bin").exists()
    assert not (target / MARKER).exists()


def test_a_file_that_the_mark_lists_and_the_folder_lacks_is_an_error_unless_it_is_left_out(
    finished: Path, tmp_path: Path
) -> None:
    (finished / "config.json").unlink()
    result = run("download", uri_of(finished), tmp_path / "target")
    assert result.status == 65
    assert "lacks config.json, which its completion mark lists" in result.last_line
    assert run("download", uri_of(finished), tmp_path / "target", "--exclude", "config.json").status == 0


def test_a_list_that_was_cut_is_an_error(finished: Path, tmp_path: Path) -> None:
    listed = finished / MARKER
    listed.write_bytes(listed.read_bytes()[:-40])
    result = run("download", uri_of(finished), tmp_path / "target")
    assert result.status == 65
    assert MARKER in result.last_line


@pytest.mark.parametrize("part", ["weights", "weights/model 1%2F+ä#?.bin"])
def test_a_part_of_a_finished_folder_is_verified_by_the_mark_of_the_whole(
    finished: Path, tmp_path: Path, part: str
) -> None:
    target = tmp_path / "target"
    result = run("download", uri_of(finished / part), target, "--require-digest")
    assert result.status == 0, result.stderr
    assert model(target) == {"model 1%2F+ä#?.bin": FILES["weights/model 1%2F+ä#?.bin"]}


def test_finished_folders_in_a_folder_are_verified_by_their_own_marks(finished: Path, tmp_path: Path) -> None:
    volume, target = tmp_path / "volume", tmp_path / "target"
    volume.mkdir()
    finished.rename(volume / "model")
    (volume / "lost+found").mkdir()
    write(volume, {".cache/huggingface/download/a.metadata": b"", "beside.txt": b"unlisted"})
    result = run("download", uri_of(volume), target)
    assert result.status == 0, result.stderr
    assert "4 verified by sha256; 2 downloaded, not verified" in result.stderr
    assert "work files of other programs are passed over" in result.stderr
    assert set(content(target)) == {MARKER, f"model/{MARKER}", "beside.txt", *(f"model/{path}" for path in FILES)}
    (volume / "model/config.json").write_bytes(FILES["config.json"][::-1])
    assert run("download", uri_of(volume), tmp_path / "other").status == 65


def test_a_digest_can_be_required(plain: Path, tmp_path: Path) -> None:
    result = run("download", uri_of(plain), tmp_path / "target", "--require-digest")
    assert result.status == 65
    assert "is not proved by a digest (size only)" in result.last_line


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(plain: Path, tmp_path: Path) -> None:
    target, gate = tmp_path / "target", tmp_path / "gate"
    process = start("download", uri_of(plain), target, module=("tests.held_reads", str(gate)))
    assert eventually(lambda: bool(list(target.glob(".downloading/parts.*/*.part"))))
    later = {**FILES, "weights/model 1%2F+ä#?.bin": FILES["weights/model 1%2F+ä#?.bin"][::-1]}
    write(plain, later)
    gate.touch()
    result = finish(process)
    assert result.status == 0, result.stderr
    assert "changed after it was listed; listing it again" in result.stderr
    assert model(target) == later


def test_a_source_that_does_not_answer_stalls_the_run(plain: Path, tmp_path: Path) -> None:
    never = tmp_path / "never"
    process = start(
        "download",
        uri_of(plain),
        tmp_path / "target",
        module=("tests.held_reads", str(never)),
        extra={"STALL_TIMEOUT": "2"},
    )
    result = finish(process, AT_LAST)
    assert result.status == 75
    assert not model(tmp_path / "target").keys() & {"weights/model 1%2F+ä#?.bin"}


def test_a_folder_that_another_run_is_filling_is_no_artifact_yet(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit({"model.bin": Noise(20 << 20, seed=42).bytes()})
    held = Held()
    hub.faults.add(held, route="cdn", offset=10 << 20, times=FOREVER)
    volume, target = tmp_path / "volume", tmp_path / "target"
    own = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER", "STALL_TIMEOUT": "600"}
    process = start("download", "hf://org/model", volume, extra=own)
    assert eventually((volume / ".downloading/lease.1").exists)
    result = run("download", uri_of(volume), target)
    assert result.status == 69
    assert "is not a whole artifact" in result.last_line
    assert "(hf://org/model) is filling it" in result.last_line
    process.send_signal(signal.SIGKILL)
    finish(process)
    held.go_on.set()
    killed = run("download", uri_of(volume), target)
    assert killed.status == 69
    assert "a run has not ended" in killed.last_line
    assert run("download", uri_of(tmp_path / "volume/.."), target).status == 64
    assert "volume/.downloading" in run("download", uri_of(tmp_path), tmp_path.parent / "other").last_line
    assert run("download", "hf://org/model", volume, extra=own).status == 0
    done = run("download", uri_of(volume), target)
    assert done.status == 0, done.stderr
    assert model(target) == model(volume)


def test_a_volume_is_a_mirror_and_what_is_damaged_there_comes_from_the_origin(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit({path: data for path, data in FILES.items() if data})
    volume = write(tmp_path / "volume", {path: data for path, data in FILES.items() if data})
    (volume / "config.json").write_bytes(b"[]")
    extra = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER,HTTP"}
    result = run(
        "download", "hf://org/model", tmp_path / "t", "--mirror", uri_of(volume), "--mirror-first", extra=extra
    )
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == {path: data for path, data in FILES.items() if data}
    assert hub.log.sent("cdn") == 0
    assert hub.log.sent("resolve") > 0


def link_out(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def link_inside(path: Path) -> None:
    path.symlink_to("config.json")


def link_to_a_folder(path: Path) -> None:
    path.symlink_to("weights")


def link_to_nothing(path: Path) -> None:
    path.symlink_to("nothing")


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


SPECIAL: dict[str, Callable[[Path], object]] = {
    "a link out of it": link_out,
    "a link to a file in it": link_inside,
    "a link to a folder in it": link_to_a_folder,
    "a link to nothing": link_to_nothing,
    "a fifo": os.mkfifo,
    "a socket": listening,
}


@pytest.mark.parametrize("make", SPECIAL.values(), ids=SPECIAL)
def test_what_is_no_file_is_refused_left_out_or_passed_over(tmp_path: Path, make: Callable[[Path], object]) -> None:
    folder, target = write(tmp_path / "f", {"config.json": b"{}", "weights/a": b"a"}), tmp_path / "target"
    make(folder / "odd")
    refused = run("download", uri_of(folder), target, extra=PEOPLE)
    assert refused.status == 78
    assert "'odd' is a s" in refused.last_line
    assert "neither followed nor copied" in refused.last_line
    assert not target.exists() or not model(target)
    assert run("download", uri_of(folder), target, "--exclude", "odd", extra=PEOPLE).status == 0
    passed_over = run("download", uri_of(folder), tmp_path / "other")
    assert passed_over.status == 0, passed_over.stderr
    assert "passed over, as only regular files are copied: odd" in passed_over.stderr
    assert "1 unsafe name passed over" in passed_over.stderr
    assert model(target) == model(tmp_path / "other") == {"config.json": b"{}", "weights/a": b"a"}


def test_a_link_in_the_place_of_a_listed_file_is_not_followed(finished: Path, tmp_path: Path) -> None:
    (finished / "config.json").unlink()
    (finished / "config.json").symlink_to("/etc/hostname")
    result = run("download", uri_of(finished), tmp_path / "target")
    assert result.status == 65
    assert "has a symlink in the place of config.json" in result.last_line


def test_a_link_that_the_user_names_is_followed(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(plain)
    (tmp_path / "weights.bin").symlink_to(plain / "weights/model 1%2F+ä#?.bin")
    assert run("download", uri_of(tmp_path / "link"), tmp_path / "target").status == 0
    assert model(tmp_path / "target") == FILES
    assert run("download", uri_of(tmp_path / "weights.bin"), tmp_path / "single").status == 0
    assert model(tmp_path / "single") == {"weights.bin": FILES["weights/model 1%2F+ä#?.bin"]}


REFUSED = {
    "file://volume/folder": "names the host 'volume'",
    "file://": "names no folder",
    "file:///": "names no folder",
    "file://localhost": "names no folder",
    "file:///a/../b": "'.', '..' or a control character",
    "file:///a/%2e%2e/b": "'.', '..' or a control character",
    "file:///a%00b": "'.', '..' or a control character",
    "file:///a%ff": "is not UTF-8 once it is decoded",
    "file:///a?b": "write %3F for ? and %23 for #",
    "file:///a#sha256=b": "write %3F for ? and %23 for #",
    "file:/a": "is not an artifact URI",
    "/models/a": "write file:///models/a",
}


@pytest.mark.parametrize(("uri", "words"), REFUSED.items(), ids=REFUSED)
def test_a_uri_that_names_no_path_of_this_machine_is_refused(tmp_path: Path, uri: str, words: str) -> None:
    result = run("download", uri, tmp_path / "target")
    assert result.status == 64
    assert words in result.last_line
    assert not (tmp_path / "target").exists()


def test_a_folder_that_is_not_there_or_empty_is_a_missing_source(tmp_path: Path) -> None:
    missing = run("download", uri_of(tmp_path / "missing"), tmp_path / "target")
    assert missing.status == 66
    assert "does not exist on this machine" in missing.last_line
    (tmp_path / "void").mkdir()
    empty = run("download", uri_of(tmp_path / "void"), tmp_path / "target")
    assert empty.status == 66
    assert "holds no files" in empty.last_line


@pytest.mark.parametrize("target", [".", "..", "weights", "new/folder"])
def test_a_target_that_overlaps_the_folder_is_refused(plain: Path, target: str) -> None:
    result = run("download", uri_of(plain), plain / target)
    assert result.status == 78
    assert "one is inside of the other" in result.last_line
    assert content(plain) == FILES


def test_every_command_takes_a_folder(finished: Path, tmp_path: Path) -> None:
    uri, size = uri_of(finished), sum(map(len, FILES.values()))
    assert json.loads(run("size", uri).stdout.splitlines()[-1]) == {"url": uri, "sizeBytes": size}
    listed = json.loads(run("list", uri, "--json").stdout)
    assert {file["path"] for file in listed["files"]} == set(FILES)
    preview = json.loads(run("download", uri, tmp_path / "target", "--dry-run", "--json").stdout)
    assert preview["protocols"] == ["FILE"]
    assert not (tmp_path / "target").exists()
    diagnosis = run("doctor", uri, tmp_path / "target", extra=PEOPLE)
    assert diagnosis.status == 0, diagnosis.stdout
    assert "with the rights of user" in diagnosis.stdout
    assert "the first byte of" in diagnosis.stdout
    assert run("download", uri, tmp_path / "target", extra={"AIM_DOWNLOADER_PROTOCOL": "XET,HTTP"}).status == 0


def test_kserve_and_the_adapters_take_a_folder(plain: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(plain, ".")
    assert run("kserve", uri_of(plain), tmp_path / "folder", extra=PEOPLE).status == 0
    assert model(tmp_path / "folder") == FILES
    unpacked = run("kserve", uri_of(tmp_path / "model.tar.gz"), tmp_path / "unpacked", extra=PEOPLE)
    assert unpacked.status == 0, unpacked.stderr
    assert model(tmp_path / "unpacked") == FILES
    (tmp_path / "disk").mkdir()
    disk = {"ADAPTER_PVC_ROOT": str(tmp_path / "disk"), "SERVICE_ID": "service", "ADAPTER_PATH": "adapter"}
    staged = run("adapter-stage", uri_of(plain), extra=disk)
    assert staged.status == 0, staged.stderr
    assert model(tmp_path / "disk/service/adapter") == FILES
    size = run("check-size", uri_of(plain))
    assert json.loads(size.stdout.splitlines()[-1])["sizeBytes"] == sum(map(len, FILES.values()))


def test_the_digests_of_the_copy_are_those_of_the_files(plain: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert run("download", uri_of(plain), tmp_path / "target", "--report", report).status == 0
    told = json.loads(report.read_text())
    assert {file["path"]: file["sha256"] for file in told["files"]} == {
        path: hashlib.sha256(data).hexdigest() for path, data in FILES.items()
    }
    assert [attempt["protocol"] for attempt in told["attempts"]] == ["FILE"]


@pytest.fixture
def cloning(tmp_path: Path) -> Iterator[Path]:
    """A small file system that can give two files the same blocks."""
    image, mounted = tmp_path / "xfs.img", tmp_path / "xfs"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(320 << 20)
    for command in (
        ["mkfs.xfs", "-q", "-m", "reflink=1", str(image)],
        ["mount", "-o", "loop", str(image), str(mounted)],
    ):
        able(*command, get=f"apt-get install xfsprogs, and {PRIVILEGES}")
    yield mounted
    subprocess.run(["umount", "--lazy", str(mounted)], check=True)


def free(folder: Path) -> int:
    os.sync()
    found = os.statvfs(folder)
    return found.f_bfree * found.f_frsize


@pytest.mark.root
def test_where_the_file_system_can_no_byte_is_copied_and_every_byte_of_the_target_is_hashed(cloning: Path) -> None:
    files = {"large.bin": Noise(48 << 20, seed=43).bytes(), "small.txt": b"small", "empty": b""}
    source, target, other = write(cloning / "source", files), cloning / "target", cloning / "other"
    before = free(cloning)
    done = run("download", uri_of(source), target)
    assert done.status == 0, done.stderr
    assert model(target) == files
    assert before - free(cloning) < 8 << 20
    assert (target / "large.bin").stat().st_ino != (source / "large.bin").stat().st_ino
    with (target / "large.bin").open("r+b") as file:
        file.seek(30 << 20)
        file.write(b"changed in the one")
    assert (source / "large.bin").read_bytes() == files["large.bin"]
    damaged = run("download", uri_of(target), other)
    assert damaged.status == 65
    assert "the bytes have sha256" in damaged.last_line
    assert not (other / "large.bin").exists()
