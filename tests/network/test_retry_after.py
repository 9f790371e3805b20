"""The pause that a server asks for, as a number, a date or the rest of a window."""

from __future__ import annotations

import email.utils
import math
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from downloader.network.retry_after import retry_after, window_left


def in_(seconds: float) -> str:
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        (" 120 ", 120),
        ("0", 0),
        ("007", 7),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("²", None),
        ("٣", None),
        ("Mon, 99 Foo 2026 10:00:00 GMT", None),
        ("Mon, 99999999999999999999 Jan 2020 00:00:00 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 0),
        ("Wednesday, 21-Oct-15 07:28:00 GMT", 0),
        ("Wed Oct 21 07:28:00 2015", 0),
    ],
)
def test_retry_after_is_a_number_or_a_date(text: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": text}) == seconds


def test_retry_after_as_a_date_counts_from_now() -> None:
    found = retry_after({"retry-after": in_(90)})
    assert found is not None
    assert 80 < found <= 90


def test_without_retry_after_there_is_no_pause() -> None:
    assert retry_after({}) is None


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        ('"resolvers";r=0;t=12', 12),
        ('"resolvers"; r=0; t=12', 12),
        ('"resolvers";t=12;r=0', 12),
        ("resolvers;r=0;t=12", 12),
        ('"a;r=0;t=9, b";r=0;t=3', 3),
        ('"api";r=3;t=200, "resolvers";r=0;t=12', 12),
        ('"hour";r=0;t=300,"minute";r=0;t=12', 300),
        ('"resolvers";r=0;t=12;pk=:abc=:', 12),
        ('"resolvers";r=5;t=12', None),
        ('"resolvers";r=00;t=12', None),
        ('"resolvers";r=0', None),
        ('"resolvers";r=0;t=-1', None),
        ('"resolvers";r=0;t=1.5', None),
        ("limit=100, remaining=0, reset=12", None),
        ("", None),
        ('";;;,,,"=";r', None),
    ],
)
def test_a_window_in_which_nothing_is_left_is_a_pause(field: str, seconds: float | None) -> None:
    assert window_left({"ratelimit": field}) == retry_after({"ratelimit": field}) == seconds


def test_of_two_pauses_the_longer_one_counts() -> None:
    field = {"ratelimit": '"api";r=0;t=12'}
    assert retry_after({**field, "retry-after": "7"}) == 12
    assert retry_after({**field, "retry-after": "70"}) == 70
    assert retry_after({**field, "retry-after": "soon"}) == 12


def test_retry_after_as_a_date_counts_by_the_clock_of_the_server() -> None:
    late = {"date": "Wed, 21 Oct 2015 07:28:00 GMT", "retry-after": "Wed, 21 Oct 2015 07:28:30 GMT"}
    assert retry_after(late) == 30
    assert retry_after({**late, "date": "yesterday"}) == 0


@given(st.text(alphabet='";=,rt0 19a', max_size=80))
@example('"' * 4000)
@example('"a";r=0;t=' + "9" * 5000)
def test_whatever_stands_in_ratelimit_is_a_pause_or_none(text: str) -> None:
    found = window_left({"ratelimit": text})
    assert found is None or found >= 0


DATES = st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,6} \d\d:\d\d:\d\d [-+A-Z0-9]{3,5}", fullmatch=True)


@given(st.text(max_size=60) | DATES)
@example("9" * 5000)
@example("Mon, 01 Jan 9999 00:00:00 -9999")
def test_whatever_stands_in_retry_after_is_a_pause_or_none(text: str) -> None:
    found = retry_after({"retry-after": text})
    assert found is None or (found >= 0 and not math.isnan(found))
