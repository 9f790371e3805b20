"""Pins threads that process small files to one CPU (ADR 41).

The interpreter runs one thread at a time, and a small file needs a dozen switches between threads. Each switch would
wake a thread on another CPU for microseconds of work, which takes longer than the work itself.
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

REPIN_SECONDS = 1.0
"""Seconds after which the CPU is chosen again, as other processes may have become busy on it."""
STAT = Path("/proc/thread-self/stat")
PROCESSOR_FIELD = 36
"""Index of the CPU in `STAT`, counted after the name of the thread (proc_pid_stat(5))."""


class CpuAffinity:
    """The CPU of the threads that process small files. Only their speed depends on it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()
        self._chosen = self._all
        self._until = clock()
        self._mine = _Thread()

    def pin(self) -> None:
        """Restrict the calling thread to the CPU of the others."""
        now = self._clock()
        if now >= self._until:
            # The first thread is unpinned until its next call, so that the kernel moves it to a CPU with time for it.
            self._until, self._mine.chooses = now + REPIN_SECONDS, True
            self._bind(self._all)
            return
        if self._mine.chooses:
            self._mine.chooses = False
            self._chosen = _here() & self._all or self._all
        self._bind(self._chosen)

    def unpin(self) -> None:
        """Let the calling thread run on any CPU."""
        self._bind(self._all)

    def _bind(self, processors: frozenset[int]) -> None:
        if processors != (self._mine.processors or self._all):
            self._mine.processors = processors
            with suppress(OSError):
                os.sched_setaffinity(0, processors)


class _Thread(threading.local):
    """The state of the calling thread."""

    processors: frozenset[int] | None = None
    """Where it may run; None before the first call."""
    chooses = False


def _here() -> frozenset[int]:
    """Return the CPU that the calling thread runs on; an empty set where the kernel does not say."""
    try:
        return frozenset({int(STAT.read_text().rpartition(")")[2].split()[PROCESSOR_FIELD])})
    except (OSError, ValueError, IndexError):
        return frozenset()
