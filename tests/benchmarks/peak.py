"""How much memory a process and its children take at most."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Self

_STEP = 0.05
"""Seconds between two looks."""


class Peak:
    """Looks at a process and its children now and then: what the kernel tells at the end includes our own fork.

    Ends the process when `timeout` seconds are over.
    """

    def __init__(self, pid: int, timeout: float) -> None:
        self.bytes = 0
        self.overdue = False
        self._pid = pid
        self._deadline = time.monotonic() + timeout
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_STEP):
            self.bytes = max(self.bytes, _resident(self._pid))
            if time.monotonic() > self._deadline:
                self.overdue = True
                os.kill(self._pid, signal.SIGKILL)
                return


def _resident(pid: int) -> int:
    """Return the peak of a process and of its children, added up."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        tasks = [task / "children" for task in Path(f"/proc/{pid}/task").iterdir()]
        children = [int(child) for task in tasks for child in task.read_text().split()]
    except (OSError, ValueError):
        return 0
    line = next((line for line in status.splitlines() if line.startswith("VmHWM")), "VmHWM: 0 kB")
    return int(line.split()[1]) * 1024 + sum(_resident(child) for child in children)
