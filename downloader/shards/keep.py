"""Keeps what several processes have fetched together where a process that works alone looks for it: in journals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.artifact import Span
from downloader.shards.log import LOG, FollowedLog
from downloader.shards.partial import parts_folder
from downloader.volume import ByteRanges, Journal

if TYPE_CHECKING:
    from downloader.filesystem import FileOperations


def keep_progress(files: FileOperations, board: str) -> None:
    """Add to the journals what the logs of a board say of partials. Needs the lease, and no change of the board."""
    done: dict[str, ByteRanges] = {}
    for name in files.scan(f"{board}/members"):
        if not name.endswith(LOG):
            continue
        for record in FollowedLog(f"{board}/members/{name}").read(files, 0.0):
            match record:
                case ["done", str(identity), 0, int(start), int(stop)] if 0 <= start < stop:
                    done.setdefault(identity, ByteRanges()).add(Span(start, stop))
    folder = parts_folder(files)
    for identity, ranges in done.items():
        found = files.stat(f"{folder}/{identity}.part")  # gone where its bytes were useless, or it has its name
        if found is not None:
            journal = Journal(files, f"{folder}/{identity}.journal", identity, found.size)
            journal.append(ranges)
            journal.close()
