"""The one retry policy: bounded by silence, polite to servers that ask for pauses, and at the next byte again."""

from __future__ import annotations

import itertools
import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from downloader.artifact import Manifest, RemoteFile, Span, Validator
from downloader.cancellation import Cancellation
from downloader.deadlines import (
    FIRST_PAUSE,
    MAX_PAUSE,
    MAX_RETRY_AFTER,
    MAX_WITHOUT_PROGRESS,
    UNKNOWN_HOST_BUDGET,
)
from downloader.errors import (
    AccessDenied,
    Cancelled,
    DownloadError,
    IntegrityError,
    ProtocolFailed,
    SourceSilent,
    SourceUnavailable,
    Stalled,
    Throttled,
    UnknownHost,
)
from downloader.progress import Phase, ProgressMeter
from downloader.sources.pause import SharedPause
from downloader.sources.retry import (
    MIN_PROGRESS,
    Retrier,
    RetryPolicy,
)
from downloader.sources.retrying import RetryingSource
from tests.clocks import Clock, Sleepless
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

BUDGET = 60.0
CONTENT = bytes(range(256)) * 4096
FILE = RemoteFile("model.bin", len(CONTENT), validator=Validator('"one"'))


@dataclass
class Flaky:
    """A source that works, but each connection ends with the next error after so many bytes."""

    clock: Clock
    errors: Iterable[tuple[int, DownloadError]] = ()
    seconds: float = 0.0
    """What each read and each listing takes."""
    positions: list[int] = field(default_factory=list)
    skip: Callable[[], None] = lambda: None
    """What happens before each read."""
    open_bodies: int = 0
    listings: int = 0
    interrupted: int = 0

    def __post_init__(self) -> None:
        self._errors = iter(self.errors)

    def next_error(self) -> tuple[int, DownloadError | None]:
        return next(self._errors, (len(CONTENT), None))

    def version(self) -> str:
        return str(self.manifest().revision)

    def manifest(self) -> Manifest:
        self.listings += 1
        self.clock.pass_by(self.seconds)
        _, error = self.next_error()
        if error is not None:
            raise error
        return Manifest("hf://org/model", (FILE,), "c0ffee")

    def open(self, _file: RemoteFile, span: Span) -> FlakyBody:
        self.positions.append(span.start)
        return FlakyBody(self, span, *self.next_error())

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        del pieces

    def close(self) -> None:
        pass


class FlakyBody:
    def __init__(self, source: Flaky, span: Span, after: int, error: DownloadError | None) -> None:
        self._source = source
        self._position, self._stop = span.start, span.stop
        self._left = after
        self._error = error
        source.open_bodies += 1

    def readinto(self, view: memoryview, /) -> int:
        self._source.skip()
        self._source.clock.pass_by(self._source.seconds)
        if self._error is not None and not self._left:
            raise self._error
        count = min(len(view), self._stop - self._position, self._left)
        view[:count] = CONTENT[self._position : self._position + count]
        self._position += count
        self._left -= count
        return count

    def interrupt(self) -> None:
        self._source.interrupted += 1

    def close(self) -> None:
        self._source.open_bodies -= 1


class Run:
    """A flaky source with policy around it."""

    def __init__(self, *errors: tuple[int, DownloadError], seconds: float = 0.0, forever: bool = False) -> None:
        self.clock = Clock()
        self.meter = ProgressMeter(self.clock)
        self.meter.enter(Phase.DOWNLOADING)
        self.cancellation = Sleepless(self.clock)
        self.flaky = Flaky(self.clock, itertools.cycle(errors) if forever else errors, seconds)
        self.policy = RetryPolicy(BUDGET, self.meter, self.cancellation, SharedPause(self.clock))
        self.source = RetryingSource(self.flaky, self.policy)
        self.began = self.clock.now

    @property
    def elapsed(self) -> float:
        return self.clock.now - self.began

    @property
    def sleeps(self) -> list[float]:
        return self.cancellation.sleeps

    def read(self, span: Span | None = None, size: int = 1 << 16, between: Callable[[], None] = lambda: None) -> bytes:
        body = self.source.open(FILE, Span(0, len(CONTENT)) if span is None else span)
        view, content = memoryview(bytearray(size)), bytearray()
        try:
            while count := body.readinto(view):
                content += view[:count]
                between()
        finally:
            body.close()
            assert self.flaky.open_bodies == 0
        return bytes(content)


def broken(after: int = 0) -> tuple[int, DownloadError]:
    return after, SourceUnavailable("the connection broke")


def pause_of(seconds: float | None) -> tuple[int, DownloadError]:
    return 0, Throttled(
        f"host.test asks for a pause of {seconds:.0f} s" if seconds else "slow down", retry_after=seconds
    )


def test_reading_goes_on_at_the_next_byte() -> None:
    run = Run(broken(1000), broken(), broken(70_000))
    assert run.read(Span(10, 200_000)) == CONTENT[10:200_000]
    assert run.flaky.positions == [10, 1010, 1010, 71_010]
    assert run.meter.snapshot().received_bytes == 199_990


@settings(max_examples=50)
@given(st.lists(st.integers(0, 9000), max_size=9), st.integers(0, 3000), st.integers(0, 30_000), st.integers(99, 9999))
def test_whatever_breaks_the_bytes_are_right_and_counted_once(
    cuts: list[int], start: int, length: int, size: int
) -> None:
    run = Run(*(broken(cut) for cut in cuts))
    assert run.read(Span(start, start + length), size) == CONTENT[start : start + length]
    assert run.meter.snapshot().received_bytes == length


def test_errors_are_retried_for_a_time_and_not_for_a_number_of_tries() -> None:
    run = Run(broken(), forever=True)
    with pytest.raises(SourceUnavailable, match="the connection broke"):
        run.read()
    assert run.elapsed == pytest.approx(BUDGET)
    assert len(run.flaky.positions) > 5
    slow = Run(broken(), seconds=25, forever=True)
    with pytest.raises(SourceUnavailable):
        slow.read()
    assert BUDGET <= slow.elapsed <= BUDGET + 25
    assert len(slow.flaky.positions) < len(run.flaky.positions)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO]


def test_an_error_of_a_kind_is_told_once_and_shown_with_the_time_that_is_left(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    run = Run(*[(0, SourceUnavailable(f"broke after {number} bytes")) for number in range(9)])
    seen: list[tuple[str, float | None]] = []
    sleep = run.cancellation.sleep

    def look(seconds: float) -> None:
        shown = run.meter.snapshot()
        seen.append((shown.waiting, shown.wait_left))
        sleep(seconds)

    run.cancellation.sleep = look  # type: ignore[method-assign]
    assert run.read() == CONTENT
    first, last = told(caplog)
    assert first == "model.bin: broke after 0 bytes; trying again for 1 min 0 s at most"
    assert last.startswith("recovered after ")
    assert seen[0] == ("broke after 0 bytes; trying again", BUDGET)
    left = [seconds for _, seconds in seen if seconds is not None]
    assert len(left) == 9
    assert left == sorted(left, reverse=True)
    assert run.meter.snapshot().wait_left is None


def test_the_same_error_of_several_threads_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    run = Run()
    retriers = [Retrier(run.policy, name) for name in ("a", "b", "c")]
    for retrier in retriers:
        run.policy.record_failure(retrier, "a file", SourceUnavailable("refused"), 60)
    assert len(told(caplog)) == 1
    run.policy.record_failure(retriers[0], "a file", SourceUnavailable("another error"), 50)
    assert len(told(caplog)) == 2
    for retrier in retriers:
        run.policy.record_end(retrier, worked=True)
    run.policy.record_failure(retriers[0], "a file", SourceUnavailable("refused"), 60)
    assert len(told(caplog)) == 3


def test_an_unknown_host_is_final_before_the_first_response_and_not_afterwards() -> None:
    unknown = 0, UnknownHost("there is no host of the name hub.test")
    run = Run(unknown, forever=True)
    with pytest.raises(UnknownHost):
        run.source.manifest()
    assert run.elapsed <= UNKNOWN_HOST_BUDGET
    later = Run(unknown, forever=True)
    later.meter.add_metadata_response()
    with pytest.raises(UnknownHost):
        later.source.manifest()
    assert later.elapsed == pytest.approx(BUDGET)


def test_pauses_grow_are_jittered_and_bounded() -> None:
    runs = [Run(broken(), forever=True) for _ in range(30)]
    for run in runs:
        with pytest.raises(SourceUnavailable):
            run.read()
        for number, pause in enumerate(run.sleeps):
            assert 0 <= pause <= min(MAX_PAUSE, FIRST_PAUSE * 2**number)
    for number in range(4):
        assert len({run.sleeps[number] for run in runs}) > 20
    assert max(pause for run in runs for pause in run.sleeps) > MAX_PAUSE / 2


def test_progress_restarts_the_retry_budget() -> None:
    run = Run(broken(MIN_PROGRESS), seconds=20, forever=True)
    assert run.read() == CONTENT
    assert run.elapsed > 5 * BUDGET


def test_a_trickle_is_no_progress() -> None:
    run = Run(broken(1), seconds=1, forever=True)
    with pytest.raises(SourceUnavailable):
        run.read()
    assert run.elapsed <= BUDGET + 2


def test_a_trickle_over_many_connections_adds_up() -> None:
    run = Run(broken(MIN_PROGRESS // 8), seconds=1, forever=True)
    assert run.read() == CONTENT


def test_what_the_reader_does_between_its_reads_is_no_silence() -> None:
    run = Run(broken(1000), broken(), broken(1000))
    assert run.read(Span(0, 5000), size=1000, between=lambda: run.clock.pass_by(10 * BUDGET)) == CONTENT[:5000]
    hopeless = Run((100, SourceUnavailable("gone")), *[broken()] * 1000)
    with pytest.raises(SourceUnavailable):
        hopeless.read(size=100, between=lambda: hopeless.clock.pass_by(MAX_WITHOUT_PROGRESS))
    assert hopeless.elapsed == pytest.approx(MAX_WITHOUT_PROGRESS + BUDGET)


def skipping(run: Run, seconds: float) -> None:
    """Have the server send, before the bytes of each connection, those before them, which takes so long."""
    at: list[int] = []

    def skip() -> None:
        if len(run.flaky.positions) not in at:
            at.append(len(run.flaky.positions))
            run.clock.pass_by(seconds / 2)
            run.meter.add_skipped(1 << 30)
            run.clock.pass_by(seconds / 2)
            run.meter.add_skipped(1 << 30)

    run.flaky.skip = skip


@pytest.mark.parametrize("before", [0, 100], ids=["at once", "after a few bytes"])
def test_an_error_after_a_long_way_to_the_missing_bytes_is_retried(before: int) -> None:
    """A server that ignores ranges sends the beginning of a resumed file again, which may take long."""
    run = Run(broken(before), broken(before))
    skipping(run, 5 * BUDGET)
    assert run.read(Span(1000, 5000), size=1000) == CONTENT[1000:5000]
    assert len(run.flaky.positions) == 3


def test_the_way_to_the_missing_bytes_is_no_progress() -> None:
    run = Run(broken(1), seconds=1, forever=True)
    skipping(run, 5 * BUDGET)
    with pytest.raises(SourceUnavailable):
        run.read()
    tries = len(run.flaky.positions)
    assert run.elapsed - tries * 5 * BUDGET <= BUDGET + 2


def test_silence_on_the_way_to_the_missing_bytes_counts() -> None:
    run = Run(broken(), forever=True)

    def skip() -> None:
        run.meter.add_skipped(1)
        run.clock.pass_by(2 * BUDGET)

    run.flaky.skip = skip
    with pytest.raises(SourceUnavailable):
        run.read()
    assert len(run.flaky.positions) == 1


def test_a_pause_before_the_way_to_the_missing_bytes_is_taken_off_once() -> None:
    run = Run(pause_of(BUDGET), broken(), forever=True)
    skipping(run, 5 * BUDGET)
    with pytest.raises(DownloadError):
        run.read()
    assert run.elapsed - len(run.flaky.positions) * 5 * BUDGET <= MAX_WITHOUT_PROGRESS + BUDGET


@pytest.mark.parametrize("kind", [ProtocolFailed, IntegrityError, AccessDenied])
def test_what_will_not_pass_is_raised_at_once(kind: type[DownloadError]) -> None:
    for errors in ([(500, kind("why"))], [broken(500), (0, kind("why"))]):
        run = Run(*errors)
        with pytest.raises(kind, match="why"):
            run.read()
        assert len(run.flaky.positions) == len(errors)


def test_silence_to_the_end_is_a_stall() -> None:
    run = Run((100, SourceSilent("nothing comes")), (0, SourceSilent("nothing comes")), forever=True, seconds=10)
    run.flaky._errors = itertools.repeat((0, SourceSilent("nothing comes")))  # noqa: SLF001
    with pytest.raises(Stalled, match="nothing comes: nothing came for 60 s") as caught:
        run.read()
    assert isinstance(caught.value.__cause__, SourceSilent)


def test_an_error_behind_the_last_byte_does_not_count() -> None:
    run = Run(broken(5000))
    assert run.read(Span(0, 5000)) == CONTENT[:5000]
    assert run.flaky.positions == [0]
    with pytest.raises(ProtocolFailed):
        Run((5000, ProtocolFailed("more bytes than there are"))).read(Span(0, 5000))


def test_a_span_without_bytes_needs_no_request() -> None:
    run = Run()
    assert run.read(Span(7, 7)) == b""
    assert run.flaky.positions == []


def test_a_pause_is_kept_shown_and_no_silence() -> None:
    run = Run(pause_of(300), pause_of(300), pause_of(200))
    seen: list[tuple[float, str, bool]] = []
    sleep = run.cancellation.sleep

    def look(seconds: float) -> None:
        with run.meter.waiting_for_network():
            seen.append((seconds, run.meter.snapshot().waiting, run.meter.stall_clock_running))
        sleep(seconds)

    run.cancellation.sleep = look  # type: ignore[method-assign]
    assert run.read() == CONTENT
    long = [(message, suspicious) for seconds, message, suspicious in seen if seconds > MAX_PAUSE]
    assert len(long) == 3
    assert all("asks for a pause of" in message and not suspicious for message, suspicious in long)
    assert 799 < run.elapsed < 800 + BUDGET
    assert run.meter.snapshot().message == ""


def test_a_pause_without_a_length_is_left_to_the_policy() -> None:
    run = Run(pause_of(None), pause_of(None))
    assert run.read() == CONTENT
    assert max(run.sleeps) <= 4 * FIRST_PAUSE


def test_a_pause_is_one_for_all_threads() -> None:
    run = Run(pause_of(100))
    run.policy.honour_retry_after(Throttled("slow down", retry_after=100))
    run.policy.honour_retry_after(Throttled("slow down", retry_after=20))
    assert run.policy.wait_for_pause() == pytest.approx(100)
    assert run.policy.wait_for_pause() == 0
    other = RetryingSource(Flaky(run.clock, [broken()]), run.policy)
    run.policy.honour_retry_after(Throttled("slow down", retry_after=50))
    began = run.clock.now
    body = other.open(FILE, Span(0, 10))
    assert body.readinto(memoryview(bytearray(10))) == 10
    assert run.clock.now - began >= 50


def test_a_refusal_that_was_on_its_way_when_a_pause_began_is_a_part_of_it() -> None:
    run = Run()
    asked_at = run.clock.now
    run.clock.pass_by(1)
    run.policy.honour_retry_after(Throttled("slow down", retry_after=8, asked_at=asked_at))
    assert run.policy.wait_for_pause() == pytest.approx(7), "it counts from when it was asked for"
    run.policy.honour_retry_after(Throttled("slow down", retry_after=8, asked_at=asked_at))
    assert run.policy.wait_for_pause() == 0, "it was asked for before the pause, however late it is read"
    run.policy.honour_retry_after(Throttled("slow down", retry_after=60, asked_at=asked_at))
    assert run.policy.wait_for_pause() == pytest.approx(52), "a longer one lasts longer"
    run.policy.honour_retry_after(Throttled("slow down", retry_after=8))
    assert run.policy.wait_for_pause() == pytest.approx(8), "one that has just been asked for is a new one"


def test_a_refusal_counts_before_its_reader_waits_for_the_pause_of_another() -> None:
    run = Run(pause_of(12))
    opened = run.flaky.open

    def refused_with_others(_file: RemoteFile, span: Span) -> FlakyBody:
        run.flaky.open = opened  # type: ignore[method-assign]
        run.policy.honour_retry_after(Throttled("slow down", retry_after=12))
        return opened(_file, span)

    run.flaky.open = refused_with_others  # type: ignore[method-assign]
    assert run.read() == CONTENT
    assert 12 <= run.elapsed < 13


def test_nothing_is_asked_for_during_a_pause_by_a_new_worker() -> None:
    run = Run()
    run.policy.honour_retry_after(Throttled("slow down", retry_after=30))
    later = RetryPolicy(BUDGET, run.meter, run.cancellation, run.policy.shared_pause)  # as the next protocol has it
    began = run.clock.now
    body = RetryingSource(run.flaky, later).open(FILE, Span(0, 10))
    assert body.readinto(memoryview(bytearray(10))) == 10
    assert run.clock.now - began == pytest.approx(30)
    body.close()


def test_nothing_is_announced_during_a_pause() -> None:
    run = Run()
    prefetched: list[int] = []
    run.flaky.prefetch = lambda pieces: prefetched.append(len(pieces))  # type: ignore[method-assign]
    run.policy.honour_retry_after(Throttled("slow down", retry_after=30))
    run.source.prefetch([(FILE, Span(0, 10))])
    run.source.prefetch([])
    assert prefetched == [0], "only that nothing is to be asked for is passed on"
    run.clock.pass_by(30)
    run.source.prefetch([(FILE, Span(0, 10))])
    assert prefetched == [0, 1]


def test_a_pause_that_is_too_long_is_left_to_another_protocol() -> None:
    run = Run(pause_of(MAX_RETRY_AFTER + 1))
    with pytest.raises(ProtocolFailed, match="601 s") as caught:
        run.read()
    assert "try again later" in caught.value.hint
    assert run.sleeps == []
    Run(pause_of(MAX_RETRY_AFTER)).read()


def test_pauses_altogether_are_borne_for_a_quarter_of_an_hour() -> None:
    run = Run(pause_of(100), forever=True)
    with pytest.raises(Throttled):
        run.read()
    assert MAX_WITHOUT_PROGRESS <= run.elapsed <= MAX_WITHOUT_PROGRESS + 120


def test_cancellation_ends_a_pause_and_says_why() -> None:
    run = Run(pause_of(300))
    run.cancellation = Sleepless(run.clock, cancel_after=10, reason=Cancelled())
    policy = RetryPolicy(BUDGET, run.meter, run.cancellation, SharedPause(run.clock))
    source = RetryingSource(run.flaky, policy)
    with pytest.raises(Cancelled):
        source.open(FILE, Span(0, 10)).readinto(memoryview(bytearray(10)))
    assert run.meter.snapshot().message == ""


def test_a_thread_that_pauses_is_woken_by_the_cancellation() -> None:
    meter, cancellation = ProgressMeter(), Cancellation()
    source = RetryingSource(
        Flaky(Clock(), [pause_of(500)]), RetryPolicy(BUDGET, meter, cancellation, SharedPause(meter.clock))
    )
    errors: list[DownloadError] = []

    def read() -> None:
        try:
            source.open(FILE, Span(0, 10)).readinto(memoryview(bytearray(10)))
        except DownloadError as error:
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    thread.join(0.02)
    reason = Cancelled()
    cancellation.cancel(reason)
    thread.join(AT_LAST)
    assert errors == [reason]


def test_a_listing_is_tried_again_and_its_own_time_is_no_silence() -> None:
    run = Run(broken(), broken(), seconds=20)
    assert run.source.manifest().files == (FILE,)
    assert run.flaky.listings == 3
    long = Run(broken(), broken(), seconds=50)
    assert long.source.manifest().files == (FILE,)
    longer = Run(broken(), seconds=10 * BUDGET)
    assert longer.source.manifest().files == (FILE,)
    version = Run(broken(), broken(), seconds=20)
    assert version.source.version() == "c0ffee"
    assert version.flaky.listings == 3


def test_a_listing_that_never_works_ends() -> None:
    run = Run(broken(), seconds=10 * BUDGET, forever=True)
    with pytest.raises(SourceUnavailable):
        run.source.manifest()
    assert run.flaky.listings == 2
    with pytest.raises(AccessDenied):
        Run((0, AccessDenied("no"))).source.manifest()


def test_an_interruption_reaches_the_open_body() -> None:
    run = Run()
    body = run.source.open(FILE, Span(0, 100))
    body.interrupt()
    body.readinto(memoryview(bytearray(10)))
    body.interrupt()
    body.close()
    body.interrupt()
    assert run.flaky.interrupted == 1


def test_what_another_wrapper_counts_is_not_counted_twice() -> None:
    run = Run()
    source = RetryingSource(run.flaky, run.policy, counted=False)
    assert source.open(FILE, Span(0, 100)).readinto(memoryview(bytearray(100))) == 100
    assert run.meter.snapshot().received_bytes == 0
