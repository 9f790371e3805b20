"""`verify`: what it finds of all the ways to damage a volume is in test_healing.py; here is the rest of it."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from downloader.volume import Volume
from downloader.volume.disk import Disk
from tests.volume.artifacts import URI, download
from tests.volume.test_healing import FILES, MANIFEST, flip

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def finished(target: Path) -> Path:
    with Volume(target) as volume:
        download(volume, FILES)
    return target


def rot(target: Path) -> None:
    """Bit rot leaves no trace in the metadata; that is what `verify` is for."""
    path = target / "folder/model.bin"
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    flip(target)
    os.utime(path, ns=times)


def test_a_bit_flipped_with_the_old_time_is_found_by_verify_and_mended_by_the_next_run(finished: Path) -> None:
    rot(finished)
    with Volume(finished) as volume:
        assert volume.survey(MANIFEST).published
        assert [(found.path, found.believed) for found in volume.verify().damaged] == [("folder/model.bin", False)]
        assert download(volume, FILES) == len(FILES["folder/model.bin"])
        assert volume.verify().damaged == ()
        assert volume.survey(MANIFEST).published


def test_verify_says_that_a_run_would_believe_what_it_may_not_date_anew(finished: Path) -> None:
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
        verification = volume.verify(selected=lambda path: not path.startswith("folder/"))
    assert (verification.checked, verification.damaged) == (2, ())
    assert (verification.source, verification.revision) == (URI, "c0ffee")


def test_verify_tells_its_progress(finished: Path) -> None:
    told: list[int] = []
    with Volume(finished) as volume:
        volume.verify(progress=told.append)
    assert sum(told) == MANIFEST.size
