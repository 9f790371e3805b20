"""Operations under way: each is seen while it lasts, so that a volume which does not answer can be named."""

from __future__ import annotations

import errno
import threading
import time
from typing import TYPE_CHECKING, Self

from downloader.volume.trouble import translate

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class Operations:
    """Those of one folder, at most one per thread.

    `fault` is called with what is about to be done, inside the operation; it may sleep or raise OSError.
    `lacks_inodes` tells which of its two kinds of room a full volume is out of.
    """

    def __init__(self, name: str, fault: Callable[[str], None] | None, lacks_inodes: Callable[[], bool]) -> None:
        self.name = name
        self.fault = fault
        self.lacks_inodes = lacks_inodes
        self.running: dict[int, Operation] = {}

    def __call__(self, verb: str, path: str = "") -> Operation:
        """Return the operation as a context whose OSError comes out as one of our errors."""
        return Operation(self, verb, path)

    def oldest(self) -> tuple[str, float] | None:
        """Return what has lasted longest and its seconds."""
        running = list(self.running.values())
        if not running:
            return None
        oldest = min(running, key=lambda operation: operation.since)
        return oldest.doing, time.monotonic() - oldest.since


class Operation:
    """One call into the kernel."""

    __slots__ = ("_operations", "_path", "_thread", "_verb", "since")

    def __init__(self, operations: Operations, verb: str, path: str) -> None:
        self._operations = operations
        self._verb = verb
        self._path = path
        self._thread = threading.get_ident()
        self.since = 0.0
        """When it began."""

    @property
    def doing(self) -> str:
        """What it does, for people."""
        where = f"{self._verb} {self._operations.name}"
        return f"{where}/{self._path}" if self._path else where

    def __enter__(self) -> Self:
        self.since = time.monotonic()
        self._operations.running[self._thread] = self
        if self._operations.fault is not None:
            try:
                self._operations.fault(self.doing)
            except BaseException as error:
                self.__exit__(type(error), error, None)
                raise
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        self._operations.running.pop(self._thread, None)
        if error is not None and isinstance(error, OSError):
            no_inodes = error.errno == errno.ENOSPC and self._operations.lacks_inodes()
            raise translate(error, self.doing, no_inodes=no_inodes) from error
