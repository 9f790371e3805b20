"""A target folder that is gone again when it is opened, as GlusterFS takes back what another node has just made."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from downloader.filesystem import Disk, target

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ESTALE])
def test_it_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    make, made = vars(target)["_make_folders"], []

    def make_and_take_back(folder: Path, mode: int) -> None:
        make(folder, mode)
        if folder.name == "t":
            made.append(folder)
            if len(made) == 1:
                folder.rmdir()
                raise OSError(code, os.strerror(code))

    monkeypatch.setattr(target, "_make_folders", make_and_take_back)
    with Disk(tmp_path / "sub/t") as disk:
        disk.make_folder("work")
    assert len(made) == 2
    assert (tmp_path / "sub/t/work").is_dir()
