"""Threads that would only wait for each other, on one processor.

The interpreter lets one thread run at a time, and each gives way a dozen times for a small file. Who waits is woken on
another processor each time, for microseconds of work, and that takes longer than the work itself.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

STAY = 1.0
"""Seconds after which the system is asked anew where there is time for them: others may have come there since."""
STAT = Path("/proc/thread-self/stat")
PROCESSOR = 36
"""The place of the processor in what the system tells of a thread there, counted from behind its name."""


class CpuAffinity:
    """Where threads run that go through small files. Nothing depends on it but how quick they are."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()
        self._chosen = self._all
        self._until = clock()
        self._mine = _Thread()

    def pin(self) -> None:
        """Bring the calling thread to where the others are."""
        now = self._clock()
        if now >= self._until:
            # The first one is let loose until it comes again, so that the system puts it where there is time for it.
            self._until, self._mine.looks_around = now + STAY, True
            self._bind(self._all)
            return
        if self._mine.looks_around:
            self._mine.looks_around = False
            self._chosen = _here() & self._all or self._all
        self._bind(self._chosen)

    def unpin(self) -> None:
        """Let the calling thread run wherever the system likes."""
        self._bind(self._all)

    def _bind(self, processors: frozenset[int]) -> None:
        if processors != (self._mine.processors or self._all):
            self._mine.processors = processors
            with suppress(OSError):
                os.sched_setaffinity(0, processors)


class _Thread(threading.local):
    """What the calling thread knows of itself."""

    processors: frozenset[int] | None = None
    """Where it may run; None before it was told."""
    looks_around = False


def _here() -> frozenset[int]:
    """Return the processor that the calling thread runs on; nothing where that cannot be known."""
    try:
        return frozenset({int(STAT.read_text().rpartition(")")[2].split()[PROCESSOR])})
    except (OSError, ValueError, IndexError):
        return frozenset()
