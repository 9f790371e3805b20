"""A server's own explanation: found wherever it stands, one short line, and nothing secret in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.network.errors import MAX_BODY, HttpStatusError
from downloader.network.server_message import LIMIT, json_error, server_message

JSON, XML, HTML, PLAIN = (
    {"content-type": kind} for kind in ("application/json", "application/xml", "text/html; charset=utf-8", "text/plain")
)


@pytest.mark.parametrize(
    ("headers", "body", "told"),
    [
        ({"x-error-message": "Access is restricted."}, b"{}", "Access is restricted"),
        (JSON, b'{"error": "no such thing"}', "no such thing"),
        (JSON, b'{"errors": [{"status": 404, "message": "gone"}]}', "gone"),
        (JSON, b'{"errors": ["one", "two"]}', "one"),
        (JSON, b'{"message": "slow down", "code": 3}', "slow down"),
        (JSON, b'{"error": {"code": 3, "message": "inner"}}', "inner"),
        (JSON, b'{"detail": "not here"}', "not here"),
        ({}, b'{"error": "without a type"}', "without a type"),
        (JSON, b'{"error": 5}', ""),
        (JSON, b"[" * 4096, ""),
        (JSON, b'{"error": "cut', ""),
        (XML, b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>", "Request has expired"),
        (XML, b"<Error><Code>AccessDenied</Code></Error>", "AccessDenied"),
        (HTML, b"<html><title>Blocked &amp; logged</title><p>by policy", "Blocked & logged"),
        (HTML, b"<style>p {color: red}</style><p>blocked:</p> <b>category AI</b>", "blocked: category AI"),
        (PLAIN, b"first line\nsecond\tline\n", "first line second line"),
        ({}, b"slow down", "slow down"),
        ({}, b"slow down\n", "slow down"),
        ({}, b"\x00\x01\x02binary", ""),
        (PLAIN, b"cut within \xc3", "cut within"),
        ({}, b"", ""),
    ],
)
def test_the_explanation_is_found(headers: dict[str, str], body: bytes, told: str) -> None:
    assert server_message(headers, body) == told


def test_addresses_in_it_are_shown_without_their_secrets() -> None:
    body = b"cannot read https://me:pw@cdn.test/file?Signature=abc&Expires=1 today"
    assert server_message(PLAIN, body) == "cannot read https://cdn.test/file today"


@given(st.dictionaries(st.sampled_from(["content-type", "x-error-message"]), st.text(max_size=400)), st.binary())
def test_whatever_a_server_sends_it_is_one_short_line(headers: dict[str, str], body: bytes) -> None:
    told = server_message(headers, body)
    assert len(told) <= LIMIT
    assert told.isprintable()
    json_error(body)


def test_a_refusal_tells_who_answered_and_what_was_said_and_keeps_little_of_the_body() -> None:
    refusal = HttpStatusError(
        403, "https://cdn.test:8443/a/b?Signature=s", XML, b"<Message>expired</Message>" + bytes(MAX_BODY)
    )
    assert str(refusal) == "https://cdn.test:8443/a/b answered HTTP 403: expired"
    assert refusal.host == "cdn.test:8443"
    assert len(refusal.body) == MAX_BODY
