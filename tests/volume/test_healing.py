"""Each way to damage a volume: `verify` finds it offline, and the next run mends exactly what is broken."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from downloader.errors import IntegrityError, VolumeError
from downloader.filesystem.local import Disk
from downloader.integrity.checksum_file import MARKER
from downloader.volume import Volume
from tests.volume.artifacts import download, manifest_of, noise, sha256

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
FILES = {"a.txt": b"a" * 5000, "b.txt": b"b" * 5000, "folder/model.bin": noise(300_000), "folder/small": b"small"}
MANIFEST = manifest_of(FILES)


def flip(target: Path) -> None:
    path = target / "folder/model.bin"
    data = bytearray(path.read_bytes())
    data[123_456] ^= 1
    path.write_bytes(data)


def swap(target: Path) -> None:
    (target / "a.txt").rename(target / "x")
    (target / "b.txt").rename(target / "a.txt")
    (target / "x").rename(target / "b.txt")
    for path in ("a.txt", "b.txt"):
        os.utime(target / path)


def swap_for_folder(target: Path) -> None:
    (target / "a.txt").unlink()
    (target / "a.txt").mkdir()


def swap_for_symlink(target: Path) -> None:
    (target / "a.txt").rename(target.parent / "outside")
    (target / "a.txt").symlink_to(target.parent / "outside")


def swap_for_fifo(target: Path) -> None:
    replace_by_fifo(target / "a.txt")


def swap_folder_for_symlink(target: Path) -> None:
    (target / "folder").rename(target.parent / "elsewhere")
    (target / "folder").symlink_to(target.parent / "elsewhere")


def remove_folder(target: Path) -> None:
    for path in (target / "folder").iterdir():
        path.unlink()
    (target / "folder").rmdir()


def truncate(target: Path) -> None:
    os.truncate(target / "folder/model.bin", 1000)


def extend(target: Path) -> None:
    os.truncate(target / "a.txt", 5001)


DAMAGES: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "truncated": (truncate, {"folder/model.bin"}),
    "extended": (extend, {"a.txt"}),
    "a flipped bit": (flip, {"folder/model.bin"}),
    "two files swapped": (swap, {"a.txt", "b.txt"}),
    "removed": (lambda target: (target / "a.txt").unlink(), {"a.txt"}),
    "a folder removed": (remove_folder, {"folder/model.bin", "folder/small"}),
    "replaced by a symlink": (swap_for_symlink, {"a.txt"}),
    "replaced by a fifo": (swap_for_fifo, {"a.txt"}),
    "replaced by a folder": (swap_for_folder, {"a.txt"}),
    "its folder replaced by a symlink": (swap_folder_for_symlink, {"folder/model.bin", "folder/small"}),
}


def content(target: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(target)): path.read_bytes()
        for path in target.rglob("*")
        if path.is_file() and not path.is_symlink() and path.name != MARKER
    }


@pytest.mark.parametrize(("damage", "broken"), DAMAGES.values(), ids=DAMAGES.keys())
def test_verify_finds_each_damage(finished: Path, damage: Callable[[Path], object], broken: set[str]) -> None:
    with Volume(finished, create=False) as volume:
        assert volume.verify().damaged == ()
        damage(finished)
        verification = volume.verify()
    assert {found.path for found in verification.damaged} == broken
    assert verification.checked == len(FILES) - len(broken)


@pytest.mark.parametrize(("damage", "broken"), DAMAGES.values(), ids=DAMAGES.keys())
def test_the_next_run_mends_exactly_what_is_damaged(
    finished: Path, damage: Callable[[Path], object], broken: set[str]
) -> None:
    damage(finished)
    with Volume(finished) as volume:
        assert download(volume, FILES) == sum(len(FILES[path]) for path in broken)
        assert volume.verify().damaged == ()
        assert volume.inventory(MANIFEST).published
    assert content(finished) == FILES


def test_nothing_outside_the_target_was_touched(finished: Path) -> None:
    swap_for_symlink(finished)
    swap_folder_for_symlink(finished)
    with Volume(finished) as volume:
        download(volume, FILES)
    assert (finished.parent / "outside").read_bytes() == FILES["a.txt"]
    assert content(finished.parent / "elsewhere") == {"model.bin": FILES["folder/model.bin"], "small": b"small"}


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


MARKERS: dict[str, Callable[[Path], object]] = {
    "removed": lambda marker: marker.unlink(),
    "empty": lambda marker: marker.write_bytes(b""),
    "garbage": lambda marker: marker.write_bytes(noise(1000)),
    "cut off": lambda marker: marker.write_bytes(marker.read_bytes()[:-20]),
    "replaced by a symlink": lambda marker: marker.symlink_to(marker.rename(marker.parent.parent / "outside")),
    "replaced by a fifo": replace_by_fifo,
}


@pytest.mark.parametrize("damage", MARKERS.values(), ids=MARKERS.keys())
def test_a_damaged_checksum_file_costs_hashing_and_no_download(
    finished: Path, damage: Callable[[Path], object]
) -> None:
    damage(finished / MARKER)
    with Volume(finished) as volume:
        assert not volume.inventory(MANIFEST).published
        assert download(volume, FILES) == 0
        assert volume.inventory(MANIFEST).published
        assert volume.verify().checked == len(FILES)
    assert stat.S_ISREG((finished / MARKER).lstat().st_mode)


@pytest.mark.parametrize("damage", [MARKERS["removed"], MARKERS["garbage"], MARKERS["replaced by a fifo"]])
def test_verify_says_so_where_there_is_no_checksum_file(finished: Path, damage: Callable[[Path], object]) -> None:
    damage(finished / MARKER)
    with pytest.raises(IntegrityError, match=r"\.artifact\.sha256"), Volume(finished, create=False) as volume:
        volume.verify()


def test_a_lying_checksum_file_is_found_out(finished: Path) -> None:
    marker = finished / MARKER
    marker.write_text(marker.read_text().replace(sha256(FILES["a.txt"]), "0" * 64))
    with Volume(finished) as volume:
        assert [found.path for found in volume.verify().damaged] == ["a.txt"]
        assert not volume.inventory(MANIFEST).published
        assert download(volume, FILES) == 0
        assert volume.verify().damaged == ()


@pytest.mark.parametrize("published", [True, False], ids=["with sha256", "without digests"])
def test_one_wrong_digit_in_the_checksum_file_is_mended(target: Path, published: bool) -> None:  # noqa: FBT001
    manifest = manifest_of(FILES, published=published)
    with Volume(target) as volume:
        download(volume, FILES, manifest=manifest)
        marker = target / MARKER
        good = marker.read_text()
        digest = sha256(FILES["a.txt"])
        marker.write_text(good.replace(digest, digest[:-1] + ("0" if digest[-1] != "0" else "1")))
        download(volume, FILES, manifest=manifest)
        assert volume.verify().damaged == ()
        assert volume.inventory(manifest).published


def test_files_of_others_stay_and_are_only_named(finished: Path) -> None:
    (finished / "notes.txt").write_text("mine")
    (finished / "folder/notes.txt").write_text("mine too")
    (finished / "link").symlink_to("/nowhere")
    with Volume(finished) as volume:
        verification = volume.verify()
        assert verification.unlisted == ("folder/notes.txt", "link", "notes.txt")
        assert verification.damaged == ()
        assert volume.inventory(MANIFEST).published
        (finished / "a.txt").unlink()
        download(volume, FILES)
    assert (finished / "notes.txt").read_text() == "mine"
    assert (finished / "folder/notes.txt").read_text() == "mine too"


@pytest.mark.parametrize(("path", "obstacle"), [("a.txt", "a.txt/theirs"), ("folder/small", "folder")])
def test_what_is_foreign_is_never_removed_for_ours(target: Path, path: str, obstacle: str) -> None:
    del path
    theirs = target / obstacle
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("theirs")
    with pytest.raises(VolumeError, match="move it away"), Volume(target) as volume:
        download(volume, FILES)
    assert theirs.read_text() == "theirs"


def test_a_file_of_ours_gives_way_to_a_folder_of_ours(target: Path) -> None:
    with Volume(target) as volume:
        download(volume, {"model": b"a file"})
        assert download(volume, {"model/part": b"a folder"}) == 8
        assert (target / "model/part").read_bytes() == b"a folder"


def test_folders_that_are_private_to_another_user_are_no_problem(finished: Path) -> None:
    for folder in ("lost+found", "private", ".cache/huggingface/private"):
        (finished / folder).mkdir(parents=True)

    def fault(doing: str) -> None:
        if doing.startswith("listing") and doing.endswith(("private", "lost+found")):
            raise PermissionError(errno.EACCES, "Permission denied")

    with Volume(finished, files=Disk(finished, fault=fault)) as volume:
        assert volume.inventory(MANIFEST).published
        assert volume.verify().unlisted == (".cache/huggingface/private/", "private/")


@pytest.mark.root
def test_a_file_of_another_owner_that_we_may_not_read_is_replaced() -> None:
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from downloader.volume import Volume\n"
        "from tests.volume.artifacts import download\n"
        "from tests.volume.test_healing import FILES\n"
        "os.setgroups([])\n"
        "os.setgid(1000)\n"
        "os.setuid(1000)\n"
        "print(download(Volume(Path(sys.argv[1])), FILES))\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder)
        with Volume(target) as volume:
            download(volume, FILES)
        for path in (target, target / "folder"):
            os.chown(path, 1000, 1000)
        (target / "a.txt").chmod(0o600)
        os.utime(target / "a.txt")
        command = [sys.executable, "-c", program, str(target)]
        answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert answer.stdout.strip() == str(len(FILES["a.txt"])), answer.stderr
        assert content(target) == FILES
        assert (target / "a.txt").stat().st_uid == 1000
