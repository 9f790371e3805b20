"""Waiting for another thread or process, and measuring how long it took."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

AT_LAST = 60.0
"""Seconds within which an event occurs even on a very busy machine; after that the test considers it lost."""
PRESSURE = Path("/proc/pressure")
SOME = re.compile(r"^some .*total=(\d+)$", re.MULTILINE)


def eventually(condition: Callable[[], bool], timeout: float = AT_LAST) -> bool:
    """Poll `condition` until it is true or `timeout` seconds have passed; return whether it became true."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class Stopwatch:
    """Time since it was created, with and without the time in which the machine was busy.

    A promise such as "within 10 seconds" is about a machine that has a CPU to spare, and tests run on any machine. So
    a test compares `undisturbed` with the promise, and `seconds` with the promise and a generous allowance.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._waited = _waited()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    @property
    def undisturbed(self) -> float:
        """Seconds since the start in which no thread of the machine was waiting for a CPU or a disk.

        Without pressure stall information (Linux 4.20, CONFIG_PSI) it is 0: then only `seconds` shows anything.
        """
        waited = _waited()
        if waited is None or self._waited is None:
            return 0.0
        return max(0.0, self.seconds - (waited - self._waited))


def _waited() -> float | None:
    """Return the seconds since boot in which some thread waited for a CPU or a disk, or a hypervisor took the CPU."""
    with suppress(OSError):
        found = [SOME.search((PRESSURE / resource).read_text()) for resource in ("cpu", "io")]
        stolen = int(Path("/proc/stat").read_text().split(maxsplit=9)[8]) / os.sysconf("SC_CLK_TCK")
        return sum(int(one[1]) / 1e6 for one in found if one) + stolen
    return None
