"""The ledger: files that a run has given their final names to, for the run that follows a killed one.

Whoever can write to the volume can write it, so it spares that run fetching and never hashing. What it is needed for
are files of which the source publishes no digest: their bytes are known again by the sha256 that they had when they
came. It is written after a name is durable, and not synced itself: losing lines costs bytes that are fetched again.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, NamedTuple

from downloader.errors import LeaseLost, NoSpace, VolumeError
from downloader.filesystem import InTheWay, NotThere
from downloader.lease import WORK
from downloader.volume.record_log import RecordLog, encode, read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from downloader.filesystem import FileOperations

COMMIT_LOG = f"{WORK}/ledger"
_log = logging.getLogger(__name__)
_LARGEST = 64 << 20
"""Bytes of a ledger that is read: a quarter of a million files, of which hardly any are known by nothing else."""


class Entry(NamedTuple):
    """A file under its final name."""

    path: str
    size: int
    sha256: str
    identity: str
    """The content name of the `RemoteFile` that it is."""


def read_commit_log(files: FileOperations, paths: Iterable[str]) -> dict[str, Entry]:
    """Return the newest entry of each of these paths and of the folders above them, however many others there are."""
    try:
        handle = files.open(COMMIT_LOG)
    except (NotThere, InTheWay):
        return {}
    entries: dict[str, Entry] = {}
    wanted = _with_folders(paths)
    try:
        if files.handle_stat(handle).size > _LARGEST:
            return {}
        for line in read(files, handle):
            match line:
                case ["file", str(path), int(size), str(sha256), str(identity), *_] if path in wanted:
                    entries[path] = Entry(path, size, sha256, identity)
    finally:
        files.close(handle)
    return entries


def _with_folders(paths: Iterable[str]) -> set[str]:
    found = set(paths)
    folders = found
    while folders := {folder for path in folders if (folder := path.rpartition("/")[0])} - found:
        found |= folders
    return found


class CommitLog:
    """Writes the ledger, for many threads."""

    def __init__(self, files: FileOperations) -> None:
        self.proofs: dict[str, str] = {}
        """Path → proof of what was added."""
        self._files = files
        self._lock = threading.Lock()
        self._appender: RecordLog | None = None
        self._broken = False

    def add(self, entries: Iterable[tuple[Entry, str]]) -> None:
        """Record files whose names are durable, each with its proof."""
        entries = list(entries)
        lines = b"".join(encode("file", *entry) for entry, _ in entries)
        with self._lock:
            self.proofs.update((entry.path, proof) for entry, proof in entries)
            if self._broken:
                return
            try:
                if self._appender is None:
                    self._appender = RecordLog(self._files, COMMIT_LOG)
                self._appender.append(lines)
            except VolumeError as error:
                if isinstance(error, NoSpace | LeaseLost):
                    raise
                _log.debug("the ledger cannot be added to: %s", error)  # a volume without random writes
                self._broken = True

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._appender is not None:
                self._appender.close()
                self._appender = None
