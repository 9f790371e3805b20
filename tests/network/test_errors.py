"""What statuses and library errors mean: the one place for everything that goes over HTTP."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import httpx2
import pytest

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
from downloader.network.errors import HttpStatusError, map_exception, map_status

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
        (507, SourceUnavailable),
        (508, HttpStatusError),
        (511, HttpStatusError),
        (520, SourceUnavailable),
        (524, SourceUnavailable),
        (529, SourceUnavailable),
        (599, SourceUnavailable),
    ],
)
def test_each_status_has_its_meaning(status: int, kind: type[DownloadError]) -> None:
    error = map_status(status, URL, {}, b"body")
    assert type(error) is kind
    assert "secret" not in str(error)
    assert str(status) in error.message or status == 412


def test_a_refusal_without_a_known_meaning_leaves_the_file_to_the_next_protocol() -> None:
    assert HttpStatusError(418, URL, {}, b"").verdict is Verdict.FALL_BACK


def test_a_pause_is_told_with_host_length_and_the_words_of_the_server() -> None:
    headers = {"ratelimit": '"api";r=0;t=290', "x-error-message": "Log in to get a higher limit."}
    error = map_status(429, URL, headers, b"", asked_at=5.0)
    assert isinstance(error, Throttled)
    assert error.message == "host.test asks for a pause of 290 s (HTTP 429): Log in to get a higher limit"
    assert (error.retry_after, error.asked_at) == (290, 5)


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
