"""The ledger: files that a run has given their final names to, so that the next run need not hash them again.

A line is believed only while the file is the very same one: same size, time of change and inode. It is written after
the name is durable, and not synced itself: losing lines costs hashing, nothing else.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from downloader.volume.files import InTheWay, Kind, NotThere
from downloader.volume.lease import WORK
from downloader.volume.lines import Appender, encode, read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from downloader.volume.files import FileOperations, Stat

LEDGER = f"{WORK}/ledger"
_LARGEST = 1 << 30


class Entry(NamedTuple):
    """A file under its final name."""

    path: str
    size: int
    sha256: str
    identity: str
    """The content name of the `RemoteFile` that it is."""
    mtime_ns: int
    inode: int
    proof: str = ""
    """What its source had published that its bytes agreed with; empty if nobody said."""

    def fits(self, found: Stat) -> bool:
        """Tell whether what is there is still that file."""
        facts = (Kind.FILE, self.size, self.mtime_ns, self.inode)
        return facts == (found.kind, found.size, found.mtime_ns, found.inode)


def read_ledger(files: FileOperations) -> dict[str, Entry]:
    """Return the newest entry of each path."""
    try:
        handle = files.open(LEDGER)
    except (NotThere, InTheWay):
        return {}
    entries: dict[str, Entry] = {}
    try:
        if files.handle_stat(handle).size > _LARGEST:
            return {}
        for line in read(files, handle):
            match line:
                case ["file", str(path), int(size), str(sha256), str(identity), int(mtime_ns), int(inode), str(proof)]:
                    entries[path] = Entry(path, size, sha256, identity, mtime_ns, inode, proof)
    finally:
        files.close(handle)
    return entries


class Ledger:
    """Writes the ledger, for many threads."""

    def __init__(self, files: FileOperations) -> None:
        self.proofs: dict[str, str] = {}
        """Path → proof of what was added."""
        self._files = files
        self._lock = threading.Lock()
        self._appender: Appender | None = None

    def add(self, entries: Iterable[Entry]) -> None:
        """Record files whose names are durable."""
        entries = list(entries)
        lines = b"".join(encode("file", *entry) for entry in entries)
        with self._lock:
            self.proofs.update((entry.path, entry.proof) for entry in entries)
            if self._appender is None:
                self._appender = Appender(self._files, LEDGER)
            self._appender.append(lines)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._appender is not None:
                self._appender.close()
                self._appender = None
