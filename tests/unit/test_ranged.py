"""The ranged transport: every path ends, each file in one way, and nothing is left counted, open or asleep."""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Algorithm, Digest, Manifest, RemoteFile, Span
from downloader.cancellation import Cancellation
from downloader.errors import (
    AccessDenied,
    Cancelled,
    DownloadError,
    IntegrityError,
    InternalError,
    ProtocolFailed,
    SourceUnavailable,
    Stalled,
    VolumeError,
)
from downloader.meter import Meter
from downloader.transports import ranged
from downloader.transports.ranged import Ranged, Shape
from downloader.transports.work import Work
from downloader.volume import Volume
from tests.servers.blobs import Noise
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from downloader.volume import Partial

PAGE = 4096
SHAPE = Shape(connections=4, buffer_size=64 << 10, buffers=6, request=lambda _: 256 << 10)
SOON = 10.0


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

    def manifest(self) -> Manifest:
        return Manifest("hf://org/model", tuple(self.files))

    def open(self, file: RemoteFile, span: Span) -> MemoryBody:
        self.refuse(file.path)
        with self.lock:
            self.open_bodies += 1
        return MemoryBody(self, file.path, span)

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
        self.delivered: list[str] = []
        self.failed: dict[str, DownloadError] = {}
        self.begin_fault: Callable[[str], None] = lambda _path: None
        self.deliver_fault: Callable[[str], None] = lambda _path: None

    def begin(self, file: RemoteFile) -> Partial:
        self.begin_fault(file.path)
        return self.volume.partial(file)

    def deliver(self, partial: Partial, results: Mapping[Algorithm, str]) -> None:
        self.deliver_fault(partial.file.path)
        if results[Algorithm.SHA256] != partial.file.digests[0].value:
            partial.discard()
            raise IntegrityError(f"{partial.file.path} is damaged")
        partial.commit(results[Algorithm.SHA256], "sha256")
        self.delivered.append(partial.file.path)

    def fail(self, file: RemoteFile, error: DownloadError) -> None:
        assert file.path not in self.failed
        self.failed[file.path] = error


class Run:
    def __init__(self, volume: Volume, files: Mapping[str, bytes], shape: Shape = SHAPE) -> None:
        self.source = Memory(files)
        self.landing = Land(volume)
        self.cancellation = Cancellation()
        self.meter = Meter()
        self.transport = Ranged(self.source, self.meter, self.cancellation, shape)

    def fetch(self) -> None:
        try:
            self.transport.fetch(self.source.files, self.landing)
        finally:
            assert eventually(lambda: self.source.open_bodies == 0)
            assert not self.meter.suspicious

    @property
    def buffers_are_back(self) -> bool:
        """Every buffer that was ever made is free again."""
        buffers = self.transport._buffers  # noqa: SLF001 - a leak shows nowhere else
        return len(buffers._free) + buffers._unmade == SHAPE.buffers  # noqa: SLF001


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    with Volume(tmp_path / "target") as volume, volume.lease("hf://org/model"):
        yield volume


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


CONTENT = Noise(3_000_000, seed=41).bytes()
FILES = {"large.bin": CONTENT, "empty": b"", "small": b"x" * 10, "sub/other.bin": CONTENT[::-1][:700_001]}


def landed(volume: Volume, files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {path: (volume.target / path).read_bytes() for path in files if (volume.target / path).exists()}


@pytest.mark.parametrize("most", [1 << 30, 5000, 777])
@pytest.mark.parametrize("buffers", [4, 6, 20])
def test_every_file_comes_home_whole(volume: Volume, most: int, buffers: int) -> None:
    shape = Shape(connections=4, buffer_size=64 << 10, buffers=buffers, request=lambda _: 256 << 10)
    run = Run(volume, FILES, shape)
    run.source.most = most
    run.fetch()
    assert landed(volume, FILES) == FILES
    assert sorted(run.landing.delivered) == sorted(FILES)
    assert run.source.served == sum(map(len, FILES.values()))


def test_one_stream_for_each_file_does_too(volume: Volume) -> None:
    run = Run(volume, FILES, Shape(connections=3, buffer_size=64 << 10, buffers=4, request=lambda _: None))
    run.fetch()
    assert landed(volume, FILES) == FILES


def test_a_late_first_span_costs_no_memory_and_no_bytes(volume: Volume) -> None:
    run = Run(volume, {"large.bin": CONTENT})

    def late(_path: str, position: int) -> None:
        if position < 64 << 10:
            assert eventually(lambda: run.source.served > 2_000_000)

    run.source.fault = late
    run.fetch()
    assert landed(volume, {"large.bin": b""}) == {"large.bin": CONTENT}
    assert run.source.served == len(CONTENT)
    assert run.buffers_are_back


@pytest.mark.parametrize("where", ["open", "first byte", "middle", "page"])
def test_a_file_that_fails_is_left_and_the_others_come_home(volume: Volume, where: str) -> None:
    run = Run(volume, FILES)
    error = ProtocolFailed("ranges do not work here")

    def fault(path: str, position: int) -> None:
        if path == "large.bin" and position >= {"first byte": 0, "middle": 600_000, "page": PAGE}.get(where, 1 << 40):
            raise error

    def refuse(path: str) -> None:
        if path == "large.bin" and where == "open":
            raise error

    run.source.fault, run.source.refuse, run.source.most = fault, refuse, PAGE
    with within(SOON):
        run.fetch()
    assert run.landing.failed == {"large.bin": error}
    assert sorted(run.landing.delivered) == sorted(FILES.keys() - {"large.bin"})
    assert run.buffers_are_back


def test_what_came_of_a_failed_file_is_not_fetched_again(volume: Volume) -> None:
    content = Noise(9 << 20, seed=43).bytes()
    run = Run(volume, {"large.bin": content})

    def fault(_path: str, position: int) -> None:
        if position >= 6 << 20:
            raise SourceUnavailable("gone")

    run.source.fault = fault
    run.fetch()
    again = Run(volume, {"large.bin": content})
    again.fetch()
    assert again.landing.delivered == ["large.bin"]
    assert landed(volume, {"large.bin": b""}) == {"large.bin": content}
    assert 3 << 20 <= again.source.served <= 4 << 20


@pytest.mark.parametrize(
    ("raised", "seen"),
    [(AccessDenied("no"), AccessDenied), (ValueError("a bug"), InternalError), (VolumeError("read-only"), VolumeError)],
)
@pytest.mark.parametrize("where", ["open", "read", "begin", "deliver"])
def test_what_stops_the_run_stops_everybody(
    volume: Volume, raised: Exception, seen: type[DownloadError], where: str
) -> None:
    run = Run(volume, {f"{number:02}.bin": CONTENT[:300_000] for number in range(12)})

    def fault(path: str, *_: object) -> None:
        if path == "05.bin":
            raise raised

    if where == "open":
        run.source.refuse = fault
    elif where == "read":
        run.source.fault = fault
    elif where == "begin":
        run.landing.begin_fault = fault
    else:
        run.landing.deliver_fault = fault
    with within(SOON), pytest.raises(seen):
        run.fetch()
    assert run.landing.failed == {}
    assert "05.bin" not in run.landing.delivered


def test_one_wrong_byte_costs_one_more_try_and_two_cost_the_file(volume: Volume) -> None:
    for times, failed in ((1, []), (2, ["large.bin"])):
        run = Run(volume, FILES)
        right, seen = dict(run.source.contents), list[int]()

        def flip(
            path: str, position: int, run: Run = run, seen: list[int] = seen, right: dict[str, bytes] = right,
            times: int = times,
        ) -> None:  # fmt: skip
            if path == "large.bin" and position == 0:
                seen.append(position)
                wrong = bytes([right[path][0] ^ 1]) + right[path][1:]
                run.source.contents[path] = wrong if len(seen) <= times else right[path]

        run.source.fault = flip
        run.fetch()
        assert list(run.landing.failed) == failed
        assert len(seen) == 2
        assert run.buffers_are_back


def test_a_cancellation_wakes_readers_and_leaves_within_the_grace(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, blocked = Run(volume, FILES), threading.Event()

    def block(_path: str, _position: int) -> None:
        blocked.set()
        run.source.interrupted.wait(SOON)
        raise SourceUnavailable("the connection ended")

    run.source.fault = block
    monkeypatch.setattr(ranged, "GRACE", SOON)
    ender = threading.Thread(target=lambda: (blocked.wait(SOON), run.cancellation.cancel(Stalled("no byte"))))
    ender.start()
    with within(SOON / 2), pytest.raises(Stalled, match="no byte"):
        run.fetch()
    ender.join()
    assert run.landing.failed == {}


def test_who_cannot_be_woken_is_left_behind_in_one_grace_for_all(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranged, "GRACE", 0.5)
    run, deaf, inside = Run(volume, FILES), threading.Event(), threading.Semaphore(0)

    def hang(_path: str, _position: int) -> None:
        inside.release()
        deaf.wait(SOON)
        raise SourceUnavailable("too late")

    run.source.fault = hang
    canceller = threading.Thread(target=lambda: (inside.acquire(timeout=SOON), run.cancellation.cancel(Cancelled())))
    canceller.start()
    with within(1.7), pytest.raises(Cancelled):
        run.transport.fetch(run.source.files, run.landing)
    deaf.set()
    canceller.join()
    assert eventually(lambda: run.source.open_bodies == 0)


def test_no_delivery_goes_on_when_the_attempt_is_over(volume: Volume) -> None:
    """The next attempt opens the same partials: a rename after that would name what is only half there."""
    files = {f"{number:03}": b"x" * number for number in range(1, 200)}
    run, slow = Run(volume, files), threading.Event()

    def deliver(_path: str) -> None:
        if not slow.is_set():
            slow.set()
            run.cancellation.cancel(Stalled("no byte"))
        time.sleep(0.05)

    run.landing.deliver_fault = deliver
    with pytest.raises(Stalled):
        run.fetch()
    count = len(run.landing.delivered)
    assert count < len(files)
    time.sleep(0.2)
    assert len(run.landing.delivered) == count


def test_a_file_that_is_all_there_is_hashed_and_delivered_without_a_byte(volume: Volume) -> None:
    content = Noise(9 << 20, seed=42).bytes()
    file = file_of("large.bin", content)
    partial = volume.partial(file)
    partial.write(0, memoryview(bytearray(content)))
    partial.complete(Span(0, len(content)))
    partial.close()
    run = Run(volume, {"large.bin": content})
    run.fetch()
    assert run.landing.delivered == ["large.bin"]
    assert run.source.served == 0


class Shrunk:
    """A partial whose file somebody cut meanwhile."""

    def __init__(self, file: RemoteFile, *, lost: bool) -> None:
        self.file = file
        self.lost = lost
        self.reads = 0

    def missing(self) -> list[Span]:
        return []

    def readinto(self, _offset: int, view: memoryview) -> int:
        self.reads += 1
        return 0 if self.lost else min(len(view), 10)


def test_bytes_that_the_volume_lost_end_the_hashing() -> None:
    work = Work(RemoteFile("a", 1000), Shrunk(RemoteFile("a", 1000), lost=True), lambda: None)  # type: ignore[arg-type]
    with pytest.raises(VolumeError, match="lost"):
        work.hash_ready(lambda _: None)


def test_the_end_of_the_run_ends_the_hashing_of_what_is_there() -> None:
    cancellation = Cancellation()
    cancellation.cancel(Cancelled())
    partial = Shrunk(RemoteFile("a", 1 << 40), lost=False)
    work = Work(partial.file, partial, cancellation.check)  # type: ignore[arg-type]
    with pytest.raises(Cancelled):
        work.hash_ready(lambda _: None)
    assert partial.reads == 0


def test_a_whole_file_is_claimed_by_one_thread_only() -> None:
    work = Work(RemoteFile("a", 0), Shrunk(RemoteFile("a", 0), lost=False), lambda: None)  # type: ignore[arg-type]
    assert [work.claim() for _ in range(3)] == [True, False, False]
