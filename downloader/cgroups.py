"""CPU and memory limits of this process: the smallest of its cgroups (version 1 or 2), or the machine's.

psutil does not read cgroups, and `os.process_cpu_count` knows the affinity only.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

V1, V2 = 1, 2
UNLIMITED = 1 << 60
"""Version 1 writes a number close to 2**63 for "no limit"."""


def memory_limit(root: Path = Path("/")) -> int:
    """Return the limit in bytes. /proc and /sys are looked up below `root`."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for version, folder in _folders(root, "memory"):
        name = "memory.max" if version == V2 else "memory.limit_in_bytes"
        limits += [limit for text in _lines(folder / name)[:1] if (limit := _number(text)) < UNLIMITED]
    return min(limits)


def processors(root: Path = Path("/")) -> int:
    """Return the number of CPUs whose time the process may use, rounded up, at least 1."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for version, folder in _folders(root, "cpu"):
        if version == V2:
            quota, _, period = "".join(_lines(folder / "cpu.max")[:1]).partition(" ")
        else:
            quota, period = ("".join(_lines(folder / f"cpu.cfs_{what}_us")[:1]) for what in ("quota", "period"))
        if _number(quota) < UNLIMITED and 0 < _number(period) < UNLIMITED:
            available = min(available, -(-_number(quota) // _number(period)))
    return max(1, available)


def _folders(root: Path, controller: str) -> Iterator[tuple[int, Path]]:
    """Yield version and folder of each cgroup of a controller, from the top down.

    The top comes first since in a container it often is the container's own cgroup.
    """
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            version, folder = V2, root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            version, folder = V1, root / "sys/fs/cgroup" / controller
        else:
            continue
        yield version, folder
        for part in Path(path).parts[1:]:
            folder /= part
            yield version, folder


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and text.isascii() else UNLIMITED


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
