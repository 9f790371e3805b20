"""The ranged transport: every path ends, each file in one way, and nothing is left counted, open or asleep."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import RemoteFile, Span
from downloader.cancellation import Cancellation
from downloader.errors import (
    AccessDenied,
    Cancelled,
    DownloadError,
    InternalError,
    ProtocolFailed,
    SourceUnavailable,
    Stalled,
    VolumeError,
)
from downloader.transfer import ranged
from downloader.transfer.config import TransferConfig
from downloader.transfer.file_transfer import FileTransfer
from downloader.volume import Volume
from tests.servers.blobs import Noise
from tests.transfer.harness import CONFIG, Run, file_of
from tests.waiting import AT_LAST, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


PAGE = 4096


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
    config = TransferConfig(
        initial_connections=4, buffer_size=64 << 10, buffers=buffers, request_size=lambda _: 256 << 10
    )
    run = Run(volume, FILES, config)
    run.source.most = most
    run.fetch()
    assert landed(volume, FILES) == FILES
    assert sorted(run.sink.committed) == sorted(FILES)
    assert run.source.served == sum(map(len, FILES.values()))


def test_one_stream_for_each_file_does_too(volume: Volume) -> None:
    run = Run(
        volume,
        FILES,
        TransferConfig(initial_connections=3, buffer_size=64 << 10, buffers=4, request_size=lambda _: None),
    )
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
    with within(AT_LAST):
        run.fetch()
    assert run.sink.failed == {"large.bin": error}
    assert sorted(run.sink.committed) == sorted(FILES.keys() - {"large.bin"})
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
    assert again.sink.committed == ["large.bin"]
    assert landed(volume, {"large.bin": b""}) == {"large.bin": content}
    assert 3 << 20 <= again.source.served <= 4 << 20


@pytest.mark.parametrize(
    ("raised", "seen"),
    [(AccessDenied("no"), AccessDenied), (ValueError("a bug"), InternalError), (VolumeError("read-only"), VolumeError)],
)
@pytest.mark.parametrize("where", ["open", "read", "begin", "commit"])
def test_what_stops_the_run_stops_every_worker(
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
        run.sink.begin_fault = fault
    else:
        run.sink.commit_fault = fault
    with within(AT_LAST), pytest.raises(seen):
        run.fetch()
    assert run.sink.failed == {}
    assert "05.bin" not in run.sink.committed


@pytest.mark.parametrize(("times", "failed"), [(1, []), (2, ["large.bin"])])
def test_wrong_bytes_once_cost_one_more_try_and_twice_the_file(volume: Volume, times: int, failed: list[str]) -> None:
    run = Run(volume, FILES)
    begun: list[str] = []

    def flip(path: str, position: int) -> None:
        if path == "large.bin" and position == 0:
            begun.append(path)
            run.source.contents[path] = b"wrong" + CONTENT[5:] if len(begun) <= times else CONTENT

    run.source.fault = flip
    run.fetch()
    assert list(run.sink.failed) == failed
    assert len(begun) == 2
    assert run.buffers_are_back


def test_a_cancellation_wakes_readers_and_leaves_within_the_grace(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, blocked = Run(volume, FILES), threading.Event()

    def block(_path: str, _position: int) -> None:
        blocked.set()
        run.source.interrupted.wait(2 * AT_LAST)
        raise SourceUnavailable("the connection ended")

    run.source.fault = block
    monkeypatch.setattr(ranged, "TRANSFER_GRACE", 2 * AT_LAST)

    def end() -> None:
        blocked.wait(AT_LAST)
        run.cancellation.cancel(Stalled("no byte"))

    ender = threading.Thread(target=end)
    ender.start()
    with within(AT_LAST), pytest.raises(Stalled, match="no byte"):
        run.fetch()
    ender.join()
    assert run.sink.failed == {}


def test_threads_that_cannot_be_woken_are_abandoned_after_one_common_grace_period(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranged, "TRANSFER_GRACE", 1.0)
    readers = 12
    config = replace(CONFIG, initial_connections=readers, max_connections=readers, buffers=readers)
    run, deaf, inside = Run(volume, {"large.bin": CONTENT}, config), threading.Event(), threading.Barrier(readers + 1)

    def hang(_path: str, _position: int) -> None:
        inside.wait(AT_LAST)
        deaf.wait(2 * AT_LAST)
        raise SourceUnavailable("too late")

    run.source.fault = hang

    def end() -> None:
        inside.wait(AT_LAST)
        run.cancellation.cancel(Cancelled())

    canceller = threading.Thread(target=end)
    canceller.start()
    with within(readers - 1), pytest.raises(Cancelled):
        run.transport.fetch(run.source.files, run.sink)
    deaf.set()
    canceller.join()
    assert eventually(lambda: run.source.open_bodies == 0)


def test_no_delivery_goes_on_when_the_attempt_is_over(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt opens the same partials: a rename after that would name what is only half there."""
    monkeypatch.setattr(ranged, "TRANSFER_GRACE", AT_LAST)
    files = {f"{number:03}": b"x" * number for number in range(1, 200)}
    run, slow = Run(volume, files), threading.Event()

    def commit(_path: str) -> None:
        if not slow.is_set():
            slow.set()
            run.cancellation.cancel(Stalled("no byte"))
        time.sleep(0.01)

    run.sink.commit_fault = commit
    with pytest.raises(Stalled):
        run.fetch()
    count = len(run.sink.committed)
    time.sleep(0.2)
    assert len(run.sink.committed) == count


def test_a_file_that_is_all_there_is_hashed_and_delivered_without_a_byte(volume: Volume) -> None:
    content = Noise(9 << 20, seed=42).bytes()
    file = file_of("large.bin", content)
    partial = volume.partial(file)
    partial.write(0, memoryview(bytearray(content)))
    partial.complete(Span(0, len(content)))
    partial.close()
    run = Run(volume, {"large.bin": content})
    run.fetch()
    assert run.sink.committed == ["large.bin"]
    assert run.source.served == 0


class Shrunk:
    """A partial whose file another program has truncated."""

    def __init__(self, file: RemoteFile, *, lost: bool) -> None:
        self.file = file
        self.lost = lost
        self.reads = 0

    def missing(self) -> list[Span]:
        return []

    def readinto(self, _offset: int, view: memoryview) -> int:
        self.reads += 1
        return 0 if self.lost else min(len(view), 10)

    def finish(self) -> Shrunk:
        return self


def test_bytes_that_the_volume_lost_end_the_hashing() -> None:
    transfer = FileTransfer(RemoteFile("a", 1000), Shrunk(RemoteFile("a", 1000), lost=True), lambda: None)  # type: ignore[arg-type]
    with pytest.raises(VolumeError, match="lost"):
        transfer.hash_ready(lambda _: None)


def test_the_end_of_the_run_ends_the_hashing_of_what_is_there() -> None:
    cancellation = Cancellation()
    cancellation.cancel(Cancelled())
    partial = Shrunk(RemoteFile("a", 1 << 40), lost=False)
    transfer = FileTransfer(partial.file, partial, cancellation.check)  # type: ignore[arg-type]
    with pytest.raises(Cancelled):
        transfer.hash_ready(lambda _: None)
    assert partial.reads == 0


def test_a_whole_file_is_claimed_by_one_thread_only() -> None:
    transfer = FileTransfer(RemoteFile("a", 0), Shrunk(RemoteFile("a", 0), lost=False), lambda: None)  # type: ignore[arg-type]
    assert [transfer.try_complete() is not None for _ in range(3)] == [True, False, False]
