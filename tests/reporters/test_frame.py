"""What is drawn of a run: pure functions of a snapshot and the size of the terminal."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.artifact import TransferProtocol
from downloader.progress import FileProgress, Phase, Snapshot
from downloader.reporters.frame import Sheet, frame
from downloader.terminal import width

MIB, GIB = 1 << 20, 1 << 30
FILES = tuple(
    FileProgress(f"model-{number:05}-of-00008.safetensors", number * 512 * MIB, 4 * GIB) for number in range(1, 9)
)
DOWNLOADING = Snapshot(
    phase=Phase.DOWNLOADING,
    total_bytes=4 * GIB,
    done_bytes=GIB,
    total_files=12,
    done_files=3,
    protocol=TransferProtocol.S3,
    attempt=1,
    sequence=(TransferProtocol.S3, TransferProtocol.HTTP),
    rate=85 * 1024**2,
    eta=37.0,
    host="s3.eu-west-1.amazonaws.com",
    files=FILES,
)
WAITING = replace(DOWNLOADING, rate=0.0, eta=None, waiting="hub.test is busy", wait_left=40, files=())
ESCAPES = re.compile(r"\x1b\[\d*m")


def lines(
    snapshot: Snapshot, columns: int = 80, rows: int = 24, *, unicode: bool = True, seconds: float = 0.0
) -> list[str]:
    """Return what is drawn, all files named that there is room for."""
    return frame(snapshot, snapshot.files, Sheet(columns, rows, unicode=unicode), seconds)


def total(snapshot: Snapshot, columns: int) -> str:
    """Return the line about the whole artifact."""
    return lines(snapshot, columns)[1]


def test_a_wide_terminal_has_a_bar_for_all_and_one_for_each_file() -> None:
    assert lines(DOWNLOADING, 100) == [
        "",
        "downloading  25 % |███████                     | 1.0 GiB of 4.0 GiB, 85.0 MiB/s, 37 s left",
        "S3, attempt 1 of 2, 3 of 12 files, from s3.eu-west-1.amazonaws.com",
        "  model-00001-of-00008.safetensors  12 % |████▍                              | 512 MiB of 4.0 GiB",
        "  model-00002-of-00008.safetensors  25 % |████████▊                          | 1.0 GiB of 4.0 GiB",
        "  model-00003-of-00008.safetensors  37 % |█████████████▏                     | 1.5 GiB of 4.0 GiB",
        "  model-00004-of-00008.safetensors  50 % |█████████████████▌                 | 2.0 GiB of 4.0 GiB",
        "  model-00005-of-00008.safetensors  62 % |█████████████████████▉             | 2.5 GiB of 4.0 GiB",
        "  + 3 more",
    ]


@pytest.mark.parametrize(
    ("snapshot", "columns", "shown"),
    [
        (DOWNLOADING, 80, " 25 % |█████               | 1.0 GiB of 4.0 GiB, 85.0 MiB/s, 37 s left"),
        (DOWNLOADING, 50, " 25 % |███         | 85.0 MiB/s, 37 s left"),
        (DOWNLOADING, 40, " 25 %  85.0 MiB/s, 37 s left"),
        (DOWNLOADING, 20, " 25 %  37 s left"),
        (replace(DOWNLOADING, eta=3700.0), 20, " 25 %  1 h 1 min"),
        (replace(DOWNLOADING, eta=None), 20, " 25 %  85.0 MiB/s"),
        (replace(DOWNLOADING, phase=Phase.CHECKING), 40, "checking  25 %  85.0 MiB/s, 37 s left"),
        (WAITING, 40, "downloading  25 %  40 s to go"),
        (WAITING, 20, " 25 %  40 s to go"),
        (Snapshot(), 40, "listing"),
    ],
)
def test_on_a_narrow_terminal_rate_and_time_left_stay_and_the_bar_goes(
    snapshot: Snapshot, columns: int, shown: str
) -> None:
    assert total(snapshot, columns) == shown


def test_the_end_of_the_bar_does_not_move_with_every_number() -> None:
    later = replace(DOWNLOADING, done_bytes=2 * GIB, rate=101 * MIB, eta=9.9)
    assert total(later, 100).rindex("|") == total(DOWNLOADING, 100).rindex("|")


@pytest.mark.parametrize(
    ("rows", "shown"),
    [
        (24, ["", "downloading", "S3, attempt", "  model-00001", *["  model"] * 4, "  + 3 more"]),
        (12, ["", "downloading", "S3, attempt", "  model-00001", "  model-00002", "  + 6 more"]),
        (8, ["downloading", "S3, attempt", "  model-00001", "  + 7 more"]),
        (6, ["downloading", "S3, attempt"]),
        (4, ["downloading", "S3, attempt"]),
        (2, ["downloading S3 1/2"]),
        (1, ["downloading S3 1/2"]),
    ],
)
def test_a_short_terminal_keeps_what_matters_and_half_of_its_rows(rows: int, shown: list[str]) -> None:
    found = lines(DOWNLOADING, 100, rows)
    assert len(found) == len(shown)
    assert all(line.startswith(start) for line, start in zip(found, shown, strict=True))
    assert len(found) <= max(1, rows // 2)


def test_files_that_only_begin_are_counted_and_not_named() -> None:
    assert frame(DOWNLOADING, FILES[:1], Sheet(80, 24), 0.0)[-1] == "  + 7 more"
    assert frame(DOWNLOADING, FILES, Sheet(80, 24), 0.0)[-1] == "  + 3 more"
    assert frame(replace(DOWNLOADING, files=FILES[:1]), FILES[:1], Sheet(80, 24), 0.0)[-1].startswith("  model-00001")


def test_a_file_of_unknown_size_shows_what_has_come() -> None:
    untold = (FileProgress("file.gguf", 3 * MIB, None),)
    assert lines(replace(DOWNLOADING, files=untold))[-1] == "  file.gguf 3.0 MiB"


def test_of_a_long_path_the_end_is_shown() -> None:
    deep = (FileProgress("a/very/long/folder/of/a/model-00001-of-00002.safetensors", MIB, 4 * MIB),)
    assert lines(replace(DOWNLOADING, files=deep), 40)[-1] == "  …del-00001-of-00002.safetensors  25 %"


@pytest.mark.parametrize(
    ("snapshot", "line"),
    [
        (WAITING, "waiting 40 s: hub.test is busy"),
        (Snapshot(phase=Phase.WAITING, message="waiting for pod-1"), "waiting for pod-1"),
        (replace(DOWNLOADING, stuck_volume="fsync hangs", files=()), "fsync hangs"),
        (Snapshot(host="hub.test", responses=1), "1 answer so far, the last request to hub.test"),
        (Snapshot(host="hub.test", responses=12), "12 answers so far, the last request to hub.test"),
    ],
)
def test_why_nothing_arrives_has_a_line_of_its_own(snapshot: Snapshot, line: str) -> None:
    assert lines(snapshot)[2] == line


def test_a_single_row_tells_the_reason_of_a_wait_if_it_has_room() -> None:
    assert lines(WAITING, 100, 2) == [
        "downloading S3 1/2  25 % |█████▎               | 1.0 GiB of 4.0 GiB, hub.test is busy (40 s to go)",
    ]


def test_what_takes_long_shows_that_it_goes_on() -> None:
    assert lines(Snapshot(), seconds=9.0)[1] == "listing"
    assert lines(Snapshot(), seconds=75.0)[1] == "listing  for 1 min 15 s"


def test_a_terminal_without_unicode_gets_ascii() -> None:
    wide = (FileProgress("模型.bin", MIB, 4 * MIB),)
    found = lines(replace(DOWNLOADING, files=wide), 100, unicode=False)
    assert "|#######                     |" in found[1]
    assert found[-1].startswith(r"  \u6a21\u578b.bin")
    assert "".join(found).isascii()


def test_colour_is_in_bars_only_and_adds_no_columns() -> None:
    coloured = frame(DOWNLOADING, FILES, Sheet(100, 24, colour=True), 0.0)
    assert "\x1b[36m█" in coloured[1]
    assert "\x1b" not in coloured[2]
    assert [ESCAPES.sub("", line) for line in coloured] == lines(DOWNLOADING, 100)


@given(
    columns=st.integers(4, 300),
    rows=st.integers(1, 100),
    path=st.text(min_size=1, max_size=80),
    done=st.integers(0, 2**50),
    size=st.none() | st.integers(0, 2**50),
    unicode=st.booleans(),
    waiting=st.none() | st.floats(0, 1e6),
)
def test_nothing_is_ever_wider_or_higher_than_the_terminal(
    *, columns: int, rows: int, path: str, done: int, size: int | None, unicode: bool, waiting: float | None
) -> None:
    snapshot = replace(
        DOWNLOADING,
        total_bytes=size or 0,
        done_bytes=min(done, size or 0),
        files=(FileProgress(path, done, size), *FILES),
        host=path,
        waiting=path,
        wait_left=waiting,
    )
    found = lines(snapshot, columns, rows, unicode=unicode)
    assert len(found) <= max(1, rows // 2)
    assert all(width(line) <= columns - 1 for line in found)
