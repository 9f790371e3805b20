"""The cap on bandwidth: kept over all threads together, and never a reason not to end."""

from __future__ import annotations

import pytest

from downloader.artifact import Span
from downloader.errors import Cancelled
from downloader.progress import ProgressMeter
from downloader.simulation.source import SimulatedSource
from downloader.sources.bandwidth import BURST, MIN_READ_SIZE, Bandwidth, LimitedSource
from tests.clocks import Clock, Sleepless

HUGE = 1 << 40


class Run:
    """An endless source behind a cap."""

    def __init__(self, rate: int) -> None:
        self.clock = Clock()
        self.cancellation = Sleepless(self.clock)
        self.bandwidth = Bandwidth(rate, ProgressMeter(self.clock))
        self.source = LimitedSource(SimulatedSource("hf://org/model", HUGE), self.bandwidth, self.cancellation)
        self.file = self.source.manifest().files[0]


@pytest.mark.parametrize("rate", [20_000, 1_000_000, 200_000_000])
@pytest.mark.parametrize("bodies", [1, 8])
def test_the_rate_is_kept_within_five_percent(rate: int, bodies: int) -> None:
    run = Run(rate)
    opened = [run.source.open(run.file, Span(0, HUGE)) for _ in range(bodies)]
    view, total, began = memoryview(bytearray(4 << 20)), 0, run.clock.now
    while run.clock.now - began < 10:
        for body in opened:
            total += body.readinto(view)
    assert total / (run.clock.now - began) == pytest.approx(rate, rel=0.05)


def test_a_slow_reader_may_not_save_up() -> None:
    run = Run(1_000_000)
    body, view = run.source.open(run.file, Span(0, HUGE)), memoryview(bytearray(4 << 20))
    run.clock.pass_by(1000)
    began, total = run.clock.now, 0
    while run.clock.now - began < 10:
        total += body.readinto(view)
    assert total <= 1_000_000 * (10 + 2 * BURST)


def test_a_reader_that_is_slower_than_the_cap_never_waits() -> None:
    run = Run(1_000_000)
    body, view = run.source.open(run.file, Span(0, HUGE)), memoryview(bytearray(MIN_READ_SIZE))
    for _ in range(100):
        body.readinto(view)
        run.clock.pass_by(0.1)
    assert len(run.cancellation.sleeps) <= 1  # for the first piece, since nothing was saved up


@pytest.mark.parametrize("rate", [1, 20_000, 1_000_000, 1 << 33])
def test_pieces_are_small_beside_the_rate_but_not_tiny(rate: int) -> None:
    piece = Run(rate).bandwidth.read_size
    assert piece >= MIN_READ_SIZE
    assert piece <= max(MIN_READ_SIZE, rate * BURST)


def test_a_waiting_reader_ends_with_the_run() -> None:
    run = Run(20_000)
    run.cancellation.cancel(Cancelled())
    body = run.source.open(run.file, Span(0, HUGE))
    with pytest.raises(Cancelled):
        body.readinto(memoryview(bytearray(1 << 20)))
    body.interrupt()
    body.close()
    run.source.close()
