"""The concurrency controller: doubling while that pays, halving when throttled, and recovery."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.artifact import Manifest, RemoteFile, Span
from downloader.cancellation import Cancellation
from downloader.errors import Cancelled, ConnectionBroken, SourceUnavailable, Throttled
from downloader.sources.concurrency import (
    COALESCE_SECONDS,
    MEASURE_SECONDS,
    RECOVERY_SECONDS,
    UNLIMITED,
    WARM_UP_SECONDS,
    ConcurrencyController,
    ConcurrencyLimitedSource,
    ThrottleObservingSource,
)
from tests.clocks import Clock
from tests.waiting import AT_LAST, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from downloader.errors import DownloadError

FILE, SPAN = RemoteFile("a", 10), Span(0, 10)


class Busy:
    """A source that raises as many errors as it is told to, and counts its readers."""

    def __init__(self, readers: int = 1) -> None:
        """Each reader waits until there have been that many at the same time."""
        self._awaited = readers
        self.errors: list[DownloadError] = []
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
        if self.errors:
            raise self.errors.pop()
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        return self

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        self.prefetched += len(pieces)

    def readinto(self, view: memoryview, /) -> int:
        if self.breaks:
            raise ConnectionBroken("reset")
        assert eventually(lambda: self.most >= self._awaited)
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
def concurrency(clock: Clock) -> ConcurrencyController:
    return ConcurrencyController(Cancellation(), clock)


def acquire(concurrency: ConcurrencyController, count: int) -> None:
    for _ in range(count):
        concurrency.acquire()


def test_no_request_waits_before_the_first_throttling(concurrency: ConcurrencyController) -> None:
    acquire(concurrency, 1000)
    assert concurrency.limit == UNLIMITED


def test_each_throttling_halves_the_limit_down_to_one(concurrency: ConcurrencyController, clock: Clock) -> None:
    acquire(concurrency, 8)
    limits = []
    for _ in range(5):
        concurrency.on_throttled()
        limits.append(concurrency.limit)
        clock.pass_by(COALESCE_SECONDS)
    assert limits == [4, 2, 1, 1, 1]


def test_throttled_requests_that_were_sent_together_count_as_one(concurrency: ConcurrencyController) -> None:
    acquire(concurrency, 8)
    for _ in range(8):
        concurrency.on_throttled()
    assert concurrency.limit == 4


def test_the_limit_rises_by_one_when_as_many_requests_have_completed(concurrency: ConcurrencyController) -> None:
    acquire(concurrency, 4)
    concurrency.on_throttled()
    for _ in range(4):
        concurrency.release()
    assert concurrency.limit == 3
    for _ in range(3):
        concurrency.acquire()
        concurrency.release(completed=False)
    assert concurrency.limit == 3
    for _ in range(3):
        concurrency.acquire()
        concurrency.release()
    assert concurrency.limit == 4


def test_the_limit_rises_by_one_when_bytes_came_for_a_while_though_no_request_has_ended(
    concurrency: ConcurrencyController, clock: Clock
) -> None:
    acquire(concurrency, 8)
    body = ThrottleObservingSource(Busy(), concurrency).open(FILE, SPAN)
    limits = []
    concurrency.on_throttled()
    for part in (0.5, 0.5, 0.5, 1, 1):
        clock.pass_by(part * RECOVERY_SECONDS)
        body.readinto(memoryview(bytearray(10)))
        limits.append(concurrency.limit)
    assert limits == [4, 5, 5, 6, 7]


def test_a_long_pause_raises_the_limit_only_once(concurrency: ConcurrencyController, clock: Clock) -> None:
    acquire(concurrency, 8)
    body = ThrottleObservingSource(Busy(), concurrency).open(FILE, SPAN)
    concurrency.on_throttled()
    clock.pass_by(10 * RECOVERY_SECONDS)
    body.readinto(memoryview(bytearray(10)))
    body.readinto(memoryview(bytearray(10)))
    assert concurrency.limit == 5


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        ([0, 0, 0], 4),
        ([0, 0], UNLIMITED),
        ([0, COALESCE_SECONDS, 2 * COALESCE_SECONDS], UNLIMITED),
        ([0, 5, 5, 5.5], 4),
    ],
    ids=["several together", "two are accidents", "one after the other", "an accident, and then several"],
)
@pytest.mark.parametrize("where", ["before the answer", "in the body"])
def test_connections_that_break_together_count_as_throttling_from_the_next_request_on(
    concurrency: ConcurrencyController, clock: Clock, moments: list[float], expected: int, where: str
) -> None:
    busy = Busy()
    source = ThrottleObservingSource(busy, concurrency)
    acquire(concurrency, 8)
    now = 0.0
    bodies = [source.open(FILE, SPAN) for _ in moments]
    for moment, body in zip(moments, bodies, strict=True):
        clock.pass_by(moment - now)
        now = moment
        busy.breaks = where == "in the body"
        busy.errors = [] if busy.breaks else [ConnectionBroken("reset")]
        with pytest.raises(ConnectionBroken):
            body.readinto(memoryview(bytearray(10))) if busy.breaks else source.open(FILE, SPAN)
    assert concurrency.limit == UNLIMITED or where == "before the answer", "it may be the run that ends"
    source.open(FILE, SPAN)
    assert concurrency.limit == expected
    clock.pass_by(COALESCE_SECONDS)
    source.open(FILE, SPAN)
    assert concurrency.limit == expected, "each counts once"


def test_other_errors_do_not_lower_the_limit(concurrency: ConcurrencyController) -> None:
    busy = Busy()
    source = ConcurrencyLimitedSource(ThrottleObservingSource(busy, concurrency), concurrency)
    for error, expected in ((SourceUnavailable("broken"), UNLIMITED), (Throttled("slow down"), 1)):
        busy.errors.append(error)
        with pytest.raises(type(error)):
            source.open(FILE, SPAN)
        assert concurrency.limit == expected
    source.open(FILE, SPAN).close()  # the failed request is not in flight any more


def test_no_more_requests_are_in_flight_than_the_limit_allows(concurrency: ConcurrencyController) -> None:
    acquire(concurrency, 4)
    concurrency.on_throttled()
    for _ in range(4):
        concurrency.release()
    limit = concurrency.limit
    busy = Busy(limit)
    source = ConcurrencyLimitedSource(ThrottleObservingSource(busy, concurrency), concurrency)

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
    assert limit <= busy.most <= concurrency.limit < 12


def test_a_waiting_reader_is_woken_by_the_cancellation(clock: Clock) -> None:
    cancellation = Cancellation()
    concurrency = ConcurrencyController(cancellation, clock)
    acquire(concurrency, 2)
    concurrency.on_throttled()
    threading.Timer(0.01, cancellation.cancel, (Cancelled(),)).start()
    with pytest.raises(Cancelled):
        concurrency.acquire()


def test_a_request_that_was_sent_before_the_halving_does_not_halve_again() -> None:
    clock = Clock()
    concurrency = ConcurrencyController(Cancellation(), clock)
    for _ in range(8):
        concurrency.acquire()
    asked_at = clock.now
    clock.pass_by(1)
    concurrency.on_throttled()
    assert concurrency.limit == 4
    clock.pass_by(8)
    concurrency.on_throttled(asked_at)
    assert concurrency.limit == 4
    concurrency.on_throttled(clock.now)
    assert concurrency.limit == 2


MB = 1_000_000


def started(initial: int, maximum: int) -> ConcurrencyController:
    concurrency = ConcurrencyController(Cancellation(), Clock())
    concurrency.start(initial, maximum)
    return concurrency


def grown(
    concurrency: ConcurrencyController, rate: Callable[[int], float], *, seconds: int = 10, busy: float = 0.1
) -> int:
    """Let time pass; `rate` is the bytes per second of a number of requests, `busy` the CPU seconds per second."""
    received, step = 0.0, MEASURE_SECONDS / 5
    for number in range(int(seconds / step) + 1):
        concurrency.on_throughput(number * step, int(received), number * step * busy)
        received += rate(concurrency.limit) * step
    return concurrency.limit


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (lambda count: count * MB, 16),
        (lambda _: 8 * MB, 4),
        (lambda count: min(count, 7) * MB, 16),
        (lambda count: min(count, 5) * MB, 8),
        (lambda count: min(count, 4) * MB, 8),
        (lambda count: MB * (1 if count < 4 else 1.1), 4),
        (lambda _: 0, 2),
    ],
    ids=[
        "each has its share",
        "the link is full",
        "the link is nearly full after the second look",
        "the link fills up on the way",
        "the link is full after the second look",
        "twice as many bring a little more",
        "nothing comes",
    ],
)
def test_the_limit_doubles_as_long_as_that_raises_throughput(rate: Callable[[int], float], expected: int) -> None:
    assert grown(started(2, 16), rate) == expected


def test_throughput_is_measured_when_new_connections_have_become_fast() -> None:
    concurrency, received, step = started(2, 16), 0.0, MEASURE_SECONDS / 5
    for number in range(100):
        concurrency.on_throughput(number * step, int(received), 0.0)
        received += (2 if number * step < WARM_UP_SECONDS else 10) * MB * step
    assert concurrency.limit == 4, "the link was full with two; their slow start is not a gain from more of them"


def test_the_limit_never_exceeds_the_maximum() -> None:
    assert grown(started(3, 5), lambda count: count * MB) == 5
    assert grown(started(4, 4), lambda count: count * MB) == 4


def test_the_limit_does_not_grow_where_the_cpu_is_the_bottleneck() -> None:
    assert grown(started(2, 16), lambda count: count * MB, busy=0.9) == 2


def test_measuring_goes_on_where_responses_take_long() -> None:
    concurrency = started(2, 16)
    assert grown(concurrency, lambda _: 0) == 2
    for seconds in range(11, 16):
        concurrency.on_throughput(seconds, concurrency.limit * (seconds - 10) * MB, seconds * 0.1)
    assert concurrency.limit > 2


def test_no_decision_is_made_before_the_first_measurement() -> None:
    assert grown(started(2, 16), lambda count: count * MB, seconds=0) == 2


def test_throttling_pauses_doubling_until_the_limit_has_recovered(clock: Clock) -> None:
    concurrency = ConcurrencyController(Cancellation(), clock)
    concurrency.start(4, 16)
    acquire(concurrency, 4)
    concurrency.on_throttled()
    assert grown(concurrency, lambda count: count * MB) == 2
    assert concurrency.workers == 4
    for limit in (3, 4):
        clock.pass_by(RECOVERY_SECONDS)
        concurrency.on_bytes()
        assert concurrency.limit == limit
    clock.pass_by(RECOVERY_SECONDS)
    concurrency.on_bytes()
    assert concurrency.limit == 4, "bytes alone raise it to what throughput had justified, and no further"
    assert grown(concurrency, lambda count: count * MB) == 16


class Soak:
    """A controller and what its callers know: each method is one event, and checks what the event may change."""

    def __init__(self, initial: int, maximum: int) -> None:
        self.clock = Clock()
        self.concurrency = ConcurrencyController(Cancellation(), self.clock)
        self.concurrency.start(initial, maximum)
        self.maximum = maximum
        self.active = 0
        self.received, self.cpu = 0, 0.0

    def acquire(self) -> None:
        if self.active < self.concurrency.limit:
            self.concurrency.acquire()
            self.active += 1

    def release(self, *, completed: bool = True) -> None:
        limit = self.concurrency.limit
        if self.active:
            self.concurrency.release(completed=completed)
            self.active -= 1
        assert self.concurrency.limit in {limit, limit + 1}

    def fail(self) -> None:
        self.release(completed=False)

    def throttle(self) -> None:
        limit = self.concurrency.limit
        self.concurrency.on_throttled()
        assert self.concurrency.limit <= limit
        self.report(100 * MB, 0.0)
        self.report(1000 * MB, 0.0)
        assert self.concurrency.limit <= limit, "however much a throttled server delivers"

    def throttle_late(self) -> None:
        limit = self.concurrency.limit
        self.concurrency.on_throttled(self.clock.now - 5)
        assert self.concurrency.limit <= limit

    def disconnect(self) -> None:
        limit = self.concurrency.limit
        self.concurrency.on_disconnect()
        assert self.concurrency.limit == limit

    def request(self) -> None:
        limit = self.concurrency.limit
        self.concurrency.on_request()
        assert self.concurrency.limit <= limit

    def receive(self) -> None:
        limit = self.concurrency.limit
        self.concurrency.on_bytes()
        assert self.concurrency.limit in {limit, limit + 1}

    def wait(self) -> None:
        self.clock.pass_by(0.7)

    def wait_long(self) -> None:
        self.clock.pass_by(RECOVERY_SECONDS)

    def report(self, received: int, cpu: float) -> None:
        limit, workers = self.concurrency.limit, self.concurrency.workers
        self.received, self.cpu = self.received + received, self.cpu + cpu
        self.clock.pass_by(MEASURE_SECONDS)
        self.concurrency.on_throughput(self.clock.now, self.received, self.cpu)
        grown = {min(2 * limit, self.maximum)} if limit == workers else set()
        assert self.concurrency.limit in {limit, *grown}, "a limit below what throughput justified is a throttled one"

    def report_much(self) -> None:
        self.report(self.concurrency.limit * 10 * MB, 0.0)

    def report_little(self) -> None:
        self.report(MB, 0.0)

    def report_cpu(self) -> None:
        self.report(self.concurrency.limit * 10 * MB, MEASURE_SECONDS)


EVENTS = sorted(name for name in vars(Soak) if not name.startswith("_") and name != "report")


@given(st.integers(1, 16), st.integers(1, 64), st.lists(st.sampled_from(EVENTS), min_size=50, max_size=300))
def test_the_limit_stays_in_its_range_and_never_grows_while_throttled(
    initial: int, maximum: int, events: list[str]
) -> None:
    soak = Soak(min(initial, maximum), maximum)
    workers = 1
    for event in events:
        getattr(soak, event)()
        assert 1 <= soak.concurrency.limit <= soak.concurrency.workers <= maximum
        assert workers <= soak.concurrency.workers
        workers = soak.concurrency.workers
