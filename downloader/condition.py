"""`Condition`: a condition variable whose notification costs nothing while no thread waits."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Condition:
    """A `threading.Condition` that counts its waiting threads: mostly there are none, and five notifications per file.

    `lock` is held around every call.
    """

    def __init__(self, lock: threading.Lock) -> None:
        self._condition = threading.Condition(lock)
        self._waiting = 0

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for a notification, at most `timeout` seconds; return whether there was one."""
        return self._counted(lambda: self._condition.wait(timeout))

    def wait_for(self, predicate: Callable[[], bool], timeout: float) -> bool:
        """Wait until `predicate` is true, at most `timeout` seconds; return whether it is."""
        return self._counted(lambda: self._condition.wait_for(predicate, timeout))

    def _counted(self, wait: Callable[[], bool]) -> bool:
        self._waiting += 1
        try:
            return wait()
        finally:
            self._waiting -= 1

    def notify(self) -> None:
        """Wake one waiting thread."""
        if self._waiting:
            self._condition.notify()

    def notify_all(self) -> None:
        """Wake all waiting threads."""
        if self._waiting:
            self._condition.notify_all()
