"""Counters, snapshots, the watchdog over them and the clock that shows them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.artifact import TransferProtocol
from downloader.cancellation import Cancellation
from downloader.errors import SourceUnavailable, Stalled, VolumeError
from downloader.progress import FLOOR_RATE, Attempt, Phase, ProgressMeter, Snapshot, StallWatchdog, Ticker, Wait
from downloader.progress.meter import RATE_WINDOW
from tests.clocks import Clock
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.errors import DownloadError

TIMEOUT = 120.0
STEP = 0.5
SEQUENCE = (TransferProtocol.XET, TransferProtocol.HTTP)


class Run:
    """A meter with a clock of its own, in the middle of an attempt."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.meter = ProgressMeter(self.clock)
        self.meter.expect(1000, 3)
        self.watchdog = StallWatchdog(self.meter, TIMEOUT)
        self.begin()

    def begin(self) -> Cancellation:
        self.attempt = Cancellation()
        self.meter.begin_attempt(TransferProtocol.XET, 1, SEQUENCE, "why")
        self.watchdog.guard(self.attempt)
        return self.attempt

    def reason(self) -> DownloadError | None:
        """Return why the attempt has ended."""
        return self.attempt.reason

    def let(self, seconds: float, *, per_second: float = 0.0, stuck: str = "") -> None:
        """Let time pass, in which bytes arrive, with looks at every half second."""
        due = 0.0
        for _ in range(round(seconds / STEP)):
            self.clock.pass_by(STEP)
            due += per_second * STEP
            self.meter.add_received(int(due))
            self.meter.add_written(int(due))
            due -= int(due)
            self.watchdog.check(self.meter.snapshot(stuck))


def test_a_snapshot_has_the_attempts_and_the_seconds_in_each_phase() -> None:
    run = Run()
    run.let(4, per_second=100)
    error = SourceUnavailable("no")
    run.meter.end_attempt(error, 2)
    run.meter.begin_attempt(TransferProtocol.HTTP, 2, SEQUENCE, "")
    run.let(2, per_second=50)
    run.meter.add_written(-30)
    going_on = run.meter.snapshot()
    run.meter.end_attempt(None, 0)
    run.meter.enter(Phase.VERIFYING)
    run.clock.pass_by(3)
    done = run.meter.snapshot()

    first = Attempt(TransferProtocol.XET, 1, 4.0, 400, 0, 2, error)
    assert going_on.attempts == (first, Attempt(TransferProtocol.HTTP, 2, 2.0, 100, 30, None, None))
    assert done.attempts == (first, Attempt(TransferProtocol.HTTP, 2, 2.0, 100, 30, 0, None))
    assert dict(done.phases) == {Phase.LISTING: 0.0, Phase.DOWNLOADING: 6.0, Phase.VERIFYING: 3.0}


def test_what_is_found_after_a_second_listing_is_not_called_reused() -> None:
    run = Run()
    run.meter.add_reused(300)
    run.meter.reset()
    run.meter.add_reused(700)
    assert (run.meter.snapshot().reused_bytes, run.meter.snapshot().done_bytes) == (300, 700)


def test_a_snapshot_says_what_happened() -> None:
    run = Run()
    run.meter.add_received(600)
    run.meter.add_written(500)
    run.meter.add_done_files(1)
    assert run.meter.snapshot("the volume") == Snapshot(
        Phase.DOWNLOADING,
        total_bytes=1000,
        done_bytes=500,
        received_bytes=600,
        total_files=3,
        done_files=1,
        protocol=TransferProtocol.XET,
        attempt=1,
        sequence=SEQUENCE,
        message="why",
        stuck_volume="the volume",
    )


@given(st.lists(st.integers(-500, 800), max_size=30))
def test_shown_bytes_never_fall_and_never_pass_the_total(changes: list[int]) -> None:
    run, shown = Run(), [0]
    for change in changes:
        run.meter.add_written(change)
        shown.append(run.meter.snapshot().done_bytes)
    assert shown == sorted(shown)
    assert shown[-1] <= 1000


def test_what_is_fetched_again_does_not_count_twice() -> None:
    run = Run()
    run.meter.add_written(800)
    assert run.meter.snapshot().done_bytes == 800
    run.meter.add_written(-800)
    run.meter.add_written(500)
    assert run.meter.snapshot().done_bytes == 800
    run.meter.add_written(400)
    assert run.meter.snapshot().done_bytes == 900


def test_a_new_listing_begins_at_nothing() -> None:
    run = Run()
    run.meter.add_written(800)
    run.meter.add_done_files(1)
    run.meter.snapshot()
    run.meter.reset()
    assert (run.meter.snapshot().done_bytes, run.meter.snapshot().done_files) == (0, 0)


def test_rate_and_remaining_time_follow_the_last_seconds() -> None:
    run = Run()
    run.meter.expect(1_000_000, 1)
    run.let(60, per_second=10_000)
    assert run.meter.snapshot().rate == pytest.approx(10_000, rel=0.01)
    assert run.meter.snapshot().eta == pytest.approx(40, rel=0.01)
    run.let(RATE_WINDOW + 1, per_second=2000)
    assert run.meter.snapshot().rate == pytest.approx(2000, rel=0.01)
    assert run.meter.snapshot().eta == pytest.approx(189, rel=0.01)


def test_rate_and_remaining_time_are_of_bytes_that_stay() -> None:
    run = Run()
    run.meter.expect(1_000_000, 2)
    run.let(60, per_second=10_000)
    for _ in range(20):
        run.meter.add_received(50_000)  # what comes and is thrown away again
        run.meter.add_written(50_000)
        run.let(STEP)
        run.meter.add_written(-50_000)
    assert (run.meter.snapshot().rate, run.meter.snapshot().eta) == (0, None)
    assert run.meter.snapshot().discarded_bytes == 1_000_000
    run.meter.add_written(-200_000)
    run.let(RATE_WINDOW + 1, per_second=1000)
    snapshot = run.meter.snapshot()
    assert snapshot.done_bytes == 650_000, "what is shown never falls"
    assert snapshot.rate == pytest.approx(1000, rel=0.01)
    assert snapshot.eta == pytest.approx(589, rel=0.01), "what was thrown away has to come again"


def test_after_a_switch_the_rate_starts_again() -> None:
    run = Run()
    run.meter.expect(1_000_000, 1)
    run.let(9, per_second=50_000)
    run.begin()
    assert (run.meter.snapshot().rate, run.meter.snapshot().eta) == (0, None)
    run.let(2, per_second=1000)
    assert run.meter.snapshot().rate == pytest.approx(1000, rel=0.01)


def test_what_a_resumed_run_finds_on_the_volume_is_no_rate() -> None:
    clock = Clock()
    meter = ProgressMeter(clock)
    meter.expect(1_000_000, 1)
    clock.pass_by(5)
    meter.add_written(900_000)
    meter.begin_attempt(TransferProtocol.XET, 1, SEQUENCE, "")
    clock.pass_by(1)
    meter.add_written(1000)
    assert meter.snapshot().rate == pytest.approx(1000, rel=0.01)


def test_an_error_is_shown_with_the_time_that_is_left_while_no_byte_arrives() -> None:
    run = Run()
    error = Wait("refused; trying again", run.clock(), run.clock() + 60)
    run.meter.begin_retry(error)
    run.clock.pass_by(20)
    assert (run.meter.snapshot().waiting, run.meter.snapshot().wait_left) == ("refused; trying again", 40)
    run.meter.add_received(1)
    assert (run.meter.snapshot().waiting, run.meter.snapshot().wait_left) == ("", None)
    run.meter.end_retry(error)
    assert run.meter.snapshot().wait_left is None


def test_without_bytes_there_is_no_rate_and_no_remaining_time() -> None:
    run = Run()
    assert (run.meter.snapshot().rate, run.meter.snapshot().eta) == (0, None)
    run.let(5, per_second=1000)
    assert run.meter.snapshot().rate > 0
    run.let(RATE_WINDOW + 1)
    assert (run.meter.snapshot().rate, run.meter.snapshot().eta) == (0, None)


def test_a_trickle_is_no_forecast() -> None:
    run = Run()
    run.meter.expect(1 << 40, 1)
    run.let(RATE_WINDOW, per_second=2000)
    assert (run.meter.snapshot().rate, run.meter.snapshot().eta) == (2000, None)
    run.let(RATE_WINDOW + 1, per_second=0.2)
    assert run.meter.snapshot().rate == 0


def test_a_long_listing_does_not_spoil_the_rate() -> None:
    clock = Clock()
    meter = ProgressMeter(clock)
    for _ in range(600):
        clock.pass_by(STEP)
        meter.snapshot()
    meter.begin_attempt(TransferProtocol.XET, 1, SEQUENCE, "")
    for _ in range(30):
        clock.pass_by(STEP)
        meter.add_written(500)
        meter.snapshot()
    assert meter.snapshot().rate == pytest.approx(1000, rel=0.01)


def test_only_a_download_has_a_rate() -> None:
    run = Run()
    run.let(5, per_second=1000)
    run.meter.enter(Phase.VERIFYING)
    assert (run.meter.snapshot().rate, run.meter.snapshot().eta) == (0, None)


@pytest.fixture
def run() -> Iterator[Run]:
    """A run in which a thread waits for the network."""
    run = Run()
    with run.meter.waiting_for_network():
        yield run


def test_an_attempt_in_which_nothing_arrives_is_ended_after_the_timeout(run: Run) -> None:
    run.let(TIMEOUT - 1)
    assert run.reason() is None
    run.let(2)
    assert isinstance(run.reason(), Stalled)
    assert str(run.reason()) == "no byte arrived over XET for 120 s"


def test_a_stall_names_who_was_asked_last_unless_that_was_for_xet_alone(run: Run) -> None:
    run.meter.last_host = "hub.test"
    run.let(TIMEOUT + 1)
    assert str(run.reason()) == "no byte arrived over XET for 120 s"
    run.meter.begin_attempt(TransferProtocol.HTTP, 2, SEQUENCE, "")
    assert run.meter.last_host == ""
    run.meter.last_host = "cdn.test:8443"
    run.watchdog.guard(attempt := Cancellation())
    run.let(TIMEOUT + 1)
    assert str(attempt.reason) == "no byte arrived from cdn.test:8443 over HTTP for 120 s"


def test_a_trickle_is_no_movement_and_a_stream_is(run: Run) -> None:
    run.let(3 * TIMEOUT, per_second=FLOOR_RATE * 1.1)
    assert run.reason() is None
    run.let(2 * TIMEOUT, per_second=FLOOR_RATE * 0.9)
    assert isinstance(run.reason(), Stalled)
    assert "only" in str(run.reason())


def test_bytes_now_and_then_are_movement(run: Run) -> None:
    for _ in range(6):
        run.let(TIMEOUT - 5)
        run.meter.add_received(int(FLOOR_RATE * TIMEOUT) + 1)
    assert run.reason() is None


def test_a_rest_stops_the_clock(run: Run) -> None:
    run.let(TIMEOUT - 1)
    with run.meter.paused("the server asked for a pause", 300):
        assert (run.meter.snapshot().waiting, run.meter.snapshot().wait_left) == ("the server asked for a pause", 300)
        run.let(100)
        assert run.meter.snapshot().wait_left == 200
        run.let(200)
    assert (run.meter.snapshot().waiting, run.meter.snapshot().wait_left) == ("", None)
    run.let(TIMEOUT - 1)
    assert run.reason() is None
    run.let(2)
    assert run.reason() is not None


def test_of_several_rests_the_last_is_shown_and_each_stops_the_clock(run: Run) -> None:
    with run.meter.paused("first", 60):
        with run.meter.paused("second", 60):
            assert run.meter.snapshot().waiting == "second"
        assert run.meter.snapshot().waiting == "first"
        assert not run.meter.stall_clock_running
    assert run.meter.stall_clock_running


def test_a_stuck_volume_stops_the_clock(run: Run) -> None:
    run.let(TIMEOUT - 1)
    run.let(1000, stuck="the volume has not answered for 300 s")
    run.let(TIMEOUT - 1)
    assert run.reason() is None


def test_silence_is_no_stall_while_no_thread_waits_for_the_network() -> None:
    run = Run()
    run.let(10 * TIMEOUT)
    assert run.reason() is None


@pytest.mark.parametrize("phase", sorted(set(Phase) - {Phase.DOWNLOADING, Phase.LISTING}))
def test_only_what_waits_for_the_source_can_stall(run: Run, phase: Phase) -> None:
    run.meter.enter(phase)
    run.let(10 * TIMEOUT)
    assert run.reason() is None


def test_a_listing_stalls_when_neither_answers_nor_bytes_come(run: Run) -> None:
    run.meter.enter(Phase.LISTING)
    for _ in range(3):
        run.let(TIMEOUT - 1)
        run.meter.add_metadata_response()
    for _ in range(3):
        run.let(TIMEOUT - 1)
        run.meter.add_metadata(int(FLOOR_RATE * TIMEOUT) + 1)
    assert run.reason() is None
    run.let(TIMEOUT + 2)
    assert isinstance(run.reason(), Stalled)
    assert str(run.reason()) == "no byte arrived of the listing for 120 s"


def test_what_was_listed_is_not_shown_as_downloaded() -> None:
    meter = ProgressMeter()
    meter.add_metadata(5000)
    meter.add_metadata_response()
    assert meter.snapshot().received_bytes == 0
    assert meter.metadata == (1, 5000)


def test_each_attempt_has_a_clock_of_its_own(run: Run) -> None:
    first = run.attempt
    run.let(TIMEOUT - 1)
    run.watchdog.guard(None)
    run.let(TIMEOUT)
    second = run.begin()
    run.let(TIMEOUT - 1)
    assert (first.reason, second.reason) == (None, None)
    run.let(2)
    assert first.reason is None
    assert isinstance(second.reason, Stalled)


def test_silence_is_counted_from_the_last_byte_or_the_last_beginning() -> None:
    run = Run()
    run.let(7)
    run.meter.add_received(1)
    run.clock.pass_by(5)
    assert run.meter.idle_seconds() == 5
    run.begin()
    assert run.meter.idle_seconds() == 0
    run.clock.pass_by(4)
    run.meter.enter(Phase.VERIFYING)
    assert run.meter.idle_seconds() == 0


def test_many_threads_count_right() -> None:
    meter = ProgressMeter()
    meter.expect(1 << 30, 0)

    def work() -> None:
        for _ in range(1000):
            with meter.waiting_for_network():
                meter.add_received(3)
            meter.add_written(2)
            meter.add_done_files(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = meter.snapshot()
    assert (last.received_bytes, last.done_bytes, last.done_files) == (12_000, 8000, 4000)
    assert not meter.stall_clock_running


def test_the_ticker_shows_what_changed_at_once_and_to_all_reporters() -> None:
    meter, seen = ProgressMeter(), list[Phase]()

    def fail(_: Snapshot) -> None:
        raise VolumeError("a watcher that breaks breaks nothing")

    ticker = Ticker(meter, [fail, lambda snapshot: seen.append(snapshot.phase)], interval=30)
    ticker.start()
    assert eventually(lambda: seen == [Phase.LISTING])
    meter.enter(Phase.DOWNLOADING)
    assert eventually(lambda: seen[-1] is Phase.DOWNLOADING)
    meter.enter(Phase.DONE)
    assert eventually(lambda: seen[-1] is Phase.DONE)
    ticker.stop()
    count = len(seen)
    meter.enter(Phase.FAILED)
    assert len(seen) == count


def test_the_ticker_ticks_and_knows_of_the_volume() -> None:
    seen: list[str] = []
    ticker = Ticker(
        ProgressMeter(),
        [lambda snapshot: seen.append(snapshot.stuck_volume)],
        stuck_volume=lambda: "stuck",
        interval=0.005,
    )
    ticker.start()
    assert eventually(lambda: len(seen) > 3)
    ticker.stop()
    ticker.stop()
    assert set(seen) == {"stuck"}


def test_a_ticker_that_never_began_can_be_stopped() -> None:
    seen: list[Snapshot] = []
    Ticker(ProgressMeter(), [seen.append]).stop()
    assert seen == []
