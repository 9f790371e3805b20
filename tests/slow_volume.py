"""The command over a volume that answers late: `python -m tests.slow_volume SECONDS CALLS COMMAND…`.

The first CALLS looks at the target take SECONDS each. That happens inside the disk's own operations, where a storage
system that does not answer keeps them, too.
"""

from __future__ import annotations

import functools
import sys
import threading
import time

from downloader.__main__ import main
from downloader.filesystem.local import Disk
from downloader.runs import wiring

LOOKS = ("looking at ", "listing ", "measuring ")
"""How operations begin that only look."""


class LateAnswers:
    """The fault of a disk whose first `calls` looks take so many seconds each."""

    def __init__(self, seconds: float, calls: int) -> None:
        self._seconds = seconds
        self._left = calls
        self._lock = threading.Lock()

    def __call__(self, doing: str) -> None:
        if not doing.startswith(LOOKS):
            return
        with self._lock:
            self._left -= 1
            wait = self._left >= 0
        if wait:
            time.sleep(self._seconds)


if __name__ == "__main__":
    fault = LateAnswers(float(sys.argv[1]), int(sys.argv[2]))
    vars(wiring)["Disk"] = functools.partial(Disk, fault=fault)
    del sys.argv[1:3]
    main()
