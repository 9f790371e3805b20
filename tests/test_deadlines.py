"""The limits that follow from STALL_TIMEOUT keep their order, whatever it is."""

from __future__ import annotations

from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.deadlines import Deadlines

SECONDS = st.floats(0.1, 1e9)


@given(SECONDS)
def test_whatever_can_name_a_cause_gives_up_before_the_watchdog(stall: float) -> None:
    limits = Deadlines.of(stall)
    assert limits.last_retry < limits.retry_budget < limits.stall
    assert max(limits.xet_token, limits.xet_retry_budget) <= limits.stall / 2
    assert limits.connect <= limits.read


@given(SECONDS)
def test_every_limit_is_a_positive_time(stall: float) -> None:
    assert min(astuple(Deadlines.of(stall))) > 0


@pytest.mark.parametrize(
    ("stall", "read", "connect", "xet"), [(120.0, 30.0, 10.0, 30), (8.0, 2.0, 2.0, 2), (1.0, 1.0, 1.0, 1)]
)
def test_the_limits_of_one_read(stall: float, read: float, connect: float, xet: int) -> None:
    limits = Deadlines.of(stall)
    assert (limits.read, limits.connect, limits.xet_read) == (read, connect, xet)
