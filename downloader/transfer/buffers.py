"""The bounded memory of a transfer: a pool of page-aligned buffers of one size."""

from __future__ import annotations

import mmap
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from downloader.condition import Condition
from downloader.deadlines import EVICTION_WAIT

if TYPE_CHECKING:
    from collections.abc import Callable


class Buffers:
    """At most `count` buffers of `size` bytes, page-aligned so that they can be written with O_DIRECT."""

    def __init__(self, count: int, size: int) -> None:
        self.size = size
        self._free: list[memoryview] = []
        self._unmade = count
        self._lock = threading.Lock()
        self._returned = Condition(self._lock)

    def acquire(self, evict: Callable[[], memoryview | None], check: Callable[[], None]) -> memoryview:
        """Return a free buffer, else one that `evict` returns, else wait. `check` raises to end the wait."""
        while True:
            with self._lock:
                if self._free:
                    return self._free.pop()
                if self._unmade:
                    self._unmade -= 1
                    return _new(self.size)
            check()
            with self._lock:
                if not self._free and self._returned.wait(EVICTION_WAIT):
                    continue
            evicted = evict()
            if evicted is not None:
                return evicted

    def release(self, buffer: memoryview) -> None:
        """Return a buffer to the pool."""
        with self._lock:
            self._free.append(buffer)
            self._returned.notify()


def _new(size: int) -> memoryview:
    """Return a new buffer, on huge pages if the kernel has any: they need far fewer address translations (ADR 39)."""
    area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError, AttributeError):
        area.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(area)
