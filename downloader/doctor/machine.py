"""What the container may use of its machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from downloader.cgroups import memory_limit, processors
from downloader.doctor.finding import note, ok
from downloader.formatting import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.doctor.finding import Finding

LITTLE = 256 << 20
"""Bytes of memory. With less, hf_xet's process and ours do not both fit."""


def check_machine() -> Iterator[Finding]:
    """Yield the limits of memory and CPUs."""
    memory, whole = memory_limit(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    whose = f"the cgroup's limit, of {format_size(whole)}" if memory < whole else "all of this machine; no limit is set"
    text = f"{format_size(memory)} ({whose})"
    if memory < LITTLE:
        yield note("memory", text, f"set the memory limit to {format_size(LITTLE)} or more, or leave XET out")
    else:
        yield ok("memory", text)
    cpus, there = processors(), os.cpu_count() or 1
    yield ok("cpus", f"{cpus} of {there} ({'the limit that is set' if cpus < there else 'no limit is set'})")
