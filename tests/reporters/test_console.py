from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import TransferProtocol
from downloader.errors import Category
from downloader.log import set_up
from downloader.progress import FileProgress, Phase, Snapshot
from downloader.redaction import Redactor
from downloader.reporters.console import Console, Display
from downloader.reporters.sentences import progress_text, summary_text
from downloader.terminal import Terminal
from tests.clocks import Clock
from tests.contract.operator_log import filed
from tests.terminal import OnScreen

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
    console = Console(clock=clock)
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
    console = Console(clock=Clock(0.0))
    for seconds in range(300, 303):
        console.report(replace(DOWNLOADING, stuck_volume=f"fsync has not answered for {seconds} s"))
    (line,) = said(stream)
    assert line.endswith("(S3, attempt 1 of 2); fsync has not answered for 300 s")


def test_the_unluckiest_numbers_are_innocent_and_so_is_the_worst_message(stream: io.StringIO) -> None:
    unlucky = replace(DOWNLOADING, total_bytes=404 * 1024**2, done_bytes=403 * 1024**2)
    console = Console(clock=Clock(0.0))
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
            "done after 2 min 0 s: 1 file, 1.0 GiB; 4.0 GiB received, 3.0 GiB of it discarded, 8.5 MiB/s",
        ),
        (  # one of several processes, which also discarded what the others had fetched
            Snapshot(phase=Phase.DONE, total_bytes=GIB, total_files=1, received_bytes=GIB, discarded_bytes=3 * GIB),
            "done after 2 min 0 s: 1 file, 1.0 GiB; 1.0 GiB received, 3.0 GiB discarded, 0 bytes/s",
        ),
        (
            replace(DOWNLOADING, phase=Phase.FAILED, done_files=2),
            "failed after 2 min 0 s: 1.0 GiB of 4.0 GiB on the volume, 2 of 12 files, attempt 1 of 2 (S3)",
        ),
        (
            replace(DOWNLOADING, phase=Phase.FAILED, protocol=None, total_files=0, discarded_bytes=GIB),
            "failed after 2 min 0 s: 1.0 GiB of 4.0 GiB on the volume, 1.0 GiB discarded",
        ),
        (
            replace(DOWNLOADING, phase=Phase.FAILED, protocol=None, done_bytes=0, done_files=0),
            "failed after 2 min 0 s, before the download began",
        ),
        (Snapshot(phase=Phase.FAILED), "failed after 2 min 0 s, before the download began"),
    ],
)
def test_the_summary_tells_how_it_ended(final: Snapshot, text: str) -> None:
    assert summary_text(final, 120.0) == text


def test_closing_writes_the_summary(stream: io.StringIO) -> None:
    clock = Clock(0.0)
    console = Console(clock=clock)
    clock.now = 5.0
    console.close(Snapshot(phase=Phase.FAILED))
    assert said(stream) == ["failed after 5.0 s, before the download began"]


def test_what_is_not_known_is_left_out() -> None:
    assert progress_text(replace(DOWNLOADING, rate=0.0, eta=None)) == (
        "downloading: 25 %, 1.0 GiB of 4.0 GiB (S3, attempt 1 of 2)"
    )
    assert progress_text(Snapshot(phase=Phase.WAITING, message="another pod downloads it")) == (
        "waiting; another pod downloads it"
    )


def test_a_wait_is_told_with_a_countdown_in_the_line_of_each_interval_and_in_no_other(stream: io.StringIO) -> None:
    clock = Clock(0.0)
    console = Console(clock=clock)
    for second in range(41):
        clock.now = second
        console.report(replace(DOWNLOADING, rate=0.0, eta=None, waiting="refused; trying again", wait_left=72 - second))
    start = "downloading: 25 %, 1.0 GiB of 4.0 GiB (S3, attempt 1 of 2); refused; trying again"
    left = ("1 min 12 s", "1 min 2 s", "52 s", "42 s", "32 s")
    assert said(stream) == [f"{start} ({time} to go)" for time in left]


def test_what_was_thrown_away_is_told(stream: io.StringIO) -> None:
    Console(clock=Clock(0.0)).report(replace(DOWNLOADING, discarded_bytes=3 << 20))
    assert "37 s left, 3.0 MiB discarded (S3" in said(stream)[0]


def test_quiet_shows_nothing(stream: io.StringIO) -> None:
    console = Console(quiet=True)
    console.report(DOWNLOADING)
    console.close(DOWNLOADING)
    assert said(stream) == []


FILES = (FileProgress("a/canary-secret/model.bin", 1 << 20, 4 << 20), FileProgress("small.json", 1, 2))


def test_what_is_drawn_has_no_secrets_also_where_it_is_shortened() -> None:
    with OnScreen() as stream:
        console = Console(display=Display(Terminal(stream), Redactor("canary-secret").redact), clock=Clock(0.0))
        for attempt in (1, 2):
            console.report(
                replace(
                    DOWNLOADING,
                    attempt=attempt,
                    files=FILES,
                    host="canary-secret.test",
                    waiting=f"{'x' * 55} canary-secret refuses",
                    wait_left=3.0,
                )
            )
        shown = stream.screen.shown()
    assert "canary" not in stream.screen.raw.decode()
    assert "xxx *** ref" in shown[2]
    assert shown[3].endswith("from ***.test")
    assert shown[4].startswith("  a/***/model.bin")


def test_a_file_is_named_when_it_was_there_before() -> None:
    with OnScreen() as stream:
        console = Console(display=Display(Terminal(stream)), clock=Clock(0.0))
        console.report(replace(DOWNLOADING, files=FILES[1:]))
        assert stream.screen.shown()[-1].startswith("S3, attempt")
        console.report(replace(DOWNLOADING, files=FILES[:1], attempt=2))
        assert stream.screen.shown()[-1].startswith("S3, attempt")
        console.report(replace(DOWNLOADING, files=FILES[:1]))
        assert stream.screen.shown()[-1].startswith("  a/canary-secret/model.bin")


def test_numbers_are_drawn_five_times_a_second_and_news_at_once() -> None:
    clock = Clock(0.0)
    with OnScreen() as stream:
        console = Console(display=Display(Terminal(stream)), clock=clock)
        console.report(DOWNLOADING)
        console.report(replace(DOWNLOADING, done_bytes=2 * GIB))
        assert "25 %" in stream.screen.shown()[1]
        console.report(replace(DOWNLOADING, done_bytes=2 * GIB, attempt=2))
        assert "50 %" in stream.screen.shown()[1]
        clock.now = 0.2
        console.report(replace(DOWNLOADING, done_bytes=3 * GIB, attempt=2))
        assert "75 %" in stream.screen.shown()[1]
        console.clear()
        console.report(DOWNLOADING)
        assert stream.screen.shown() == []
