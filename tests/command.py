"""Runs the command as a process of its own, with an environment that holds nothing but what a test gives it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests import traces
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

TIMEOUT = 120.0
"""Seconds after which a run that goes on hangs: far more than any takes, also on a busy machine."""
USUAL = {"STALL_TIMEOUT": "30", "PROGRESS_INTERVAL": "0.2", "AIM_LEASE_TTL": "30", "ARTIFACT_NAME": "llama"}
"""A timeout for busy machines: where something is going to fail for lack of bytes, a test says how soon.

And a log for the operator, since that one is the harder to write; `PEOPLE` makes it one for people.
"""
PEOPLE = {"ARTIFACT_NAME": ""}
STALL_TIMEOUTS = (1.5, 6.0, 24.0, 96.0)
"""Seconds, tried one after the other: on a busy machine, too, one of them is long enough for the cause to be met."""


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def last_line(self) -> str:
        """The line that the operator reads first."""
        lines = (self.stderr or self.stdout).rstrip("\n").splitlines()
        return lines[-1] if lines else ""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a clean environment: PATH, a home that does not exist, the usual timeouts, and `extra`.

    With the fault handler, a process that hangs can be asked where its threads are.
    """
    own = {"PYTHONDEVMODE": "0", "PYTHONFAULTHANDLER": "1"}
    clean = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **own, **USUAL}
    return {**clean, **(extra or {})}


WITH_DEFAULT_SIGHUP = ("env", "--default-signal=HUP")
"""Starts a command that a closed terminal ends, even where the tests themselves run under nohup."""


def start(
    *arguments: str | Path,
    extra: Mapping[str, str] | None = None,
    through: Sequence[str] = (),
    module: Sequence[str] = ("downloader",),
) -> subprocess.Popen[str]:
    """Start the command in a process group of its own, `through` another program or from another module if need be."""
    return spawn(*through, sys.executable, "-m", *module, *arguments, env=environment(extra))


def spawn(*command: str | Path, env: Mapping[str, str], cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start a program in a process group of its own. If its test fails while it runs, it is ended."""
    return traces.watch(
        subprocess.Popen(
            list(map(str, command)),
            env=env,
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    )


def finish(process: subprocess.Popen[str], timeout: float = TIMEOUT) -> Result:
    """Wait for a command that was started. If it does not end, the error has a note that tells where it was."""
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        error.add_note(traces.end(process))
        raise
    return Result(process.returncode, stdout, stderr)


def comes_to(process: subprocess.Popen[str], moment: Callable[[], bool]) -> bool:
    """Wait until a run has come so far that `moment` is true, as long as a run may take; not if it ends before that."""
    eventually(lambda: moment() or process.poll() is not None, TIMEOUT)
    return moment()


def run(*arguments: str | Path, extra: Mapping[str, str] | None = None, timeout: float = TIMEOUT) -> Result:
    """Run the command to its end."""
    return finish(start(*arguments, extra=extra), timeout)


def run_until(status: int, *arguments: str | Path, extra: Mapping[str, str] | None = None) -> Result:
    """Run a command that fails, with longer and longer STALL_TIMEOUTs until it does so with this status."""
    for seconds in STALL_TIMEOUTS:
        result = run(*arguments, extra={**(extra or {}), "STALL_TIMEOUT": f"{seconds:g}"})
        if result.status == status:
            break
    return result


def content(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, by its relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def model(folder: Path) -> dict[str, bytes]:
    """Return what `content` does, without our own list of checksums."""
    return {path: data for path, data in content(folder).items() if path != ".artifact.sha256"}


def member_logs(target: Path) -> list[Path]:
    """Return the log of each process that shares the work on a volume, or has shared it."""
    return list(target.glob(".downloading/shards.*/members/*.log"))
