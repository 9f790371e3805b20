from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.formatting import format_count, format_duration, format_size, reason, single_line


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (99.9 * 1024, "99.9 KiB"),
        (99.96 * 1024, "100 KiB"),
        (1023.4 * 1024, "1023 KiB"),
        (1023.6 * 1024, "1.0 MiB"),
        (404 * 1024**2, "404 MiB"),
        (4 * 1024**3, "4.0 GiB"),
        (2**50, "1.0 PiB"),
        (5000 * 2**50, "5000 PiB"),
    ],
)
def test_bytes_are_named_in_the_unit_that_fits(count: float, text: str) -> None:
    assert format_size(count) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 files"), (1, "1 file"), (2, "2 files")])
def test_a_noun_follows_its_number(count: int, text: str) -> None:
    assert format_count(count, "file") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (123, "2 min 3 s"),
        (3599.7, "1 h 0 min"),
        (3900, "1 h 5 min"),
        (86400 * 2 + 3600 * 4 + 59, "2 d 4 h"),
    ],
)
def test_durations_are_named_by_their_two_largest_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_what_cannot_be_printed_becomes_an_escape() -> None:
    assert single_line("  a\nb\r\x1b[31m\x00\u2028\udcff ä\n") == r"a\nb\r\x1b[31m\x00\u2028\udcff ä"


def test_a_long_line_ends_in_an_ellipsis() -> None:
    assert single_line("abcdef", 6) == "abcdef"
    assert single_line("abcdefg", 6) == "abcde…"


@given(st.text(), st.integers(1, 40))
def test_a_line_is_printable_and_within_its_limit(text: str, limit: int) -> None:
    line = single_line(text, limit)
    assert line.isprintable()
    assert len(line) <= limit
    assert single_line(single_line(text)) == single_line(text)


def _decode() -> UnicodeDecodeError:
    try:
        b"\xff".decode()
    except UnicodeDecodeError as error:
        return error
    raise AssertionError


REASONS = [
    (FileNotFoundError(2, "No such file or directory", "/x"), "No such file or directory"),
    (OSError("[Errno 104] Connection reset by peer"), "Connection reset by peer"),
    (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)"), "wrong version number"),
    (ValueError("[X509] PEM lib (_ssl.c:4149)"), "PEM lib"),
    (ConnectionResetError(), "connection reset"),
    (_decode(), "it is not UTF-8 text"),
    (ValueError("two\nlines"), r"two\nlines"),
]


@pytest.mark.parametrize(("error", "text"), REASONS, ids=[text for _, text in REASONS])
def test_a_reason_has_no_words_that_only_python_needs(error: Exception, text: str) -> None:
    assert reason(error) == text
