"""What a test that fails has seen: where its processes were, and the state of what they worked on.

Processes that `tests.command` starts are known here until their test is over. Where it fails, those that still run are
asked where each of their threads is, in Python and in the kernel, and ended: they must not disturb the next tests.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

TELLING = 20.0
"""Seconds for a process to tell where its threads are, and for the kernel to end it."""
_PROC = Path("/proc")
_ABORT = 1 << (signal.SIGABRT - 1)
_WAYS_OF_WAITING = ("wchan", "stack")
"""Files in which the kernel says where a thread waits; the second one only to root."""

_started: list[subprocess.Popen[str]] = []
_witnesses: list[Callable[[], str]] = []


def watch(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
    """Let a failure tell where this process was."""
    _started.append(process)
    return process


def call(witness: Callable[[], str]) -> None:
    """Let a failure tell what `witness` returns, which is asked before the processes are ended."""
    _witnesses.append(witness)


def forget() -> None:
    """Begin with another test."""
    _started.clear()
    _witnesses.clear()


def testify() -> list[tuple[str, str]]:
    """Return title and text of all that a failed test has seen, and end its processes."""
    said = [("state", _heard(witness)) for witness in _witnesses]
    left = [process for process in _started if process.stdout is None or not process.stdout.closed]  # not waited for
    for process in left:
        status = process.poll()
        how = "did not end" if status is None else f"ended with {status}"
        said.append((f"process {process.pid} {how}", end(process)))
    return said


def _heard(witness: Callable[[], str]) -> str:
    try:
        return witness()
    except Exception as error:  # noqa: BLE001 -- the failure itself matters more
        return f"{type(error).__name__}: {error}"


def end(process: subprocess.Popen[str]) -> str:
    """End a process and all that it has started; return where their threads were, and what they have written."""
    family = _family(process.pid)
    found = [text for pid in family for text in _waits(pid)]
    for pid in filter(_tells, family):
        _send(pid, signal.SIGABRT)
        _send(pid, signal.SIGCONT)
    written: tuple[str | None, str | None] = (None, None)
    with suppress(subprocess.TimeoutExpired):  # as it is process 1 of a namespace, which an abort does not end
        written = process.communicate(timeout=TELLING / 4)
    for pid in reversed(family):
        _send(pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired, ValueError):
        written = process.communicate(timeout=TELLING)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    return "\n".join([*found, *filter(None, written)])


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _family(pid: int) -> list[int]:
    """Return a process and its descendants."""
    family = [pid]
    for member in family:
        with suppress(OSError):
            for task in (_PROC / str(member) / "task").iterdir():
                family += map(int, (task / "children").read_text().split())
    return family


def _waits(pid: int) -> list[str]:
    """Return a line for a process, and one for each of its threads."""
    lines = []
    with suppress(OSError):
        place = _PROC / str(pid)
        command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        lines.append(f"{pid}: {command}")
        for task in sorted((place / "task").iterdir()):
            name, state = (task / "stat").read_text(errors="replace").partition(" (")[2].rpartition(") ")[::2]
            where = " ".join(_read(task / way) for way in _WAYS_OF_WAITING)
            lines.append(f"  {task.name} {name}, {state[:1]}: {where}")
    return lines


def _read(path: Path) -> str:
    try:
        return " ".join(path.read_text().split())
    except OSError:
        return ""


def _tells(pid: int) -> bool:
    """Return whether a process says where its threads are when it is aborted, as Python does with its fault handler."""
    with suppress(OSError):
        caught = next(line for line in (_PROC / str(pid) / "status").read_text().splitlines() if "SigCgt" in line)
        return bool(int(caught.split()[1], 16) & _ABORT)
    return False
