"""What a person sees of the command on a terminal: the emulated screen of a real pseudo-terminal."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.command import PEOPLE, finish, run, start
from tests.servers.blobs import Noise
from tests.servers.faults import HangUp, Held, too_many_requests
from tests.servers.published import checksums
from tests.terminal import OnTerminal
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.broken import BrokenWeb
    from tests.servers.hub import Hub

MIB = 1 << 20
PERCENT = r"\b\d+ %"
FILES = {
    "config.json": b"{}",
    "weights/model-00001-of-00002.bin": Noise(16 * MIB, seed=1).bytes(),
    "weights/模型-00002-of-00002.bin": Noise(16 * MIB, seed=2).bytes(),
}
FIRST, SECOND = r"model-00001-of-00002.bin +[1-5]\d %", r"模 *型 *-00002-of-00002.bin +[1-5]\d %"
"""Rows of the two large files. An emulated screen has a cell for the second half of a wide character."""
STUCK = {"DU_TIMEOUT": "0.5", "STALL_TIMEOUT": "600"}
LOG_LINE = re.compile(r"\d\d:\d\d:\d\dZ (info   |warning|error  ) \S")


@dataclass
class HalfWay:
    """A folder on a web server, whose two large files stop half-way until the test lets them go on."""

    uri: str
    held: Held


@pytest.fixture
def half_way(own_web: BrokenWeb) -> Iterator[HalfWay]:
    """Serve it."""
    for path, content in {**FILES, "SHA256SUMS": checksums(FILES)}.items():
        own_web.put(f"m/{path}", content)
    held = Held()
    own_web.faults.add(held, path="*.bin", offset=8 * MIB, times=math.inf)
    try:
        yield HalfWay(own_web.url("m/"), held)
    finally:
        held.go_on.set()


def drawn(rows: list[str]) -> list[str]:
    """Return the rows that are not of the log."""
    return [row for row in rows if row and not LOG_LINE.match(row)]


def is_clean(terminal: OnTerminal) -> bool:
    """Whether nothing is left of what was drawn: only the log is on the screen, and the cursor is below it."""
    rows = terminal.shown()
    return (
        not [row for row in terminal.all_rows() if re.search(r"\| |\+ \d more", row)]
        and terminal.cursor == (0, len(rows))
        and not terminal.cursor_hidden
    )


@pytest.mark.parametrize(
    ("columns", "total"),
    [
        (200, r"downloading  [1-5]\d % \|█+.? +\| [\d.]+ MiB of 32.0 MiB"),
        (80, r" [1-5]\d % \|█+.? +\| [\d.]+ MiB of 32.0 MiB"),
        (20, r"^ [1-5]\d %"),
    ],
)
def test_all_bytes_and_each_file_have_a_row_at_any_width(
    half_way: HalfWay, tmp_path: Path, columns: int, total: str
) -> None:
    first, second = (FIRST, SECOND) if columns > 40 else (r"^  ….+ [1-5]\d %", r"^  ….+ [1-5]\d %")
    with OnTerminal("download", half_way.uri, tmp_path, columns=columns) as terminal:
        rows = terminal.wait_for(total, "^RANGES.*, 1 of 3", first, second)
        assert all(len(row) < columns for row in rows[terminal.cursor[1] :])
        # In few columns both files have the same text, so that `wait_for` may have seen one of them twice.
        assert eventually(lambda: len([row for row in terminal.wait_for(total) if re.search(PERCENT, row)]) == 3)
        half_way.held.go_on.set()
        assert terminal.end() == 0
        if columns > 20:
            assert is_clean(terminal)
            assert re.search(r"done after .*: 3 files, 32.0 MiB; 32.0 MiB received", "".join(terminal.lines()[-4:]))


def test_lines_of_the_log_stand_above_and_whole(half_way: HalfWay, tmp_path: Path) -> None:
    with OnTerminal("download", half_way.uri, tmp_path, "--log-level", "debug", columns=200) as terminal:
        rows = terminal.wait_for(FIRST, SECOND)
        empty = rows.index("")
        assert all(re.match(r"\d\d:\d\d:\d\dZ (info|debug|warning)", row) for row in rows[:empty])
        assert terminal.cursor == (0, empty)
        half_way.held.go_on.set()
        assert terminal.end() == 0
        assert is_clean(terminal)
        assert all(re.match(r"\d\d:\d\d:\d\dZ (info|debug|warning)", row) for row in terminal.all_rows())


def test_a_switch_leaves_a_line_that_says_why(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit(
        {"config.json": b"{}", "model.safetensors": FILES["weights/model-00001-of-00002.bin"]}
    )
    hub.faults.add(HangUp(), route="cas", times=math.inf)
    held = Held()
    hub.faults.add(held, route="cdn", offset=8 * MIB, times=math.inf)
    extra = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "h")}
    cdn = hub.cdn.server.origin.partition("://")[2]
    with OnTerminal("download", "hf://org/model", tmp_path / "t", extra=extra, columns=120) as terminal:
        rows = terminal.wait_for(
            f"HF_TRANSFER, attempt 2 of 3, 1 of 2 files, from {cdn}", r"model.safetensors +[1-5]\d %"
        )
        (said,) = [number for number, row in enumerate(rows) if "switching to HF_TRANSFER" in row]
        assert re.search("XET left 1 file: .+switching to", " ".join(rows[said - 1 : said + 1]))
        held.go_on.set()
        assert terminal.end() == 0
        assert is_clean(terminal)
        assert "switching to HF_TRANSFER" in "".join(terminal.shown())


def test_after_ctrl_c_only_the_log_is_left(half_way: HalfWay, tmp_path: Path) -> None:
    with OnTerminal("download", half_way.uri, tmp_path) as terminal:
        terminal.wait_for(FIRST, SECOND)
        terminal.press("\x03")
        assert terminal.end() == 130
        assert is_clean(terminal)
        assert "^C" not in "".join(terminal.shown())
        assert terminal.shown()[-1].startswith("failed: ended by SIGINT")


def test_a_window_that_is_resized_is_drawn_on_again(half_way: HalfWay, tmp_path: Path) -> None:
    with OnTerminal("download", half_way.uri, tmp_path, columns=100) as terminal:
        terminal.wait_for(r"\| [\d.]+ MiB of 32.0 MiB", FIRST, SECOND)
        for columns, rows, total in (
            (30, 20, r"^ [1-5]\d %"),
            (120, 30, r"downloading  [1-5]\d % \|"),
            (60, 2, r"^ [1-5]\d %"),
        ):
            terminal.resize(columns, rows)
            terminal.wait_until(
                lambda found, columns=columns, rows=rows, total=total: (  # type: ignore[misc]
                    len([row for row in found if re.search(total, row)]) == 1
                    and len([row for row in found if re.search(PERCENT, row)]) == (3 if rows > 2 else 1)
                    and all(len(row) < columns for row in found[terminal.cursor[1] :])
                )
            )
        half_way.held.go_on.set()
        assert terminal.end() == 0


@pytest.mark.parametrize(
    ("extra", "options"),
    [
        ({"TERM": "dumb"}, ()),
        ({"TERM": "dumb", "AIM_PROGRESS": "bar"}, ()),
        ({"CI": "true"}, ()),
        ({"AIM_PROGRESS": "plain"}, ()),
        ({"AIM_PROGRESS": "bar"}, ("--progress", "plain")),
    ],
)
def test_where_nothing_is_drawn_plain_lines_tell_the_progress(
    half_way: HalfWay, tmp_path: Path, extra: dict[str, str], options: tuple[str, ...]
) -> None:
    with OnTerminal("download", half_way.uri, tmp_path, *options, extra=extra, columns=200) as terminal:
        terminal.wait_for(r"info +downloading: [1-5]\d %, [\d.]+ MiB of 32.0 MiB.*\(RANGES, attempt 1 of 2\)")
        half_way.held.go_on.set()
        assert terminal.end() == 0
        assert b"\x1b" not in terminal.raw
        assert all(LOG_LINE.match(line) for line in terminal.lines())


def test_a_bar_can_be_had_where_ci_is_set(half_way: HalfWay, tmp_path: Path) -> None:
    with OnTerminal("download", half_way.uri, tmp_path, "--progress", "bar", extra={"CI": "true"}) as terminal:
        terminal.wait_for(FIRST, SECOND)


def test_without_progress_only_what_happens_is_told(half_way: HalfWay, tmp_path: Path) -> None:
    half_way.held.go_on.set()
    with OnTerminal("download", half_way.uri, tmp_path, extra={"AIM_PROGRESS": "none"}) as terminal:
        assert terminal.end() == 0
        assert b"\x1b" not in terminal.raw
        text = "\n".join(terminal.all_rows())
        assert "attempt 1 of 2" in text
        assert "done after" in text
        assert not re.search(PERCENT, text)


def test_quiet_shows_nothing_at_all(half_way: HalfWay, tmp_path: Path) -> None:
    half_way.held.go_on.set()
    with OnTerminal("download", half_way.uri, tmp_path, "--quiet") as terminal:
        assert terminal.end() == 0
        assert not terminal.raw


@pytest.mark.parametrize("extra", [{}, {"NO_COLOR": "1"}], ids=["colour", "NO_COLOR"])
def test_colour_is_left_out_on_request(half_way: HalfWay, tmp_path: Path, extra: dict[str, str]) -> None:
    with OnTerminal("download", half_way.uri, tmp_path, extra=extra) as terminal:
        terminal.wait_for(FIRST, SECOND)
        assert (re.search(rb"\x1b\[\d*m", terminal.raw) is None) == bool(extra)


def test_a_pipe_gets_plain_lines(half_way: HalfWay, tmp_path: Path) -> None:
    half_way.held.go_on.set()
    result = run("download", half_way.uri, tmp_path, extra={**PEOPLE, "TERM": "xterm", "AIM_PROGRESS": "bar"})
    assert result.status == 0
    assert "\x1b" not in result.stderr
    assert all(LOG_LINE.match(line) for line in result.stderr.splitlines())


def test_a_listing_tells_whom_it_asks(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit({f"part-{number:03}.json": b"{}" for number in range(60)})
    held = Held()
    hub.faults.add(held, route="tree", offset=1000)
    extra = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "h")}
    host = hub.endpoint.partition("://")[2]
    with OnTerminal("size", "hf://org/model", extra=extra) as terminal:
        terminal.wait_for("^listing", rf"^\d+ answers? so far, the last request to {host}$")
        held.go_on.set()
        assert terminal.end() == 0
        assert terminal.shown()[-1].startswith('{"url": "hf://org/model", "sizeBytes": ')
        assert is_clean(terminal)


def test_a_pause_that_a_server_asks_for_is_shown_with_its_end(
    half_way: HalfWay, own_web: BrokenWeb, tmp_path: Path
) -> None:
    own_web.faults.clear()
    own_web.faults.add(too_many_requests("300"), path="*.bin", times=math.inf)
    with OnTerminal("download", half_way.uri, tmp_path, columns=120) as terminal:
        terminal.wait_for(r"^waiting \d min \d+ s: .*127\.0\.0\.1.*429", r"to go")
        terminal.press("\x03")
        assert terminal.end() == 130
        assert is_clean(terminal)


def test_a_run_that_waits_for_another_says_so(half_way: HalfWay, tmp_path: Path) -> None:
    first = start("download", half_way.uri, tmp_path, extra=PEOPLE)
    assert eventually(lambda: any(tmp_path.rglob("*.part")))
    with OnTerminal("download", half_way.uri, tmp_path, columns=120) as terminal:
        terminal.wait_for("^waiting", "^waiting for .+ to finish with the volume")
        half_way.held.go_on.set()
        assert terminal.end() == 0
        assert is_clean(terminal)
    assert finish(first).status == 0


def test_verify_shows_its_progress(half_way: HalfWay, tmp_path: Path) -> None:
    half_way.held.go_on.set()
    assert run("download", half_way.uri, tmp_path).status == 0
    slow = [sys.executable, "-m", "tests.slow_reads", "0.5"]
    with OnTerminal("verify", tmp_path, program=slow, columns=120) as terminal:
        terminal.wait_for(r"^hashing +\d+ % \|.* MiB of 32.0 MiB", r"model-00001-of-00002.bin +\d+ % \|")
        terminal.press("\x03")
        assert terminal.end() == 130
        assert is_clean(terminal)


def test_files_that_are_there_are_named_while_they_are_checked(half_way: HalfWay, tmp_path: Path) -> None:
    half_way.held.go_on.set()
    assert run("download", half_way.uri, tmp_path).status == 0
    (tmp_path / ".artifact.sha256").unlink()
    slow = [sys.executable, "-m", "tests.slow_reads", "0.5"]
    with OnTerminal("download", half_way.uri, tmp_path, program=slow, columns=120) as terminal:
        terminal.wait_for("^checking", r"model-00001-of-00002.bin +\d+ % \|")
        terminal.press("\x03")
        assert terminal.end() == 130
        assert is_clean(terminal)


def test_a_volume_that_does_not_answer_is_named(half_way: HalfWay, tmp_path: Path) -> None:
    late = [sys.executable, "-m", "tests.slow_volume", "600", "1"]
    with OnTerminal("download", half_way.uri, tmp_path / "t", program=late, columns=120, extra=STUCK) as terminal:
        terminal.wait_for(r"^the volume has not answered for .* looking at")
        terminal.press("\x03")
        assert terminal.end() == 130
        assert is_clean(terminal)


def test_a_list_stands_alone_when_it_is_there(half_way: HalfWay) -> None:
    with OnTerminal("list", half_way.uri, columns=80) as terminal:
        assert terminal.end() == 0
        assert is_clean(terminal)
        rows = terminal.shown()
        assert [row.split()[-1] for row in rows[-3:]] == ["config.json", *sorted(FILES)[1:]]
        assert any("3 files, 32.0 MiB" in row for row in rows)


def test_a_terminal_of_few_rows_keeps_the_log_in_sight(half_way: HalfWay, tmp_path: Path) -> None:
    with OnTerminal("download", half_way.uri, tmp_path, rows=4, columns=120) as terminal:
        rows = terminal.wait_for(r"[1-5]\d % \|.* [\d.]+ MiB of 32.0 MiB", "^RANGES")
        assert len(drawn(rows)) == 2
        assert LOG_LINE.match(rows[0])


@pytest.fixture
def shell(half_way: HalfWay, tmp_path: Path) -> Iterator[OnTerminal]:
    """A shell with job control; `$COMMAND` is a download that stops half-way."""
    command = f"{sys.executable} -m downloader download {half_way.uri} {tmp_path}"
    extra = {"PS1": "shell> ", "COMMAND": command}
    with OnTerminal("--norc", "--noprofile", "-i", extra=extra, program=["bash"], columns=120) as terminal:
        terminal.wait_for("^shell>")
        yield terminal


def test_ctrl_z_leaves_the_terminal_to_the_shell_until_the_run_goes_on(shell: OnTerminal, half_way: HalfWay) -> None:
    shell.press("$COMMAND\n")
    shell.wait_for(FIRST, SECOND)
    shell.press("\x1a")
    rows = shell.wait_for("Stopped", "^shell> *$")
    assert not [row for row in rows if re.search(FIRST, row)]
    shell.press("fg\n")
    shell.wait_for(FIRST, SECOND)
    half_way.held.go_on.set()
    rows = shell.wait_for("done after", "^shell> *$")
    assert not [row for row in rows if re.search(PERCENT, row)]
    shell.press("exit\n")
    assert shell.end() == 0


def test_in_the_background_nothing_is_drawn_over_the_prompt(shell: OnTerminal, half_way: HalfWay) -> None:
    shell.press("$COMMAND & echo wait for it\n")
    shell.wait_for("attempt 1 of 2")
    half_way.held.go_on.set()
    rows = shell.wait_for("done after")
    assert not [row for row in rows if re.search(PERCENT, row)]
    assert b"% |" not in shell.raw
