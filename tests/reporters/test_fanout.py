from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from downloader.progress import Phase, Snapshot
from downloader.reporters.fanout import FanOut

if TYPE_CHECKING:
    import pytest

    from downloader.reporters import Reporter

FIRST = Snapshot()
SECOND = Snapshot(phase=Phase.DOWNLOADING)
FINAL = Snapshot(phase=Phase.DONE)


@dataclass
class Diary:
    """A reporter that writes down what it is shown, and may fail while doing so."""

    breaks_on: tuple[Snapshot, ...] = ()
    entries: list[Snapshot] = field(default_factory=list)
    endings: list[Snapshot] = field(default_factory=list)

    def report(self, snapshot: Snapshot) -> None:
        self.entries.append(snapshot)
        self._break_on(snapshot)

    def close(self, final: Snapshot) -> None:
        self.endings.append(final)
        self._break_on(final)

    def _break_on(self, snapshot: Snapshot) -> None:
        if snapshot in self.breaks_on:
            raise RuntimeError("the ink has dried up")


def run(*reporters: Reporter) -> None:
    fan_out = FanOut(reporters)
    fan_out.report(FIRST)
    fan_out.report(SECOND)
    fan_out.close(FINAL)


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_every_reporter_sees_every_snapshot_and_one_end(caplog: pytest.LogCaptureFixture) -> None:
    diaries = (Diary(), Diary())
    run(*diaries)
    for diary in diaries:
        assert diary.entries == [FIRST, SECOND]
        assert diary.endings == [FINAL]
    assert warnings_in(caplog) == []


def test_a_broken_reporter_is_told_no_more_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    broken, whole = Diary(breaks_on=(FIRST, FINAL)), Diary()
    run(broken, whole)
    assert broken.entries == [FIRST]
    assert broken.endings == [FINAL]
    assert whole.entries == [FIRST, SECOND]
    assert whole.endings == [FINAL]
    assert warnings_in(caplog) == ["the reporter Diary failed and is disabled"]


def test_an_end_that_fails_leaves_the_others_theirs(caplog: pytest.LogCaptureFixture) -> None:
    broken, whole = Diary(breaks_on=(FINAL,)), Diary()
    run(broken, whole)
    assert whole.endings == [FINAL]
    assert len(warnings_in(caplog)) == 1


def test_closing_twice_ends_each_reporter_once() -> None:
    diary = Diary()
    fan_out = FanOut([diary])
    fan_out.close(FINAL)
    fan_out.close(SECOND)
    assert diary.endings == [FINAL]
