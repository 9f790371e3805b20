"""The command on a file system that cannot exchange two names, as NFS: `python -m tests.adapters.two_renames ...`."""

from __future__ import annotations

from downloader.__main__ import main
from downloader.filesystem import Disk


def cannot_exchange(disk: Disk, one: str, other: str) -> bool:
    del disk, one, other
    return False


if __name__ == "__main__":
    Disk.exchange = cannot_exchange  # type: ignore[method-assign, assignment]
    main()
