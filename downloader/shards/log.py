"""The log of a member: its heartbeats, its claims, and the bytes that it has put on the disk.

Each member appends to a log of its own and reads those of the others, so no two processes write to one file. A reader
opens a log each time: on network file systems only an open after the writer's close is certain to see what it wrote.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from downloader.errors import LeaseLost
from downloader.filesystem import InTheWay, NotThere
from downloader.lease import ProcessIdentity
from downloader.volume import decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.filesystem import FileOperations

VERSION = 1
LOG = ".log"
_PIECE = 1 << 18
_MOST = 256 << 20
"""Bytes of a log that are read: far more than any of ours has."""


class BoardGone(LeaseLost):
    """The leader has removed the board: the artifact is complete, or another kind of run has the volume now."""


class MemberLog:
    """Appends records to the log of this process. Thread-safe."""

    def __init__(self, files: FileOperations, path: str, token: str) -> None:
        self._files = files
        self._path = path
        self._lock = threading.Lock()
        self._waiting: list[tuple[str | int, ...]] = []
        self._end = 0
        handle = files.create(path)
        try:
            process = ProcessIdentity.current()
            self._write(handle, [("member", VERSION, token, *process.fields().values())])
        finally:
            files.close(handle)

    def queue(self, *records: tuple[str | int, ...]) -> None:
        """Keep records for the next `append`, which costs as much for many as for one."""
        with self._lock:
            self._waiting += records

    def append(self, *records: tuple[str | int, ...], durable: bool = False) -> None:
        """Append records, those of the queue first; other processes see them when this returns.

        A power loss may take them unless they are `durable`: that costs bytes that are fetched again. Raises BoardGone
        if the log was removed.
        """
        with self._lock:
            waiting = [*self._waiting, *records]
            if not waiting:
                return
            try:
                handle = self._files.open(self._path, write=True)
                try:
                    self._write(handle, waiting)
                    if durable:
                        self._files.sync(handle)
                finally:
                    self._files.close(handle)
            except (NotThere, InTheWay) as error:  # which a write may say, too: the leader is on another node
                raise BoardGone(f"the shared work on {self._files.name} has ended") from error
            self._waiting = []

    def _write(self, handle: int, records: Any) -> None:  # noqa: ANN401 -- lists and tuples of records
        lines = b"".join(encode(*record) for record in records)
        self._files.write(handle, self._end, lines)
        self._end += len(lines)


@dataclass(slots=True, eq=False)
class FollowedLog:
    """The log of another member, as far as it has been read."""

    path: str
    process: ProcessIdentity | None = None
    quiet: float = 0.0
    """Seconds for which it was not seen to change, on the clock of the reader."""
    grown: bool = False
    """It was seen to change: its writer has lived while this process watched."""
    ended: bool = False
    """Its writer has said that it does no more."""
    _spoke: bool = False
    """It had something new when it was read last."""
    _offset: int = 0
    _rest: bytes = field(default=b"", repr=False)
    _begun: bool = False

    def read(self, files: FileOperations, passed: float) -> Iterator[list[Any]]:
        """Yield the records that are new; `passed` seconds have gone by since the last reading."""
        data = self._new_bytes(files)
        self._spoke = self._begun and bool(data)
        self.grown = self.grown or self._spoke
        self.quiet = 0.0 if data or not self._begun else self.quiet + passed
        self._begun = True
        whole, newline, self._rest = (self._rest + data).rpartition(b"\n")
        for record in decode(whole + newline):
            match record:
                case ["member", int(), str(), str(host), str(boot), int(namespace), int(pid), str(started)]:
                    self.process = ProcessIdentity(host, boot, namespace, pid, started)
                case ["end"]:
                    self.ended = True
                case _:
                    yield record

    def is_dead(self, ttl: float) -> bool:
        """Return whether its writer has ended, or was quiet for so long that it counts as dead."""
        if self.ended or self._spoke:  # to ask the kernel each time costs more than to read the log
            return self.ended
        return self.quiet >= ttl or (self.process is not None and self.process.is_gone())

    def _new_bytes(self, files: FileOperations) -> bytes:
        try:
            handle = files.open(self.path)
        except (NotThere, InTheWay):
            return b""
        found = bytearray()
        buffer = memoryview(bytearray(_PIECE))
        try:
            while self._offset < _MOST and (count := files.read(handle, self._offset, buffer)):
                found += buffer[:count]
                self._offset += count
        except NotThere:  # the leader has removed it on another node: the rest is gone with the shared work
            pass
        finally:
            files.close(handle)
        return bytes(found)
