"""Lines that are drawn over themselves: what the emulated screen shows of what is written."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from downloader.terminal import REPAIR, Terminal, shortened, shortened_path, width
from tests.clocks import Clock
from tests.terminal import OnScreen, Screen

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def stream() -> Iterator[OnScreen]:
    with OnScreen() as stream:
        yield stream


def test_lines_stay_below_the_log_and_the_cursor_where_they_begin(stream: OnScreen) -> None:
    terminal = Terminal(stream)
    terminal.write("first\n")
    terminal.draw(["total", "file"])
    assert stream.screen.shown() == ["first", "total", "file"]
    assert stream.screen.cursor == (0, 1)
    terminal.write("second\nthird\n")
    assert stream.screen.shown() == ["first", "second", "third", "total", "file"]
    assert stream.screen.cursor == (0, 3)
    terminal.draw(["total"])
    assert stream.screen.shown() == ["first", "second", "third", "total"]
    terminal.draw(["total", "a", "b"])
    assert stream.screen.shown() == ["first", "second", "third", "total", "a", "b"]
    terminal.erase()
    assert stream.screen.shown() == ["first", "second", "third"]
    assert stream.screen.cursor == (0, 3)


def test_only_what_has_changed_is_written_and_all_at_once(stream: OnScreen) -> None:
    terminal = Terminal(stream, Clock())
    terminal.draw(["total 1", "file a", "file b"])
    del stream.written[:]
    terminal.draw(["total 1", "file a", "file b"])
    assert stream.written == []
    terminal.draw(["total 1", "file a", "file c"])
    assert stream.written == ["\x1b[2B\rfile c\x1b[K\r\x1b[2A"]
    assert stream.screen.shown() == ["total 1", "file a", "file c"]
    terminal.draw(["total 2", "file a", "d"])
    assert stream.screen.shown() == ["total 2", "file a", "d"]
    assert len(stream.written) == 2
    assert stream.screen.cursor == (0, 0)


def test_what_others_write_over_the_lines_is_repaired(stream: OnScreen) -> None:
    clock = Clock()
    terminal = Terminal(stream, clock)
    terminal.draw(["total", "file"])
    stream.screen.feed(b"\r\n")  # a person presses Enter
    clock.pass_by(REPAIR)
    terminal.draw(["total", "file"])
    assert stream.screen.shown() == ["total", "total", "file"]  # the old first line has become part of the log


def test_lines_at_the_bottom_of_the_screen_scroll_the_log_and_not_themselves(stream: OnScreen) -> None:
    terminal = Terminal(stream)
    for number in range(50):
        terminal.write(f"line {number}\n")
        terminal.draw([f"total {number}", "file"])
    assert stream.screen.all_rows() == [*(f"line {number}" for number in range(50)), "total 49", "file"]


def test_many_threads_tear_no_line(stream: OnScreen) -> None:
    terminal = Terminal(stream)

    def log(name: str) -> None:
        for number in range(100):
            terminal.write(f"{name} {number}\n")

    def draw() -> None:
        for number in range(100):
            terminal.draw([f"total {number}", f"file {number}"])

    threads = [threading.Thread(target=log, args=(name,)) for name in "abc"] + [threading.Thread(target=draw)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    *rows, total, file = stream.screen.all_rows()
    assert (total, file) == ("total 99", "file 99")
    assert sorted(rows) == sorted(f"{name} {number}" for name in "abc" for number in range(100))


def test_a_terminal_that_goes_away_raises_nothing_while_it_is_drawn_on() -> None:
    screen, theirs = os.openpty()
    stream = os.fdopen(theirs, "w", encoding="utf-8")
    terminal = Terminal(stream)
    os.close(screen)
    terminal.draw(["total"])
    terminal.erase()
    with pytest.raises(OSError, match="Input/output error"):
        stream.close()


def test_a_size_that_is_not_told_is_a_usual_one(stream: OnScreen) -> None:
    assert Terminal(stream).size == (80, 24)
    screen, theirs = os.openpty()  # of no columns and no rows
    with os.fdopen(theirs, "w", encoding="ascii") as bare:
        assert Terminal(bare).size == (80, 24)
        assert not Terminal(bare).unicode
    os.close(screen)


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("模型", 4), ("e\u0301", 1), ("", 0), ("\U0001f999x", 3)])
def test_the_width_of_a_text_is_what_the_screen_takes(text: str, columns: int) -> None:
    screen = Screen()
    screen.feed(text.encode())
    assert width(text) == columns == screen.cursor[0]


@pytest.mark.parametrize(
    ("text", "columns", "beginning", "end"),
    [
        ("model.bin", 9, "model.bin", "model.bin"),
        ("model.bin", 8, "model.b…", "…del.bin"),
        ("模型-权重", 8, "模型-权…", "…型-权重"),
        ("模型-权重", 6, "模型-…", "…-权重"),
        ("模型", 1, "", ""),
        ("abc", 1, "a", ""),
    ],
)
def test_a_text_is_shortened_to_columns_and_not_to_characters(
    text: str, columns: int, beginning: str, end: str
) -> None:
    assert shortened(text, columns) == beginning
    assert shortened_path(text, columns) == end
