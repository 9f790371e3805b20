"""One attempt after the other on one volume: what the first one leaves behind does no harm to the next."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Algorithm, Span, TransferProtocol
from downloader.cancellation import Cancellation
from downloader.engine import Engine, Plan, only_routes
from downloader.errors import DownloadError, ProtocolDown
from downloader.filesystem.local import Disk
from downloader.filters import FileFilter
from downloader.progress import ProgressMeter, StallWatchdog
from downloader.transfer import CompletedFile
from downloader.volume import Volume
from tests.transfer.harness import Memory
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from downloader.artifact import RemoteFile
    from downloader.transfer import Feed, FileSink
    from downloader.volume import Partial

URI = "hf://org/model"
DATA = bytes(range(200)) * 50
FILES = {f"{number}.bin": DATA for number in range(20)} | {"large.bin": bytes(5 << 20)}


class Steps:
    """A transport that does what a test says."""

    def __init__(self, fetch: Callable[[Sequence[RemoteFile], FileSink], None]) -> None:
        self._fetch = fetch

    def fetch(self, files: Sequence[RemoteFile], sink: FileSink, feed: Feed | None = None) -> None:
        assert feed is None
        self._fetch(files, sink)


def run(volume: Volume, files: dict[str, bytes], *attempts: Callable[[Sequence[RemoteFile], FileSink], None]) -> None:
    """Make these attempts, one after the other."""
    meter, left = ProgressMeter(), iter(attempts)
    Engine(
        Memory(files),
        volume,
        only_routes((TransferProtocol.RANGES,) * len(attempts), lambda _protocol, _attempt: Steps(next(left)), 60.0),
        Plan(FileFilter()),
        meter=meter,
        watchdog=StallWatchdog(meter, 60.0),
        cancellation=Cancellation(),
        lease=lambda **more: volume.lease(URI, **more),
    ).run()


def fill(partial: Partial, data: bytes) -> CompletedFile:
    for span in partial.missing():
        partial.write(span.start, memoryview(bytearray(data[span.start : span.stop])))
        partial.complete(span)
    return CompletedFile(partial.finish(), {Algorithm.SHA256: hashlib.sha256(data).hexdigest()}, data[:1024])


def test_no_file_stays_open_when_an_attempt_ends_half_way(tmp_path: Path) -> None:
    counts: list[int] = []

    def begin_all(files: Sequence[RemoteFile], sink: FileSink) -> None:
        counts.append(descriptors())
        for file in files:
            sink.begin(file).write(0, memoryview(bytearray(DATA[:100])))
        raise ProtocolDown("nothing comes any more")

    def bring(files: Sequence[RemoteFile], sink: FileSink) -> None:
        counts.append(descriptors())
        assert not sink.commit([fill(sink.begin(file), FILES[file.path]) for file in files])

    with Volume(tmp_path) as volume:
        run(volume, FILES, begin_all, bring)
    assert counts[0] == counts[1]
    assert {path: (tmp_path / path).read_bytes() for path in FILES} == FILES


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["syncing", "renaming to"])
def test_a_delivery_that_outlasts_its_attempt_never_names_half_a_file_of_the_next(tmp_path: Path, moment: str) -> None:
    slow, go_on = threading.Event(), threading.Event()
    late: list[threading.Thread] = []

    def fault(doing: str) -> None:
        if threading.current_thread().name == "late" and doing.startswith(moment) and not slow.is_set():
            slow.set()
            go_on.wait(2)  # in vain where the next attempt waits for this one

    def commit_late(files: Sequence[RemoteFile], sink: FileSink) -> None:
        completed_files = [fill(sink.begin(file), DATA) for file in files]

        def commit() -> None:
            with contextlib.suppress(DownloadError):
                sink.commit(completed_files)

        late.append(threading.Thread(target=commit, name="late"))
        late[0].start()
        assert slow.wait(AT_LAST)
        raise ProtocolDown("nothing comes any more")

    def bring(files: Sequence[RemoteFile], sink: FileSink) -> None:
        partials = [sink.begin(file) for file in files]
        for partial in partials:
            partial.write(0, memoryview(bytearray(DATA[:100])))
            partial.complete(Span(0, 100))
        go_on.set()
        late[0].join()
        for file in files:
            path = tmp_path / file.path
            assert not path.exists() or path.read_bytes() == DATA
        assert not sink.commit([fill(partial, DATA) for partial in partials])

    files = {f"{number}.bin": DATA for number in range(12)}
    with Volume(tmp_path, files=Disk(tmp_path, fault=fault)) as volume:
        run(volume, files, commit_late, bring)
    assert {path: (tmp_path / path).read_bytes() for path in files} == files


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
