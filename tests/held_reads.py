"""The command over a source folder whose first read waits: `python -m tests.held_reads GATE COMMAND…`.

It goes on once the file GATE exists, so that a test can change the folder while a run reads it.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

from downloader.__main__ import main
from downloader.filesystem.local import Disk
from downloader.sources import file
from tests.waiting import eventually


def wait(gate: Path, doing: str) -> None:
    if doing.startswith("reading "):
        eventually(gate.exists)


if __name__ == "__main__":
    vars(file)["Disk"] = functools.partial(Disk, fault=functools.partial(wait, Path(sys.argv[1])))
    del sys.argv[1]
    main()
