"""Append-only files whose lines are checked one by one, and the commit log, which is one of them.

Each line is a CRC32 and a JSON list. A torn, damaged or foreign line is skipped, and each intact one counts on its own:
whatever happens to such a file costs work, never correctness.
"""

from __future__ import annotations

import json
import logging
import threading
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from downloader.artifact import Paths, Words, folders_above
from downloader.errors import LeaseLost, NoSpace, VolumeError
from downloader.filesystem import InTheWay, NotThere, clear
from downloader.lease import WORK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from downloader.filesystem import FileOperations

COMMIT_LOG = f"{WORK}/ledger"

_CRC_DIGITS = 8
_PIECE = 1 << 18
_LONGEST = 1 << 16
"""Bytes of a line, far more than any of ours has; a longer one is replaced by this while it is read:"""
_NEVER_VALID = b"?"
_LARGEST_COMMIT_LOG = 64 << 20
"""Bytes of a commit log that is read: a quarter of a million files, hardly any of which are known by nothing else."""
_JSON = json.JSONEncoder(separators=(",", ":"))
_quoted = json.encoder.encode_basestring_ascii
_log = logging.getLogger(__name__)


def encode(*fields: str | int) -> bytes:
    """Return one line."""
    return _line(_JSON.encode(fields).encode())


def _line(body: bytes) -> bytes:
    return b"%08x %s\n" % (zlib.crc32(body), body)


def decode(data: bytes) -> Iterator[list[Any]]:
    """Yield the fields of each intact line."""
    bodies = [body for line in data.split(b"\n")[:-1] if (body := _body(line)) is not None]
    try:
        found = json.loads(b"[%s]" % b",".join(bodies))  # all at once, which takes a third of the time
    except (ValueError, RecursionError):
        found = ()
    if len(found) != len(bodies):  # one is no JSON, or more than one value: each counts on its own
        found = map(_value, bodies)
    return (fields for fields in found if isinstance(fields, list))


def read(files: FileOperations, handle: int) -> Iterator[list[Any]]:
    """Yield the fields of each intact line of an open file of any length, with one piece of it in memory at a time."""
    buffer, offset, rest = memoryview(bytearray(_PIECE)), 0, b""
    while count := _read_or_nothing(files, handle, offset, buffer):
        offset += count
        whole, newline, after = (rest + bytes(buffer[:count])).rpartition(b"\n")
        yield from decode(whole + newline)
        rest = after if len(after) <= _LONGEST else _NEVER_VALID


def _read_or_nothing(files: FileOperations, handle: int, offset: int, buffer: memoryview) -> int:
    try:
        return files.read(handle, offset, buffer)
    except NotThere:  # another node has removed it after it was opened
        return 0


def _body(line: bytes) -> bytes | None:
    """Return what a line has after its checksum; None if that is wrong."""
    body = line[_CRC_DIGITS + 1 :]
    return body if line[: _CRC_DIGITS + 1] == b"%08x " % zlib.crc32(body) else None


def _value(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


class RecordLog:
    """Appends lines to a file, which is created with `header` if it does not exist. Not thread-safe."""

    def __init__(self, files: FileOperations, path: str, header: bytes = b"") -> None:
        self._files = files
        try:
            self._handle = files.open(path, write=True)
        except (NotThere, InTheWay):
            clear(files, path)
            self._handle = files.create(path)
            self._end = 0
            self.append(header)
            files.sync_folder(path.rpartition("/")[0])
        else:
            self._end = files.handle_stat(self._handle).size
            self.append(b"\n" if self._end else header)  # ends a torn last line, if there is one

    def append(self, lines: bytes) -> None:
        """Write whole lines at the end."""
        self._files.write(self._handle, self._end, lines)
        self._end += len(lines)

    def sync(self) -> None:
        """Return when the lines survive a power loss."""
        self._files.sync(self._handle)

    def close(self) -> None:
        """Close the file."""
        self._files.close(self._handle)


class Entry(NamedTuple):
    """A file under its final name, as the commit log records it."""

    path: str
    size: int
    sha256: str
    identity: str
    """The content name of the `RemoteFile` that it is."""

    @property
    def line(self) -> bytes:
        """What `encode` returns of it, in a third of the time: there is one for each file."""
        path, sha256, identity = map(_quoted, (self.path, self.sha256, self.identity))
        return _line(f'["file",{path},{self.size},{sha256},{identity}]'.encode())


def read_commit_log(files: FileOperations, paths: Iterable[str]) -> dict[str, Entry]:
    """Return the newest entry of each of these paths and of the folders above them; nothing else is kept in memory."""
    try:
        handle = files.open(COMMIT_LOG)
    except (NotThere, InTheWay):
        return {}
    entries: dict[str, Entry] = {}
    wanted = set(paths)
    wanted |= folders_above(wanted)
    try:
        if files.handle_stat(handle).size > _LARGEST_COMMIT_LOG:
            return {}
        for line in read(files, handle):
            match line:
                case ["file", str(path), int(size), str(sha256), str(identity), *_] if path in wanted:
                    entries[path] = Entry(path, size, sha256, identity)
    finally:
        files.close(handle)
    return entries


class Proofs:
    """Path → what verified a file: in a table for the paths that are expected, since a million may come."""

    def __init__(self, expected: Paths, added: Proofs | None = None) -> None:
        """Begin with those that were `added` when others were expected."""
        self._expected = expected
        self._table = Words[str](expected)
        self._others: dict[str, str] = {}
        for path, proof in added.all() if added is not None else ():
            self.add(path, proof)

    def all(self) -> Iterator[tuple[str, str]]:
        """Yield each path and its proof."""
        yield from self._table.items()
        yield from self._others.items()

    def add(self, path: str, proof: str) -> None:
        """Add a file."""
        (self._table if path in self._expected else self._others)[path] = proof

    def of(self, path: str) -> str:
        """Return the proof of a file; empty if it was not added."""
        return self._table.get(path) or self._others.get(path, "")


class CommitLog:
    """Records the files that a run has committed, for the run that follows a killed one. Thread-safe.

    Anyone who can write to the volume can write the log, so it saves that run fetching but not hashing. It is needed
    for files without a published digest: the sha256 that they had when they arrived identifies their bytes. A line is
    written after the name is durable, and not synced itself: lost lines cost bytes that are fetched again.
    """

    def __init__(self, files: FileOperations) -> None:
        self._proofs = Proofs(Paths(()))
        self._files = files
        self._lock = threading.Lock()
        self._log: RecordLog | None = None
        self._broken = False

    def expect(self, paths: Paths) -> None:
        """Say which files will be added, apart from a few others: those of a manifest."""
        with self._lock:
            self._proofs = Proofs(paths, self._proofs)

    def proof_of(self, path: str) -> str:
        """Return the proof of a file that was added; empty if it was not."""
        return self._proofs.of(path)

    def add(self, entries: Sequence[tuple[Entry, str]]) -> None:
        """Record files whose names are durable, each with its proof. Raises NoSpace and LeaseLost."""
        lines = b"".join([entry.line for entry, _ in entries])
        with self._lock:
            for entry, proof in entries:
                self._proofs.add(entry.path, proof)
            if self._broken:
                return
            try:
                if self._log is None:
                    self._log = RecordLog(self._files, COMMIT_LOG)
                self._log.append(lines)
            except VolumeError as error:
                if isinstance(error, NoSpace | LeaseLost):
                    raise
                _log.debug("the commit log cannot be written: %s", error)  # a volume without random writes
                self._broken = True

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._log is not None:
                self._log.close()
                self._log = None
