"""What statuses, library errors and `Retry-After` mean: the one place for everything that goes over HTTP."""

from __future__ import annotations

import email.utils
import math
import socket
import ssl
import time
from typing import TYPE_CHECKING

import httpx2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from downloader.errors import (
    ConfigurationError,
    ConnectionBroken,
    DownloadError,
    ProtocolFailed,
    SourceChanged,
    SourceSilent,
    SourceUnavailable,
    Throttled,
    UnknownHost,
    UntrustedServer,
    Verdict,
)
from downloader.network.errors import HttpStatusError, map_exception, map_status, retry_after, window_left

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = "https://me:sesame@host.test/model.bin?token=secret"
SHOWN = "https://host.test/model.bin"

MEANINGS: dict[str, type[DownloadError]] = {
    "CloseError": ConnectionBroken,
    "ConnectError": SourceUnavailable,
    "ConnectTimeout": SourceUnavailable,
    "CookieConflict": ProtocolFailed,
    "DecodingError": ProtocolFailed,
    "HTTPError": ProtocolFailed,
    "HTTPStatusError": ProtocolFailed,
    "InvalidURL": ConfigurationError,
    "LocalProtocolError": ConfigurationError,
    "NetworkError": ConnectionBroken,
    "PoolTimeout": SourceSilent,
    "ProtocolError": SourceUnavailable,
    "ProxyError": SourceUnavailable,
    "ReadError": ConnectionBroken,
    "ReadTimeout": SourceSilent,
    "RemoteProtocolError": SourceUnavailable,
    "RequestError": ProtocolFailed,
    "RequestNotRead": ProtocolFailed,
    "ResponseNotRead": ProtocolFailed,
    "SSEError": SourceUnavailable,
    "StreamClosed": ProtocolFailed,
    "StreamConsumed": ProtocolFailed,
    "StreamError": ProtocolFailed,
    "TimeoutException": SourceSilent,
    "TooManyRedirects": ProtocolFailed,
    "TransportError": SourceUnavailable,
    "UnsupportedProtocol": ConfigurationError,
    "WriteError": ConnectionBroken,
    "WriteTimeout": SourceSilent,
}
"""Each class that httpx2 has, and what it means for a download."""


def foreign() -> Iterator[type[Exception]]:
    for name in dir(httpx2):
        kind = getattr(httpx2, name)
        if isinstance(kind, type) and issubclass(kind, Exception):
            yield kind


def instance(kind: type[Exception]) -> Exception:
    """Make an error without knowing what its constructor wants."""
    error = kind.__new__(kind)
    Exception.__init__(error, "why")
    return error


def test_every_error_that_httpx2_has_was_thought_of() -> None:
    assert {kind.__name__ for kind in foreign()} == MEANINGS.keys()


@pytest.mark.parametrize("kind", list(foreign()), ids=lambda kind: kind.__name__)
def test_every_error_of_httpx2_becomes_one_of_ours(kind: type[Exception]) -> None:
    ours = map_exception(instance(kind), URL)
    assert type(ours) is MEANINGS[kind.__name__]
    assert SHOWN in ours.message
    assert "secret" not in str(ours)
    assert "sesame" not in str(ours)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ConnectionResetError(), socket.gaierror(-2, "no")])
def test_errors_of_sockets_are_passing(error: OSError) -> None:
    assert map_exception(error, URL).verdict is Verdict.RETRY


def test_an_unknown_host_is_told_from_one_that_cannot_be_looked_up_for_now() -> None:
    def meaning(number: int, kind: type[Exception] = httpx2.ConnectError) -> DownloadError:
        error = kind("why")
        error.__cause__ = socket.gaierror(number, "why")
        return map_exception(error, URL)

    assert isinstance(meaning(socket.EAI_NONAME), UnknownHost)
    assert "no host of the name host" in meaning(socket.EAI_NONAME).message
    assert not isinstance(meaning(socket.EAI_AGAIN), UnknownHost)
    assert not isinstance(meaning(socket.EAI_NONAME, httpx2.ProxyError), UnknownHost)


@pytest.mark.parametrize("chain", ["cause", "context", "itself", "deep"])
def test_a_certificate_is_the_reason_however_deep_it_hides(chain: str) -> None:
    certificate = ssl.SSLCertVerificationError(1, "failed")
    certificate.verify_code, certificate.verify_message = 20, "unknown authority"
    error: Exception = httpx2.ConnectError("failed")
    if chain == "cause":
        error.__cause__ = certificate
    elif chain == "context":
        error.__context__ = certificate
    elif chain == "deep":
        error.__cause__ = OSError()
        error.__cause__.__context__ = certificate
    else:
        error = certificate
    ours = map_exception(error, URL)
    assert isinstance(ours, UntrustedServer)
    assert "unknown authority" in ours.message
    assert "AIM_CA_BUNDLE" in ours.hint


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, HttpStatusError),
        (401, HttpStatusError),
        (403, HttpStatusError),
        (404, HttpStatusError),
        (407, HttpStatusError),
        (408, SourceUnavailable),
        (410, HttpStatusError),
        (412, SourceChanged),
        (425, SourceUnavailable),
        (429, Throttled),
        (500, SourceUnavailable),
        (501, HttpStatusError),
        (502, SourceUnavailable),
        (503, Throttled),
        (504, SourceUnavailable),
        (505, HttpStatusError),
    ],
)
def test_each_status_has_its_meaning(status: int, kind: type[DownloadError]) -> None:
    error = map_status(status, URL, {}, b"body")
    assert type(error) is kind
    assert "secret" not in str(error)
    assert str(status) in error.message or status == 412


def test_a_refusal_without_a_known_meaning_leaves_the_file_to_the_next_protocol() -> None:
    assert HttpStatusError(418, URL, {}, b"").verdict is Verdict.FALL_BACK


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


def test_a_pause_is_told_with_host_length_and_the_words_of_the_server() -> None:
    headers = {"ratelimit": '"api";r=0;t=290', "x-error-message": "Log in to get a higher limit."}
    error = map_status(429, URL, headers, b"", asked_at=5.0)
    assert isinstance(error, Throttled)
    assert error.message == "host.test asks for a pause of 290 s (HTTP 429): Log in to get a higher limit"
    assert (error.retry_after, error.asked_at) == (290, 5)


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


@pytest.mark.parametrize(
    ("code", "words", "advice"),
    [
        (19, "not trusted here", "AIM_CA_BUNDLE"),
        (62, "another host", "in the certificate"),
        (64, "another host", "in the certificate"),
        (10, "expired", "clock"),
        (9, "not valid yet", "clock"),
        (66, "too weak", "2048"),
        (23, "not acceptable", "owner"),
    ],
)
def test_advice_about_a_certificate_fits_the_reason(code: int, words: str, advice: str) -> None:
    certificate = ssl.SSLCertVerificationError(1, "failed")
    certificate.verify_code, certificate.verify_message = code, "as OpenSSL says it"
    ours = map_exception(certificate, URL)
    assert ours.message.startswith("TLS certificate verification failed for ")
    assert words in ours.message
    assert "as OpenSSL says it" in ours.message
    assert advice in ours.hint
    assert ("AIM_CA_BUNDLE" in ours.hint) == (code == 19)
