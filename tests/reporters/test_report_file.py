"""Writing of a report: in bounded memory, whole or not at all, without secrets."""

from __future__ import annotations

import json
import os
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from downloader.redaction import Redactor
from downloader.reporters.report_file import BATCH, ForeignFile, write_report, write_whole
from downloader.reporters.run_report import FETCHED, FileReport, RunReport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20


def files(count: int, name: str = "part") -> Iterator[FileReport]:
    return (FileReport(f"{name}-{number:06}.bin", number, "0" * 64, "sha256", FETCHED) for number in range(count))


def report_of(count: int, name: str = "part") -> RunReport:
    return RunReport(started=0.0, seconds=1.0, files=lambda: files(count, name))


def test_a_hundred_thousand_files_take_no_more_memory_than_a_batch(tmp_path: Path) -> None:
    tracemalloc.start()
    write_report(report_of(100_000), tmp_path / "r.json", Redactor("canary-secret"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MIB
    found = json.loads((tmp_path / "r.json").read_text())["files"]
    assert len(found) == 100_000
    assert found[-1] == {**found[0], "path": "part-099999.bin", "size": 99_999}


@pytest.mark.parametrize("count", [0, 1, BATCH, BATCH + 1])
def test_any_number_of_files_is_valid_json_with_a_line_for_each(count: int, tmp_path: Path) -> None:
    write_report(report_of(count), tmp_path / "r.json", Redactor())
    text = (tmp_path / "r.json").read_text()
    assert [file["path"] for file in json.loads(text)["files"]] == [file.path for file in files(count)]
    assert text.count("part-") == sum("part-" in line for line in text.splitlines())


def test_a_secret_in_the_name_of_a_file_is_removed(tmp_path: Path) -> None:
    write_report(report_of(BATCH + 1, "canary-secret"), tmp_path / "r.json", Redactor("canary-secret"))
    text = (tmp_path / "r.json").read_text()
    assert "canary" not in text
    assert "***-000000.bin" in text


def test_what_fails_half_way_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield b"# half"
        raise OSError("the volume is gone")

    path = tmp_path / "m.prom"
    write_whole(path, b"# ", [b"# whole"])
    with pytest.raises(OSError, match="the volume is gone"):
        write_whole(path, b"# ", parts())
    assert path.read_bytes() == b"# whole"
    assert [file.name for file in tmp_path.iterdir()] == ["m.prom"]


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"{}")
    os.mkfifo(tmp_path / "pipe")
    for name in ("config.json", "pipe"):
        with pytest.raises(ForeignFile):
            write_report(report_of(1), tmp_path / name, Redactor())
    assert (tmp_path / "config.json").read_bytes() == b"{}"
    (tmp_path / "empty").touch()
    write_report(report_of(1), tmp_path / "empty", Redactor())
    assert json.loads((tmp_path / "empty").read_text())["schema"] == 1
