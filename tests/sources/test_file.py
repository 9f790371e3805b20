"""`file://`: what the file system of the source refuses is no failure of the volume that is filled."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from downloader.errors import AccessDenied, SourceChanged, SourceNotFound, SourceUnavailable
from downloader.filesystem import Disk
from downloader.sources import file as module
from downloader.sources.file import FileSource
from tests.sources.reading import read

if TYPE_CHECKING:
    from pathlib import Path

    from downloader.errors import DownloadError

REFUSALS = {
    ("listing ", errno.EACCES): AccessDenied,
    ("listing ", errno.EIO): SourceUnavailable,
    ("looking at ", errno.ESTALE): SourceNotFound,
    ("opening ", errno.EACCES): AccessDenied,
    ("opening ", errno.ENOENT): SourceNotFound,
    ("opening ", errno.ELOOP): SourceChanged,
    ("opening ", errno.ESTALE): SourceNotFound,
    ("reading ", errno.EIO): SourceUnavailable,
    ("reading ", errno.ESTALE): SourceNotFound,
}

LISTING = ("listing ", "looking at ")


@pytest.mark.parametrize(("when", "number"), REFUSALS)
def test_what_the_file_system_refuses_is_an_error_of_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, number: int
) -> None:
    (tmp_path / "a.bin").write_bytes(b"bytes")
    refusing = False

    def fault(doing: str) -> None:
        if refusing and doing.startswith(when):
            raise OSError(number, os.strerror(number))

    def disk(target: Path, *, create: bool) -> Disk:
        return Disk(target, create=create, fault=fault)

    monkeypatch.setattr(module, "Disk", disk)
    source = FileSource(f"file://{tmp_path}")
    (listed,) = source.manifest().files
    refusing = True
    expected: type[DownloadError] = REFUSALS[when, number]
    with pytest.raises(expected) as caught:
        source.manifest() if when in LISTING else read(source, listed)
    assert f"file://{tmp_path}" in caught.value.message
    assert "writable" not in str(caught.value)
    refusing = False
    source.close()
