"""The command, stopped in front of one call to the volume: `python -m tests.frozen_volume PATTERN COMMAND…`.

Before the first operation in whose description the pattern is found, such as `renaming to .*/refs/main`, the process
gets a SIGSTOP. A test kills it there, or wakes it later.
"""

from __future__ import annotations

import re
import signal
import sys
import threading
from typing import TYPE_CHECKING

from downloader.__main__ import main
from downloader.filesystem.local import Disk

if TYPE_CHECKING:
    from typing import Any


class Freeze:
    """The fault that stops this process once."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)
        self._is_due = True

    def __call__(self, doing: str) -> None:
        if self._is_due and self._pattern.search(doing):
            self._is_due = False
            # Sent to the process it would stop another thread first, and this one a moment later.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def install(freeze: Freeze) -> None:
    """Let every disk of this process have the fault."""
    begin = Disk.__init__

    def begin_with_fault(disk: Disk, *arguments: Any, **more: Any) -> None:
        begin(disk, *arguments, **more)
        vars(disk)["_operation"].fault = freeze

    Disk.__init__ = begin_with_fault  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    install(Freeze(sys.argv[1]))
    del sys.argv[1]
    main()
