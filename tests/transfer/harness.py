"""A source in memory and a landing on a real volume: what a ranged transport stands between."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm, Digest, Manifest, RemoteFile, Span
from downloader.cancellation import Cancellation
from downloader.errors import DownloadError, IntegrityError
from downloader.progress import ProgressMeter
from downloader.sources.concurrency import ConcurrencyController
from downloader.transfer.config import TransferConfig
from downloader.transfer.ranged import Ranged
from downloader.volume import VerifiedFile
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from downloader.transfer import CompletedFile
    from downloader.volume import Partial, Volume

CONFIG = TransferConfig(
    initial_connections=4, max_connections=4, buffer_size=64 << 10, buffers=6, request_size=lambda _: 256 << 10
)


def file_of(path: str, content: bytes) -> RemoteFile:
    return RemoteFile(path, len(content), (Digest(Algorithm.SHA256, hashlib.sha256(content).hexdigest()),))


class Memory:
    """A source in memory. `fault(path, position)` runs before bytes are handed out, and may raise or wait."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.contents = dict(files)
        self.files = [file_of(path, content) for path, content in sorted(files.items())]
        self.fault: Callable[[str, int], None] = lambda _path, _position: None
        self.refuse: Callable[[str], None] = lambda _path: None
        self.lock = threading.Lock()
        self.open_bodies = 0
        self.served = 0
        self.most = 1 << 30
        self.interrupted = threading.Event()
        self.prefetched: list[list[tuple[str, Span]]] = []
        self.opened: list[tuple[str, Span]] = []

    def version(self) -> None:
        return None

    def manifest(self) -> Manifest:
        return Manifest("hf://org/model", tuple(self.files))

    def open(self, file: RemoteFile, span: Span) -> MemoryBody:
        self.refuse(file.path)
        with self.lock:
            self.open_bodies += 1
            self.opened.append((file.path, span))
        return MemoryBody(self, file.path, span)

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        with self.lock:
            self.prefetched.append([(file.path, span) for file, span in pieces])

    def close(self) -> None:
        pass


class MemoryBody:
    def __init__(self, source: Memory, path: str, span: Span) -> None:
        self._source, self._path = source, path
        self._position, self._stop = span.start, span.stop

    def readinto(self, view: memoryview, /) -> int:
        if self._position < self._stop:
            self._source.fault(self._path, self._position)
        count = min(len(view), self._stop - self._position, self._source.most)
        view[:count] = self._source.contents[self._path][self._position : self._position + count]
        self._position += count
        with self._source.lock:
            self._source.served += count
        return count

    def interrupt(self) -> None:
        self._source.interrupted.set()

    def close(self) -> None:
        with self._source.lock:
            self._source.open_bodies -= 1


class Land:
    """A landing on a real volume."""

    def __init__(self, volume: Volume) -> None:
        self.volume = volume
        self.committed: list[str] = []
        self.failed: dict[str, DownloadError] = {}
        self.begin_fault: Callable[[str], None] = lambda _path: None
        self.commit_fault: Callable[[str], None] = lambda _path: None

    def inspect(self, file: RemoteFile, head: bytes, hashed: int) -> int:
        del file, head, hashed
        return 0

    def begin(self, file: RemoteFile) -> Partial:
        self.begin_fault(file.path)
        return self.volume.partial(file)

    def commit(self, completed_files: Sequence[CompletedFile]) -> Mapping[str, IntegrityError]:
        refused = {}
        for partial, results, _head in completed_files:
            self.commit_fault(partial.file.path)
            if results[Algorithm.SHA256] != partial.file.digests[0].value:
                partial.discard()
                refused[partial.file.path] = IntegrityError(f"{partial.file.path} is damaged")
                continue
            self.volume.commit([VerifiedFile(partial, results[Algorithm.SHA256], "sha256")])
            self.committed.append(partial.file.path)
        return refused

    def fail(self, file: RemoteFile, error: DownloadError) -> None:
        assert file.path not in self.failed
        self.failed[file.path] = error


class Run:
    def __init__(self, volume: Volume, files: Mapping[str, bytes], config: TransferConfig = CONFIG) -> None:
        self.source = Memory(files)
        self.sink = Land(volume)
        self.cancellation = Cancellation()
        self.meter = ProgressMeter()
        concurrency = ConcurrencyController(self.cancellation, self.meter.clock)
        self.transport = Ranged(self.source, self.meter, self.cancellation, config, concurrency)

    def fetch(self) -> None:
        try:
            self.transport.fetch(self.source.files, self.sink)
        finally:
            assert eventually(lambda: self.source.open_bodies == 0)
            assert not self.meter.stall_clock_running

    @property
    def buffers_are_back(self) -> bool:
        """Every buffer that was ever made is free again."""
        buffers = self.transport._buffers  # noqa: SLF001 - a leak shows nowhere else
        return len(buffers._free) + buffers._unmade == CONFIG.buffers  # noqa: SLF001
