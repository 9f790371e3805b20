"""How much memory this process may use: the smallest limit of its cgroups, version 1 or 2, or the machine's memory."""

from __future__ import annotations

import os
from pathlib import Path

UNLIMITED = 1 << 60
"""Version 1 writes a number close to 2**63 for "no limit"."""


def memory_limit(root: Path = Path("/")) -> int:
    """Return bytes. `root` is where /proc and /sys are looked for."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            limits += _limits(root / "sys/fs/cgroup", path, "memory.max")
        elif "memory" in controllers.split(","):
            limits += _limits(root / "sys/fs/cgroup/memory", path, "memory.limit_in_bytes")
    return min(limits)


def _limits(base: Path, path: str, name: str) -> list[int]:
    """Return the limits of a cgroup and all above it; in a container its own is often mounted at the top."""
    folders = [base]
    for part in Path(path).parts[1:]:
        folders.append(folders[-1] / part)
    texts = [text for folder in folders for text in _lines(folder / name)[:1]]
    return [limit for text in texts if text.isdecimal() and (limit := int(text)) < UNLIMITED]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
