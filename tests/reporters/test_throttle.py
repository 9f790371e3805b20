"""When status patches are due."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.artifact import TransferProtocol
from downloader.progress import Phase, Snapshot
from downloader.reporters.kubernetes.status import Status, status_of
from downloader.reporters.kubernetes.throttle import PatchThrottle

DOWNLOADING = Snapshot(
    phase=Phase.DOWNLOADING,
    total_bytes=1000,
    done_bytes=100,
    protocol=TransferProtocol.XET,
    attempt=1,
    sequence=(TransferProtocol.XET, TransferProtocol.HTTP),
    rate=10.0,
    eta=90.0,
)
FURTHER = replace(DOWNLOADING, done_bytes=101, rate=11.0)
START = 0.0


def throttle(interval: float = 10.0, chance: float = 0.0) -> PatchThrottle:
    """Return one that wrote DOWNLOADING just now."""
    throttle = PatchThrottle(interval, chance=lambda: chance)
    throttle.written(status_of(DOWNLOADING), START)
    return throttle


def pause(throttle: PatchThrottle, snapshot: Snapshot) -> float:
    return throttle.due(status_of(snapshot, throttle.written_status)) - START


def test_the_first_status_is_due_at_once() -> None:
    assert PatchThrottle(10).due(status_of(DOWNLOADING)) < START


@pytest.mark.parametrize(
    "change",
    [
        {"phase": Phase.VERIFYING},
        {"protocol": TransferProtocol.HTTP},
        {"attempt": 2},
        {"sequence": (TransferProtocol.XET,)},
        {"stuck_volume": "fsync takes 301 s"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_new_stage_is_due_at_once(change: dict[str, object]) -> None:
    assert pause(throttle(), replace(FURTHER, **change)) == 0  # type: ignore[arg-type]


def test_a_volume_that_answers_again_is_due_at_once_but_how_long_it_is_silent_is_no_news() -> None:
    stuck = replace(DOWNLOADING, stuck_volume="fsync takes 301 s")
    stuck_throttle = PatchThrottle(10, chance=lambda: 0.0)
    stuck_throttle.written(status_of(stuck), START)

    assert pause(stuck_throttle, DOWNLOADING) == 0
    assert pause(stuck_throttle, replace(stuck, stuck_volume="fsync takes 302 s")) == 60


def test_new_numbers_wait_for_the_interval() -> None:
    assert pause(throttle(), FURTHER) == 10
    assert pause(throttle(interval=2), FURTHER) == 2


def test_a_new_rate_is_only_a_number() -> None:
    assert pause(throttle(), replace(DOWNLOADING, rate=99.0)) == 10


def test_a_new_message_is_due_soon_but_a_swarm_of_them_is_not_written_one_by_one() -> None:
    assert pause(throttle(), replace(DOWNLOADING, message="trying again")) == 2
    assert pause(throttle(interval=1), replace(DOWNLOADING, message="trying again")) == 1


def test_what_does_not_change_is_written_again_each_minute() -> None:
    assert pause(throttle(), DOWNLOADING) == 60
    assert pause(throttle(chance=0.99), DOWNLOADING) < 60


def test_the_interval_is_a_floor_for_the_heartbeat_too() -> None:
    assert pause(throttle(interval=90), DOWNLOADING) == 90


@given(st.floats(0, 0.999), st.integers(1, 60))
def test_chance_never_shortens_the_interval_and_never_lengthens_the_heartbeat(chance: float, interval: int) -> None:
    patient = throttle(interval, chance)

    assert interval <= pause(patient, FURTHER) <= interval * 1.1
    assert pause(patient, DOWNLOADING) <= max(60.0, interval * 1.1)


def test_pauses_grow_up_to_a_minute_while_the_server_fails() -> None:
    failing = throttle()
    now, pauses = START, []
    for _ in range(9):
        failing.busy(now, None)
        pauses.append(failing.due(verifying()) - now)
        now += pauses[-1]

    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_success_forgets_earlier_errors() -> None:
    recovered = throttle()
    recovered.busy(START, None)
    recovered.busy(START, None)
    recovered.written(status_of(DOWNLOADING), START)
    recovered.busy(START, None)

    assert recovered.due(verifying()) == START + 1


@pytest.mark.parametrize(("named", "kept"), [(0, 0), (7, 7), (300, 300), (86400, 600)])
def test_the_pause_that_the_server_names_is_kept_within_reason(named: float, kept: float) -> None:
    asked = throttle()
    asked.busy(START, named)

    assert asked.due(verifying()) == START + kept


def test_chance_only_lengthens_the_pause_that_the_server_names() -> None:
    asked = throttle(chance=0.5)
    asked.busy(START, 100)

    assert asked.due(verifying()) == pytest.approx(START + 105)


def test_after_a_refusal_it_asks_after_a_minute_and_then_ever_more_rarely() -> None:
    unwanted = throttle()
    now, pauses = START, []
    for _ in range(6):
        unwanted.refused(now)
        pauses.append(unwanted.due(verifying()) - now)
        now += pauses[-1]

    assert pauses == [60, 120, 240, 480, 600, 600]


def verifying() -> Status:
    return status_of(replace(DOWNLOADING, phase=Phase.VERIFYING))
