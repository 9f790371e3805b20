"""The command as another release may have it: `python -m tests.another_release COMMAND…`.

It divides files into longer pieces, says of its logs that they are of another version, writes records to them that this
release does not know, and describes itself in other words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from downloader.__main__ import main
from downloader.shards import board, log, work

if TYPE_CHECKING:
    from downloader.filesystem import FileOperations

VERSION = log.VERSION + 1


class OtherLog(log.MemberLog):
    """A log of that release."""

    def __init__(self, files: FileOperations, path: str, token: str) -> None:
        super().__init__(files, path, token)
        self.append(("member", VERSION, token, {"host": "another"}), ("capacity", 3, [1, 2]))

    def append(self, *records: tuple[Any, ...], durable: bool = False) -> None:
        """Append them, and one more."""
        super().append(*records, ("progress", len(records)), durable=durable)


if __name__ == "__main__":
    work.SHORTEST *= 2
    vars(work)["VERSION"] = vars(log)["VERSION"] = VERSION
    vars(board)["MemberLog"] = OtherLog
    main()
