"""Progress of a run: workers count, listeners read.

`ProgressMeter` holds the counters that worker threads add to. `Ticker` takes a `Snapshot` of them twice a second, in a
thread of its own, and passes it to its listeners: the reporters and the `StallWatchdog`. No listener reads a counter or
holds a lock while it works, so a slow reporter delays no worker.
"""

from downloader.progress.hashing import HashingProgress
from downloader.progress.meter import ProgressMeter, Wait
from downloader.progress.snapshot import Attempt, FileProgress, Phase, Snapshot
from downloader.progress.ticker import Ticker
from downloader.progress.watchdog import FLOOR_RATE, StallWatchdog

__all__ = [
    "FLOOR_RATE",
    "Attempt",
    "FileProgress",
    "HashingProgress",
    "Phase",
    "ProgressMeter",
    "Snapshot",
    "StallWatchdog",
    "Ticker",
    "Wait",
]
