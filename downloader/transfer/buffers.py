"""The bounded memory of a download: page-aligned buffers of one size, handed out and taken back."""

from __future__ import annotations

import mmap
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 0.05
"""Seconds to wait for a buffer before somebody's bytes are left to be read back: often they come right away."""


class Buffers:
    """At most `count` buffers of `size` bytes; page-aligned, so that they can be written with O_DIRECT."""

    def __init__(self, count: int, size: int) -> None:
        self.size = size
        self._free: list[memoryview] = []
        self._unmade = count
        self._lock = threading.Lock()
        self._returned = threading.Condition(self._lock)

    def acquire(self, reclaim: Callable[[], memoryview | None], check: Callable[[], None]) -> memoryview:
        """Return a free buffer, else what `reclaim` can spare, else wait for one. `check` raises to end the wait."""
        while True:
            with self._lock:
                if self._free:
                    return self._free.pop()
                if self._unmade:
                    self._unmade -= 1
                    return _new(self.size)
            check()
            with self._lock:
                if not self._free and self._returned.wait(PATIENCE):
                    continue
            spared = reclaim()
            if spared is not None:
                return spared

    def release(self, buffer: memoryview) -> None:
        """Take a buffer back."""
        with self._lock:
            self._free.append(buffer)
            self._returned.notify()


def _new(size: int) -> memoryview:
    """Return a buffer on huge pages, if the kernel has any: who receives, hashes and writes looks up far fewer."""
    area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError, AttributeError):
        area.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(area)
