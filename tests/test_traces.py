"""What is said of a process that does not end."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests import traces
from tests.command import environment, finish, spawn
from tests.waiting import eventually

HANGS = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("begun", file=sys.stderr, flush=True)
def waits_here():
    time.sleep(600)
waits_here()
"""


def is_gone(pid: int) -> bool:
    with suppress(OSError):
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    return True


def test_a_process_that_hangs_tells_where_and_is_ended_with_its_children() -> None:
    process = spawn(sys.executable, "-c", HANGS, env=environment())
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    assert eventually(lambda: bool(children.read_text()))
    child = int(children.read_text())
    with pytest.raises(subprocess.TimeoutExpired) as hung:
        finish(process, 1)
    (told,) = hung.value.__notes__
    assert "begun" in told
    assert "waits_here" in told
    assert f"\n{child}: " in told
    assert eventually(lambda: is_gone(child))


def test_a_failure_tells_what_was_seen_and_what_still_ran() -> None:
    traces.call(lambda: "the board")
    process = spawn(sys.executable, "-c", HANGS, env=environment())
    assert finish(spawn(sys.executable, "-c", "", env=environment())).status == 0
    failed = spawn(sys.executable, "-c", "raise SystemExit('no volume')", env=environment())
    assert eventually(lambda: failed.poll() is not None)
    assert process.stderr is not None
    assert process.stderr.readline() == "begun\n"
    (_, state), (title, told), after = traces.testify()
    assert state == "the board"
    assert title == f"process {process.pid} did not end"
    assert "waits_here" in told
    assert after == (f"process {failed.pid} ended with 1", "no volume\n")
    assert process.returncode is not None
