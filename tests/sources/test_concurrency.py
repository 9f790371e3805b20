"""Fewer readers after a refusal, more again when it goes well."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Manifest, RemoteFile, Span
from downloader.cancellation import Cancellation
from downloader.errors import Cancelled, ConnectionBroken, SourceUnavailable, Throttled
from downloader.sources.concurrency import (
    CALM,
    NO_LIMIT,
    SAME_BREATH,
    AdaptiveLimiter,
    ConcurrencyLimitedSource,
    ThrottleObservingSource,
)
from tests.clocks import Clock
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
        self.prefetched = 0
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

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        self.prefetched += len(pieces)

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
def limiter(clock: Clock) -> AdaptiveLimiter:
    return AdaptiveLimiter(Cancellation(), clock)


def enter(limiter: AdaptiveLimiter, count: int) -> None:
    for _ in range(count):
        limiter.enter()


def test_no_request_waits_before_the_first_refusal(limiter: AdaptiveLimiter) -> None:
    enter(limiter, 1000)
    assert limiter.limit == NO_LIMIT


def test_each_refusal_halves_those_who_read_and_one_is_always_left(limiter: AdaptiveLimiter, clock: Clock) -> None:
    enter(limiter, 8)
    limits = []
    for _ in range(5):
        limiter.shrink()
        limits.append(limiter.limit)
        clock.pass_by(SAME_BREATH)
    assert limits == [4, 2, 1, 1, 1]


def test_refusals_of_requests_that_were_sent_together_count_as_one(limiter: AdaptiveLimiter) -> None:
    enter(limiter, 8)
    for _ in range(8):
        limiter.shrink()
    assert limiter.limit == 4


def test_one_more_may_read_when_all_of_them_had_a_turn(limiter: AdaptiveLimiter) -> None:
    enter(limiter, 4)
    limiter.shrink()
    for _ in range(4):
        limiter.leave()
    assert limiter.limit == 3
    for _ in range(3):
        limiter.enter()
        limiter.leave(went_well=False)
    assert limiter.limit == 3
    for _ in range(3):
        limiter.enter()
        limiter.leave()
    assert limiter.limit == 4


def test_one_more_may_read_when_bytes_came_for_a_while_though_no_turn_has_ended(
    limiter: AdaptiveLimiter, clock: Clock
) -> None:
    enter(limiter, 8)
    body = ThrottleObservingSource(Busy(), limiter).open(FILE, SPAN)
    limits = []
    limiter.shrink()
    for seconds in (CALM / 2, CALM / 2, CALM / 2, CALM, CALM):
        clock.pass_by(seconds)
        body.readinto(memoryview(bytearray(10)))
        limits.append(limiter.limit)
    assert limits == [4, 5, 5, 6, 7]


def test_a_long_pause_is_no_calm(limiter: AdaptiveLimiter, clock: Clock) -> None:
    enter(limiter, 8)
    body = ThrottleObservingSource(Busy(), limiter).open(FILE, SPAN)
    limiter.shrink()
    clock.pass_by(10 * CALM)
    body.readinto(memoryview(bytearray(10)))
    body.readinto(memoryview(bytearray(10)))
    assert limiter.limit == 5


@pytest.mark.parametrize(
    ("moments", "expected"),
    [([0, 0, 0], 4), ([0, 0], NO_LIMIT), ([0, SAME_BREATH, 2 * SAME_BREATH], NO_LIMIT), ([0, 5, 5, 5.5], 4)],
    ids=["several in one breath", "two are accidents", "one after the other", "an accident, and then several"],
)
@pytest.mark.parametrize("where", ["before the answer", "in the body"])
def test_connections_that_break_together_count_as_a_refusal_when_the_server_is_asked_again(
    limiter: AdaptiveLimiter, clock: Clock, moments: list[float], expected: int, where: str
) -> None:
    busy = Busy()
    source = ThrottleObservingSource(busy, limiter)
    enter(limiter, 8)
    now = 0.0
    bodies = [source.open(FILE, SPAN) for _ in moments]
    for moment, body in zip(moments, bodies, strict=True):
        clock.pass_by(moment - now)
        now = moment
        busy.breaks = where == "in the body"
        busy.refusals = [] if busy.breaks else [ConnectionBroken("reset")]
        with pytest.raises(ConnectionBroken):
            body.readinto(memoryview(bytearray(10))) if busy.breaks else source.open(FILE, SPAN)
    assert limiter.limit == NO_LIMIT or where == "before the answer", "it may be the run that ends"
    source.open(FILE, SPAN)
    assert limiter.limit == expected
    clock.pass_by(SAME_BREATH)
    source.open(FILE, SPAN)
    assert limiter.limit == expected, "each counts once"


def test_other_errors_do_not_lower_the_limit(limiter: AdaptiveLimiter) -> None:
    busy = Busy()
    source = ConcurrencyLimitedSource(ThrottleObservingSource(busy, limiter), limiter)
    for error, expected in ((SourceUnavailable("broken"), NO_LIMIT), (Throttled("slow down"), 1)):
        busy.refusals.append(error)
        with pytest.raises(type(error)):
            source.open(FILE, SPAN)
        assert limiter.limit == expected
    source.open(FILE, SPAN).close()  # whoever was refused is not inside any more


def test_no_more_read_at_one_time_than_may(limiter: AdaptiveLimiter) -> None:
    enter(limiter, 4)
    limiter.shrink()
    for _ in range(4):
        limiter.leave()
    limit = limiter.limit
    busy = Busy(limit)
    source = ConcurrencyLimitedSource(ThrottleObservingSource(busy, limiter), limiter)

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
    assert limit <= busy.most <= limiter.limit < 12


def test_a_worker_that_waits_for_a_turn_is_woken_by_the_cancellation(clock: Clock) -> None:
    cancellation = Cancellation()
    limiter = AdaptiveLimiter(cancellation, clock)
    enter(limiter, 2)
    limiter.shrink()
    threading.Timer(0.01, cancellation.cancel, (Cancelled(),)).start()
    with pytest.raises(Cancelled):
        limiter.enter()


def test_a_refusal_that_was_on_its_way_when_the_limit_was_halved_halves_it_once() -> None:
    clock = Clock()
    limiter = AdaptiveLimiter(Cancellation(), clock)
    for _ in range(8):
        limiter.enter()
    asked_at = clock.now
    clock.pass_by(1)
    limiter.shrink()
    assert limiter.limit == 4
    clock.pass_by(8)
    limiter.shrink(asked_at)
    assert limiter.limit == 4
    limiter.shrink(clock.now)
    assert limiter.limit == 2
