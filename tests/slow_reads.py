"""The command over a volume that takes its time to read: `python -m tests.slow_reads SECONDS COMMAND…`."""

from __future__ import annotations

import functools
import sys
import time

from downloader.__main__ import main
from downloader.filesystem.local import Disk
from downloader.runs import wiring


def wait(seconds: float, doing: str) -> None:
    if doing.startswith("reading "):
        time.sleep(seconds)


if __name__ == "__main__":
    fault = functools.partial(wait, float(sys.argv[1]))
    vars(wiring)["Disk"] = functools.partial(Disk, fault=fault)
    del sys.argv[1]
    main()
