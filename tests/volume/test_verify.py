"""`verify`: what it finds of all the ways to damage a volume is in test_healing.py; here is the rest of it."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from downloader.errors import IntegrityError
from downloader.filesystem.local import Disk
from downloader.integrity.checksum_file import MARKER
from downloader.volume import Volume
from tests.volume.artifacts import URI, download
from tests.volume.test_healing import FILES, MANIFEST, flip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def rot(target: Path) -> None:
    """Bit rot leaves no trace in the metadata; that is what `verify` is for."""
    path = target / "folder/model.bin"
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    flip(target)
    os.utime(path, ns=times)


def test_a_bit_flipped_with_the_old_time_is_found_by_verify_and_mended_by_the_next_run(finished: Path) -> None:
    rot(finished)
    with Volume(finished) as volume:
        assert volume.inventory(MANIFEST).published
        assert [(found.path, found.believed) for found in volume.verify().damaged] == [("folder/model.bin", False)]
        assert download(volume, FILES) == len(FILES["folder/model.bin"])
        assert volume.verify().damaged == ()
        assert volume.inventory(MANIFEST).published


def test_verify_says_that_a_run_would_believe_what_it_may_not_redate(finished: Path) -> None:
    def fault(doing: str) -> None:
        if doing.startswith("dating"):
            raise PermissionError(errno.EPERM, "Operation not permitted")

    rot(finished)
    (finished / "a.txt").unlink()
    with Volume(finished, files=Disk(finished, fault=fault)) as volume:
        found = {damage.path: damage.believed for damage in volume.verify().damaged}
    assert found == {"a.txt": False, "folder/model.bin": True}


def test_selected_files_only_are_verified(finished: Path) -> None:
    flip(finished)
    with Volume(finished) as volume:
        verification = volume.verify(choose=lambda paths: [path for path in paths if not path.startswith("folder/")])
    assert (verification.checked, verification.damaged) == (2, ())
    assert (verification.source, verification.revision) == (URI, "c0ffee")


def test_verify_tells_its_progress(finished: Path) -> None:
    told: list[int] = []
    with Volume(finished) as volume:
        volume.verify(progress=told.append)
    assert sum(told) == MANIFEST.size


def lines_of(target: Path) -> list[str]:
    return (target / MARKER).read_text().splitlines(keepends=True)


PROVES_NOTHING: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "empty": (lambda _: [], "lists no files"),
    "comments alone": (lambda lines: [line for line in lines if line.startswith("#")], "lists 0 files"),
    "comments of others alone": (lambda _: ["# sha256sum\n"], "lists no files"),
    "cut off at a line": (lambda lines: lines[:-1], "lists 3 files and says that it has 4"),
    "cut off in a line": (lambda lines: [*lines[:-1], lines[-1][:72]], "has folder as a file and as a folder"),
    "cut off, without comments": (
        lambda lines: [line for line in lines if not line.startswith("#")][:-1],
        "does not say how many files it has, and lacks 1 file",
    ),
}


@pytest.mark.parametrize(("damage", "reason"), PROVES_NOTHING.values(), ids=PROVES_NOTHING)
def test_a_list_that_proves_nothing_is_no_success(
    finished: Path, damage: Callable[[list[str]], list[str]], reason: str
) -> None:
    (finished / MARKER).write_text("".join(damage(lines_of(finished))))
    with pytest.raises(IntegrityError, match=reason), Volume(finished) as volume:
        volume.verify()


def test_filters_that_match_nothing_are_no_success(finished: Path) -> None:
    with (
        pytest.raises(IntegrityError, match=r"none of the 4 files in .* passes the filters"),
        Volume(finished) as volume,
    ):
        volume.verify(choose=lambda paths: [path for path in paths if path.endswith(".gguf")])


@pytest.mark.slow
def test_a_list_without_comments_that_names_all_files_is_enough(finished: Path) -> None:
    """As `sha256sum` makes one by hand."""
    (finished / MARKER).write_text("".join(line for line in lines_of(finished) if not line.startswith("#")))
    (finished / ".cache/huggingface").mkdir(parents=True)
    (finished / ".cache/huggingface/CACHEDIR.TAG").touch()
    with Volume(finished) as volume:
        assert volume.verify().checked == 4
        (finished / "more").touch()
        (finished / "a.txt").write_bytes(b"damaged")
        assert [damage.path for damage in volume.verify().damaged] == ["a.txt"]


def test_what_a_list_says_of_its_source_is_told_only_if_a_run_here_wrote_it(finished: Path) -> None:
    with Volume(finished) as volume:
        assert volume.verify().source == URI
        copy = (finished / MARKER).read_bytes()
        # The old file stays while the new one is made: the file system reuses the inode numbers of removed files.
        (finished / MARKER).rename(finished / "x")
        (finished / MARKER).write_bytes(copy)
        (finished / "x").unlink()
        found = volume.verify()
    assert (found.source, found.revision, found.checked) == ("", "", 4)
    assert set(found.proofs.values()) == {"unknown"}
