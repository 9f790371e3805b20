"""An attempt is over before the next one begins, however slow the disk is."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Algorithm, Protocol
from downloader.cancellation import Cancellation
from downloader.engine import Engine, Plan
from downloader.errors import Cancelled, Stalled
from downloader.meter import Meter, Watchdog
from downloader.selection import Selection
from downloader.transports import Arrival
from downloader.volume import Volume
from tests.unit.homecoming import Memory
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from downloader.artifact import RemoteFile
    from downloader.transports import Landing, Transport
    from downloader.volume import Partial

SOON = 60.0
CONTENT = b"a model"


class SlowVolume(Volume):
    """Gives names only when it is let go."""

    def __init__(self, target: Path) -> None:
        super().__init__(target)
        self.entered, self.go = threading.Event(), threading.Event()

    def commit_many(self, files: Iterable[tuple[Partial, str, str]]) -> None:
        files = list(files)
        if files:
            self.entered.set()
            assert self.go.wait(SOON)
        super().commit_many(files)


class Straggler:
    """A transport that gives up while a thread of its own still delivers, as on a disk that takes its time."""

    def __init__(self, volume: SlowVolume, then: Callable[[], None]) -> None:
        self._volume, self._then = volume, then
        self.errors: list[BaseException] = []
        self.thread: threading.Thread | None = None

    def fetch(self, files: Sequence[RemoteFile], landing: Landing) -> None:
        arrival = _arrived(files[0], landing)

        def deliver() -> None:
            try:
                landing.deliver([arrival])
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                self.errors.append(error)

        self.thread = threading.Thread(target=deliver)
        self.thread.start()
        assert self._volume.entered.wait(SOON)
        self._then()
        raise Stalled("no byte came")


def _arrived(file: RemoteFile, landing: Landing) -> Arrival:
    partial = landing.begin(file)
    partial.write(0, memoryview(bytearray(CONTENT)))
    for gap in partial.missing():
        partial.complete(gap)
    return Arrival(partial, {Algorithm.SHA256: file.digests[0].value})


class Another:
    """The transport of the next attempt."""

    def __init__(self, fetch: Callable[[Sequence[RemoteFile], Landing], None]) -> None:
        self.fetch = fetch


def engine_over(volume: Volume, transports: Sequence[Transport], cancellation: Cancellation) -> Engine:
    meter, waiting = Meter(), iter(transports)
    return Engine(
        Memory({"model.bin": CONTENT}),
        volume,
        lambda _protocol, _attempt: next(waiting),
        Plan(Selection(), (Protocol.RANGES, Protocol.HTTP)[: len(transports)], silence=SOON),
        meter=meter,
        watchdog=Watchdog(meter, SOON),
        cancellation=cancellation,
        lease=lambda: volume.lease("https://host/model.bin") if transports else nullcontext(),
    )


def test_the_next_attempt_waits_for_what_is_being_named(tmp_path: Path) -> None:
    with SlowVolume(tmp_path) as volume:
        begun: list[str] = []

        def too_early(_files: Sequence[RemoteFile], _landing: Landing) -> None:
            begun.append("the second attempt")
            volume.go.set()

        straggler = Straggler(volume, threading.Timer(0.5, volume.go.set).start)
        outcome = engine_over(volume, [straggler, Another(too_early)], Cancellation()).run()
        assert not begun, "the file was about to get its name: nothing was missing any more"
        assert outcome.checksums.keys() == {"model.bin"}
        assert (tmp_path / "model.bin").read_bytes() == CONTENT


def test_nobody_delivers_after_the_end_of_an_attempt(tmp_path: Path) -> None:
    with Volume(tmp_path) as volume:
        late: list[tuple[Landing, Arrival]] = []

        def give_up(files: Sequence[RemoteFile], landing: Landing) -> None:
            late.append((landing, _arrived(files[0], landing)))
            raise Stalled("no byte came")

        def refuse_the_late(files: Sequence[RemoteFile], landing: Landing) -> None:
            old, arrival = late[0]
            with pytest.raises(Exception, match="after the end of its attempt"):
                old.deliver([arrival])
            assert not (tmp_path / "model.bin").exists()
            landing.deliver([_arrived(files[0], landing)])

        engine_over(volume, [Another(give_up), Another(refuse_the_late)], Cancellation()).run()
        assert (tmp_path / "model.bin").read_bytes() == CONTENT


def test_the_end_of_the_run_waits_for_nobody(tmp_path: Path) -> None:
    with SlowVolume(tmp_path) as volume:
        cancellation = Cancellation()
        straggler = Straggler(volume, lambda: cancellation.cancel(Cancelled()))
        with pytest.raises(Cancelled):
            engine_over(volume, [straggler], cancellation).run()
        assert not volume.go.is_set()
        volume.go.set()
        assert straggler.thread is not None
        straggler.thread.join(SOON)
        assert eventually(lambda: bool(straggler.errors)), "its folder went with the lease"
        assert not (tmp_path / "model.bin").exists()
