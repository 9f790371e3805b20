"""A memory limit as a container has it: a cgroup of version 1 or 2, whatever the machine has. Root only."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Self

_ROOT = Path("/sys/fs/cgroup")


class CgroupError(RuntimeError):
    """The machine does not let us make a cgroup; the message says why."""


class MemoryCgroup:
    """Limits and counts the memory of everything that `prefix` runs, page cache included."""

    def __init__(self, limit: int) -> None:
        """`limit` is in bytes. Raises CgroupError."""
        first = _ROOT / "memory"
        self.version = 1 if first.is_dir() else 2
        self._folder = (first if self.version == 1 else _ROOT) / f"bench-{os.getpid()}"
        self._peak = "memory.max_usage_in_bytes" if self.version == 1 else "memory.peak"
        try:
            if self.version == 2 and "memory" not in (_ROOT / "cgroup.subtree_control").read_text().split():
                (_ROOT / "cgroup.subtree_control").write_text("+memory")
            self._folder.mkdir()
            (self._folder / ("memory.limit_in_bytes" if self.version == 1 else "memory.max")).write_text(str(limit))
        except OSError as error:
            self.close()
            raise CgroupError(str(error)) from error
        self.prefix = ("sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(self._folder))

    @property
    def peak(self) -> int:
        """The most bytes that were in use at once so far."""
        return int((self._folder / self._peak).read_text())

    @property
    def limit_hits(self) -> int:
        """How often the kernel had to make room because the limit was reached."""
        if self.version == 1:
            return int((self._folder / "memory.failcnt").read_text())
        events = dict(line.split() for line in (self._folder / "memory.events").read_text().splitlines())
        return int(events["max"])

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
