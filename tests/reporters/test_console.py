from __future__ import annotations

import fcntl
import io
import logging
import os
import pty
import re
import select
import struct
import termios
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import TransferProtocol
from downloader.errors import Category
from downloader.log import set_up
from downloader.progress import Phase, Snapshot
from downloader.redaction import Redactor
from downloader.reporters.console import CLEAR_TO_END, Console, progress_text, summary_text
from tests.clocks import Clock
from tests.contract.operator_log import filed

if TYPE_CHECKING:
    from collections.abc import Iterator

GIB = 1024**3

DOWNLOADING = Snapshot(
    phase=Phase.DOWNLOADING,
    total_bytes=4 * GIB,
    done_bytes=GIB,
    received_bytes=GIB,
    total_files=12,
    protocol=TransferProtocol.S3,
    attempt=1,
    sequence=(TransferProtocol.S3, TransferProtocol.HTTP),
    rate=85 * 1024**2,
    eta=37.0,
)


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    log = set_up(stream, Redactor("canary-secret"), for_operator=True)
    yield stream
    log.restore()


def said(stream: io.StringIO) -> list[str]:
    """Return the lines since the last look, without their heads."""
    lines = [re.sub(r"^\S+Z info +", "", line) for line in stream.getvalue().splitlines()]
    stream.seek(0)
    stream.truncate()
    return lines


def test_without_a_terminal_each_change_is_a_line_and_so_is_each_interval(stream: io.StringIO) -> None:
    clock = Clock(0.0)
    console = Console(stream, clock=clock)
    console.report(Snapshot())
    assert said(stream) == ["listing"]
    console.report(DOWNLOADING)
    assert said(stream) == ["downloading: 25 %, 1.0 GiB of 4.0 GiB, 85.0 MiB/s, 37 s left (S3, attempt 1 of 2)"]
    clock.now = 9.9
    console.report(replace(DOWNLOADING, done_bytes=2 * GIB))
    assert said(stream) == []
    clock.now = 10.0
    console.report(replace(DOWNLOADING, done_bytes=3 * GIB))
    assert said(stream) == ["downloading: 75 %, 3.0 GiB of 4.0 GiB, 85.0 MiB/s, 37 s left (S3, attempt 1 of 2)"]
    for change in (
        {"message": "canary-secret"},
        {"attempt": 2},
        {"protocol": TransferProtocol.HTTP},
        {"phase": Phase.VERIFYING},
    ):
        console.report(replace(DOWNLOADING, **change))
        assert len(said(stream)) == 1


def test_a_stuck_volume_is_told_once_although_its_text_changes(stream: io.StringIO) -> None:
    console = Console(stream, clock=Clock(0.0))
    for seconds in range(300, 303):
        console.report(replace(DOWNLOADING, stuck_volume=f"fsync has not answered for {seconds} s"))
    (line,) = said(stream)
    assert line.endswith("(S3, attempt 1 of 2); fsync has not answered for 300 s")


def test_the_unluckiest_numbers_are_innocent_and_so_is_the_worst_message(stream: io.StringIO) -> None:
    unlucky = replace(DOWNLOADING, total_bytes=404 * 1024**2, done_bytes=403 * 1024**2)
    console = Console(stream, clock=Clock(0.0))
    console.report(unlucky)
    console.report(replace(unlucky, protocol=TransferProtocol.HTTP, message="s3://b/404 canary-secret"))
    assert filed(stream.getvalue(), newest=True) is Category.OTHER
    assert said(stream) == [
        "downloading: 99 %, 403 MiB of 404 MiB, 85.0 MiB/s, 37 s left (S3, attempt 1 of 2)",
        "downloading: 99 %, 403 MiB of 404 MiB, 85.0 MiB/s, 37 s left (HTTP, attempt 1 of 2); s·3://b/404 ***",
    ]


@pytest.mark.parametrize(
    ("final", "text"),
    [
        (
            Snapshot(phase=Phase.DONE, total_bytes=4 * GIB, total_files=12, received_bytes=3 * GIB),
            "done after 2 min 0 s: 12 files, 4.0 GiB; 3.0 GiB received, 25.6 MiB/s",
        ),
        (
            Snapshot(phase=Phase.DONE, total_bytes=4 * GIB, total_files=12),
            "done after 2 min 0 s: 12 files, 4.0 GiB; nothing had to be fetched",
        ),
        (
            Snapshot(phase=Phase.DONE, total_bytes=GIB, total_files=1, received_bytes=4 * GIB, discarded_bytes=3 * GIB),
            "done after 2 min 0 s: 1 files, 1.0 GiB; 4.0 GiB received, 3.0 GiB of it discarded, 8.5 MiB/s",
        ),
        (
            replace(DOWNLOADING, phase=Phase.FAILED, done_files=2),
            "failed after 2 min 0 s: 1.0 GiB of 4.0 GiB on the volume, 2 of 12 files, attempt 1 of 2 (S3)",
        ),
        (
            replace(DOWNLOADING, phase=Phase.FAILED, protocol=None, total_files=0, discarded_bytes=GIB),
            "failed after 2 min 0 s: 1.0 GiB of 4.0 GiB on the volume, 1.0 GiB discarded",
        ),
        (Snapshot(phase=Phase.FAILED), "failed after 2 min 0 s, before the source was listed"),
    ],
)
def test_the_summary_tells_how_it_ended(final: Snapshot, text: str) -> None:
    assert summary_text(final, 120.0) == text


def test_closing_writes_the_summary(stream: io.StringIO) -> None:
    clock = Clock(0.0)
    console = Console(stream, clock=clock)
    clock.now = 5.0
    console.close(Snapshot(phase=Phase.FAILED))
    assert said(stream) == ["failed after 5.0 s, before the source was listed"]


def test_what_is_not_known_is_left_out() -> None:
    assert progress_text(replace(DOWNLOADING, rate=0.0, eta=None)) == (
        "downloading: 25 %, 1.0 GiB of 4.0 GiB (S3, attempt 1 of 2)"
    )
    assert progress_text(Snapshot(phase=Phase.WAITING, message="another pod downloads it")) == (
        "waiting; another pod downloads it"
    )


def test_a_wait_is_told_with_a_countdown_in_the_line_of_each_interval_and_in_no_other(stream: io.StringIO) -> None:
    clock = Clock(0.0)
    console = Console(stream, clock=clock)
    for second in range(41):
        clock.now = second
        console.report(replace(DOWNLOADING, rate=0.0, eta=None, waiting="refused; trying again", wait_left=72 - second))
    start = "downloading: 25 %, 1.0 GiB of 4.0 GiB (S3, attempt 1 of 2); refused; trying again"
    left = ("1 min 12 s", "1 min 2 s", "52 s", "42 s", "32 s")
    assert said(stream) == [f"{start} ({time} to go)" for time in left]


def test_what_was_thrown_away_is_told(stream: io.StringIO) -> None:
    Console(stream, clock=Clock(0.0)).report(replace(DOWNLOADING, discarded_bytes=3 << 20))
    assert "37 s left, 3.0 MiB discarded (S3" in said(stream)[0]


def frame(snapshot: Snapshot, columns: int, encoding: str = "utf-8") -> str:
    """Return what a terminal of so many columns shows of one moment."""
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(terminal, "w", encoding=encoding) as stream:
        console = Console(stream, clock=Clock(0.0), drawing=True)
        console.report(snapshot)
        shown = b""
        while select.select([screen], [], [], 0)[0]:
            shown += os.read(screen, 65536)
    os.close(screen)
    return shown.decode().split("\r")[-1].removesuffix(CLEAR_TO_END)


WAITING = replace(DOWNLOADING, rate=0.0, eta=None, waiting="hub.test refuses; trying again", wait_left=40)


@pytest.mark.parametrize(
    ("snapshot", "columns", "shown"),
    [
        (DOWNLOADING, 71, "downloading S3 1/2  25 %  1.0 GiB of 4.0 GiB, 85.0 MiB/s, 37 s left"),
        (DOWNLOADING, 60, "downloading S3 1/2  25 %  85.0 MiB/s, 37 s left"),
        (DOWNLOADING, 40, " 25 %  85.0 MiB/s, 37 s left"),
        (DOWNLOADING, 20, " 25 %  85.0 MiB/s, "),
        (WAITING, 90, "downloading S3 1/2  25 %  1.0 GiB of 4.0 GiB, hub.test refuses; trying again (40 s to go)"),
        (WAITING, 40, " 25 %  40 s to go"),
        (Snapshot(), 40, "listing"),
    ],
)
def test_on_a_narrow_terminal_rate_and_time_left_stay_and_the_bar_goes(
    snapshot: Snapshot, columns: int, shown: str
) -> None:
    assert frame(snapshot, columns) == shown
    assert len(frame(snapshot, columns)) < columns


def test_quiet_shows_nothing(stream: io.StringIO) -> None:
    console = Console(stream, quiet=True)
    console.report(DOWNLOADING)
    console.close(DOWNLOADING)
    assert said(stream) == []


@pytest.mark.parametrize("columns", [100, 0])
def test_a_terminal_shows_a_bar_and_lines_above_it(columns: int) -> None:
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24 if columns else 0, columns, 0, 0))
    with os.fdopen(terminal, "w", encoding="utf-8") as stream:
        log = set_up(stream, Redactor(), drawing=True)
        try:
            console = Console(stream, clock=Clock(0.0), drawing=True)
            console.report(Snapshot())
            console.report(DOWNLOADING)
            console.report(replace(DOWNLOADING, done_bytes=3 * GIB, message="S3 is slow"))
            logging.getLogger("downloader.engine").warning("one more line")
            console.close(replace(DOWNLOADING, phase=Phase.FAILED))
        finally:
            log.restore()
        shown = b""
        while select.select([screen], [], [], 0)[0]:
            shown += os.read(screen, 65536)
    os.close(screen)
    frames = shown.decode().replace("\n", "").split("\r")
    drawn = [frame.removesuffix(CLEAR_TO_END) for frame in frames if frame.endswith(CLEAR_TO_END)]
    assert drawn[:2] == ["starting", "listing"]
    assert re.fullmatch(r"downloading S3 1/2  25 % \|█+.? +\| 1.0 GiB of 4.0 GiB, 85.0 MiB/s, 37 s left", drawn[2])
    assert len(drawn[2]) == (columns or 80) - 1
    assert drawn[3].count("█") == 3 * drawn[2].count("█") + 1  # three quarters of 26 or 46 columns, and a quarter
    assert drawn[4:] == [""]
    lines = [frame for frame in frames if frame.startswith(CLEAR_TO_END) and frame != CLEAR_TO_END]
    assert [line.partition("Z ")[2] for line in lines] == [
        "info    S3 is slow",
        "warning one more line",
        "info    failed after 0.0 s: 1.0 GiB of 4.0 GiB on the volume, 0 of 12 files, attempt 1 of 2 (S3)",
    ]
    assert frames[frames.index(lines[-1]) - 1] == CLEAR_TO_END


def test_a_stream_without_unicode_gets_a_bar_of_ascii() -> None:
    assert "|#####               |" in frame(DOWNLOADING, 90, encoding="ascii")


def test_a_terminal_that_goes_away_does_not_end_the_run() -> None:
    screen, terminal = pty.openpty()
    stream = os.fdopen(terminal, "w", encoding="utf-8")
    console = Console(stream, clock=Clock(0.0), drawing=True)
    os.close(screen)
    console.report(DOWNLOADING)
    console.clear()
    with pytest.raises(OSError, match="Input/output error"):
        stream.close()


def test_nothing_is_drawn_after_the_bar_was_taken_away() -> None:
    stream = io.StringIO()
    console = Console(stream, clock=Clock(0.0), drawing=True)
    console.clear()
    console.report(DOWNLOADING)
    assert stream.getvalue().endswith(f"\r{CLEAR_TO_END}")
