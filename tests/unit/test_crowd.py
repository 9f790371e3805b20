"""Fewer readers after a refusal, more again when it goes well."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Manifest, RemoteFile, Span
from downloader.cancellation import Cancellation
from downloader.errors import Cancelled, ConnectionBroken, SourceUnavailable, Throttled
from downloader.sources.crowd import CALM, NO_LIMIT, SAME_BREATH, Crowd, NoticingSource, QueueingSource
from tests.unit.clocks import Clock
from tests.waiting import AT_LAST, eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from downloader.errors import DownloadError

FILE, SPAN = RemoteFile("a", 10), Span(0, 10)


class Busy:
    """A source that refuses as often as it is told to, and counts who reads."""

    def __init__(self, fellows: int = 1) -> None:
        """Whoever reads waits until there have been so many at one time."""
        self._met = fellows
        self.refusals: list[DownloadError] = []
        self.inside = 0
        self.most = 0
        self.announced = 0
        self.breaks = False
        self._lock = threading.Lock()

    def version(self) -> None:
        return None

    def manifest(self) -> Manifest:
        return Manifest("s3://bucket/m", (FILE,))

    def open(self, file: RemoteFile, span: Span) -> Busy:
        del file, span
        if self.refusals:
            raise self.refusals.pop()
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        return self

    def announce(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        self.announced += len(pieces)

    def readinto(self, view: memoryview, /) -> int:
        if self.breaks:
            raise ConnectionBroken("reset")
        assert eventually(lambda: self.most >= self._met)
        return len(view) if len(view) > 1 else 0

    def interrupt(self) -> None:
        """Nothing blocks."""

    def close(self) -> None:
        with self._lock:
            self.inside -= 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def crowd(clock: Clock) -> Crowd:
    return Crowd(Cancellation(), clock)


def enter(crowd: Crowd, count: int) -> None:
    for _ in range(count):
        crowd.enter()


def test_nobody_waits_before_the_first_refusal(crowd: Crowd) -> None:
    enter(crowd, 1000)
    assert crowd.limit == NO_LIMIT


def test_each_refusal_halves_those_who_read_and_one_is_always_left(crowd: Crowd, clock: Clock) -> None:
    enter(crowd, 8)
    limits = []
    for _ in range(5):
        crowd.shrink()
        limits.append(crowd.limit)
        clock.pass_by(SAME_BREATH)
    assert limits == [4, 2, 1, 1, 1]


def test_refusals_of_requests_that_were_sent_together_count_as_one(crowd: Crowd) -> None:
    enter(crowd, 8)
    for _ in range(8):
        crowd.shrink()
    assert crowd.limit == 4


def test_one_more_may_read_when_all_of_them_had_a_turn(crowd: Crowd) -> None:
    enter(crowd, 4)
    crowd.shrink()
    for _ in range(4):
        crowd.leave()
    assert crowd.limit == 3
    for _ in range(3):
        crowd.enter()
        crowd.leave(went_well=False)
    assert crowd.limit == 3
    for _ in range(3):
        crowd.enter()
        crowd.leave()
    assert crowd.limit == 4


def test_one_more_may_read_when_bytes_came_for_a_while_though_no_turn_has_ended(crowd: Crowd, clock: Clock) -> None:
    enter(crowd, 8)
    body = NoticingSource(Busy(), crowd).open(FILE, SPAN)
    limits = []
    crowd.shrink()
    for seconds in (CALM / 2, CALM / 2, CALM / 2, CALM, CALM):
        clock.pass_by(seconds)
        body.readinto(memoryview(bytearray(10)))
        limits.append(crowd.limit)
    assert limits == [4, 5, 5, 6, 7]


def test_a_long_pause_is_no_calm(crowd: Crowd, clock: Clock) -> None:
    enter(crowd, 8)
    body = NoticingSource(Busy(), crowd).open(FILE, SPAN)
    crowd.shrink()
    clock.pass_by(10 * CALM)
    body.readinto(memoryview(bytearray(10)))
    body.readinto(memoryview(bytearray(10)))
    assert crowd.limit == 5


@pytest.mark.parametrize(
    ("moments", "expected"),
    [([0, 0, 0], 4), ([0, 0], NO_LIMIT), ([0, SAME_BREATH, 2 * SAME_BREATH], NO_LIMIT), ([0, 5, 5, 5.5], 4)],
    ids=["several in one breath", "two are accidents", "one after the other", "an accident, and then several"],
)
@pytest.mark.parametrize("where", ["before the answer", "in the body"])
def test_connections_that_break_together_count_as_a_refusal_when_the_server_is_asked_again(
    crowd: Crowd, clock: Clock, moments: list[float], expected: int, where: str
) -> None:
    busy = Busy()
    source = NoticingSource(busy, crowd)
    enter(crowd, 8)
    now = 0.0
    bodies = [source.open(FILE, SPAN) for _ in moments]
    for moment, body in zip(moments, bodies, strict=True):
        clock.pass_by(moment - now)
        now = moment
        busy.breaks = where == "in the body"
        busy.refusals = [] if busy.breaks else [ConnectionBroken("reset")]
        with pytest.raises(ConnectionBroken):
            body.readinto(memoryview(bytearray(10))) if busy.breaks else source.open(FILE, SPAN)
    assert crowd.limit == NO_LIMIT or where == "before the answer", "it may be the run that ends"
    source.open(FILE, SPAN)
    assert crowd.limit == expected
    clock.pass_by(SAME_BREATH)
    source.open(FILE, SPAN)
    assert crowd.limit == expected, "each counts once"


def test_other_trouble_does_not_make_the_crowd_smaller(crowd: Crowd) -> None:
    busy = Busy()
    source = QueueingSource(NoticingSource(busy, crowd), crowd)
    for error, expected in ((SourceUnavailable("broken"), NO_LIMIT), (Throttled("slow down"), 1)):
        busy.refusals.append(error)
        with pytest.raises(type(error)):
            source.open(FILE, SPAN)
        assert crowd.limit == expected
    source.open(FILE, SPAN).close()  # whoever was refused is not inside any more


def test_no_more_read_at_one_time_than_may(crowd: Crowd) -> None:
    enter(crowd, 4)
    crowd.shrink()
    for _ in range(4):
        crowd.leave()
    limit = crowd.limit
    busy = Busy(limit)
    source = QueueingSource(NoticingSource(busy, crowd), crowd)

    def read() -> None:
        body = source.open(FILE, SPAN)
        body.readinto(memoryview(bytearray(10)))
        body.readinto(memoryview(bytearray(1)))
        body.close()
        body.close()

    threads = [threading.Thread(target=read) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(AT_LAST)
    assert busy.inside == 0
    assert limit <= busy.most <= crowd.limit < 12


def test_whoever_waits_for_a_turn_is_woken_by_the_cancellation(clock: Clock) -> None:
    cancellation = Cancellation()
    crowd = Crowd(cancellation, clock)
    enter(crowd, 2)
    crowd.shrink()
    threading.Timer(0.01, cancellation.cancel, (Cancelled(),)).start()
    with pytest.raises(Cancelled):
        crowd.enter()


def test_a_refusal_that_was_on_its_way_when_the_crowd_was_halved_halves_it_once() -> None:
    clock = Clock()
    crowd = Crowd(Cancellation(), clock)
    for _ in range(8):
        crowd.enter()
    asked_at = clock.now
    clock.pass_by(1)
    crowd.shrink()
    assert crowd.limit == 4
    clock.pass_by(8)
    crowd.shrink(asked_at)
    assert crowd.limit == 4
    crowd.shrink(clock.now)
    assert crowd.limit == 2
