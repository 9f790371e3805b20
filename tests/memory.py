"""Runs of the command that are told how much memory they took at most."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.command import TIMEOUT, finish, start

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

    from tests.command import Result

MIB = 1 << 20


def run_measured(
    *arguments: str | Path, extra: Mapping[str, str] | None = None, timeout: float = TIMEOUT
) -> tuple[Result, int]:
    """Run the command to its end; return how it ended, and the most memory that it had, in bytes."""
    process = start(*arguments, extra=extra)
    peaks = [0]
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(process, peaks, ended), daemon=True)
    watcher.start()
    try:
        return finish(process, timeout), peaks[0]
    finally:
        ended.set()
        watcher.join()


def _watch(process: subprocess.Popen[str], peaks: list[int], ended: threading.Event) -> None:
    status = Path(f"/proc/{process.pid}/status")
    while not ended.wait(0.01):
        with suppress(OSError):
            for line in status.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    peaks[0] = int(line.split()[1]) << 10
