"""Waiting for what another thread or process is about to do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

AT_LAST = 60.0
"""Seconds in which whatever takes a moment has happened on the busiest machine: it hangs otherwise."""


def eventually(condition: Callable[[], bool], timeout: float = AT_LAST) -> bool:
    """Return whether the condition comes true within the time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
