from __future__ import annotations

import json
import threading
import time
import urllib.parse

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from downloader.redaction import SHORTEST, Redactor

UNKNOWN = [
    ("https://user:pass1@host/path@v1", "https://***@host/path@v1"),
    ("https://user:p:a@ss1@host:8080/", "https://***@host:8080/"),
    ("socks5h://me:pw@proxy:1080", "socks5h://***@proxy:1080"),
    ("https://onlytoken@host/f", "https://***@host/f"),
    ("GET https://h/f?X-Amz-Date=1&X-Amz-Signature=ab12&x=1", "GET https://h/f?X-Amz-Date=1&X-Amz-Signature=***&x=1"),
    ("?X-Amz-Credential=AK%2F1%2Fs3&X-Amz-Security-Token=q,r", "?X-Amz-Credential=***&X-Amz-Security-Token=***"),
    (
        "?Expires=1&Policy=eyJ&Signature=a~b&Key-Pair-Id=K#frag",
        "?Expires=1&Policy=***&Signature=***&Key-Pair-Id=***#frag",
    ),
    ("?to=https%3A%2F%2Fh%3FSignature%3Dabc%26y%3D1", "?to=https%3A%2F%2Fh%3FSignature%3D***%26y%3D1"),
    ("?token=abc access_token=abc HF_TOKEN=abc", "?token=*** access_token=*** HF_TOKEN=***"),
    ("AWS_SECRET_ACCESS_KEY=abc/def", "AWS_SECRET_ACCESS_KEY=***"),
    ("Authorization: AWS4-HMAC-SHA256 Credential=A, Signature=b\nHost: h", "Authorization: ***\nHost: h"),
    ("Bearer abc.def-1, next", "Bearer ***, next"),
    ("Basic dXNlcjpwYXNz", "Basic ***"),
    ("basic ABCDEFGH", "basic ***"),
    ('{"token": "a\'b\\"c", "n": 1}', '{"token": "***", "n": 1}'),
    ("[(b'authorization', b'Bearer x'), (b'host', b'h')]", "[(b'authorization', b'***'), (b'host', b'h')]"),
    ("hf_abcdefghijklmnopqrstuvwxyz is no good", "*** is no good"),
    ("key AKIAABCDEFGHIJKLMNOP", "key ***"),
    ("jwt eyJhbGciOi.eyJzdWIi.c2ln end", "jwt *** end"),
]

HARMLESS = [
    "hf://org/name@revision and hf://gpt2@main and hf://org/model:revision",
    "https://host:8443/a@b?page=2#sha256=00ff",
    "hf_hub_download of hf_transfer and hf_xet",
    "max_tokens=5, tokenizer.json: 3 files, design=1",
    "a bearer token is needed, Basic authentication is off",
    "certificate verify failed: Basic Constraints of CA cert not marked critical",
    "s3://bucket/key?versionId=abc",
]


@pytest.mark.parametrize(("text", "redacted"), UNKNOWN)
def test_what_looks_like_a_secret_is_taken_out(text: str, redacted: str) -> None:
    assert Redactor().redact(text) == redacted


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_resembles_a_secret_stays(text: str) -> None:
    assert Redactor().redact(text) == text


def test_a_secret_is_taken_out_from_the_moment_it_is_known() -> None:
    redactor = Redactor()
    assert redactor.redact("open sesame") == "open sesame"
    redactor.add("open sesame", None, "")
    assert redactor.redact("say open sesame\nor open%20sesame, open+sesame") == "say ***\nor ***, ***"


def test_a_secret_that_begins_like_another_is_taken_out_whole() -> None:
    assert Redactor("canary", "canary-long").redact("canary-long canary") == "*** ***"


def test_a_secret_given_percent_encoded_is_known_decoded_too() -> None:
    assert Redactor("p%40ss").redact("p@ss p%40ss p%2540ss") == "*** *** ***"


def test_the_token_of_an_authorization_header_is_known_alone_too() -> None:
    assert Redactor("Bearer my-token").redact("my-token was refused, Bearer my-token too") == "*** was refused, *** too"


def test_nothing_is_left_of_a_secret_that_ends_in_an_escaped_character() -> None:
    redactor = Redactor("back\\", "quote'\"", "per%")
    assert redactor.redact(json.dumps("back\\") + repr("quote'\"") + "<per%25>") == "\"***\"'***'<***>"


def test_very_short_values_are_no_secrets() -> None:
    assert Redactor("abc"[: SHORTEST - 1], " a ").redact("abc a") == "abc a"


def test_secrets_may_become_known_while_others_redact() -> None:
    redactor = Redactor()
    threads = [threading.Thread(target=redactor.add, args=(f"canary-{number:03}",)) for number in range(30)]
    for thread in threads:
        thread.start()
        redactor.redact("canary-000")
    for thread in threads:
        thread.join()
    assert redactor.redact(" ".join(f"canary-{number:03}" for number in range(30))) == " ".join(["***"] * 30)


@pytest.mark.parametrize("part", ["secret_a", "-", "http://", "x-amz-", "'token':'", "%25"])
def test_a_long_hostile_text_takes_no_long_time(part: str) -> None:
    started = time.thread_time()  # of this thread alone: others may keep the processor busy
    Redactor("canary-secret").redact(part * (50_000 // len(part)))
    assert time.thread_time() - started < 2


secrets = st.text(st.characters(codec="utf-8"), min_size=SHORTEST).filter(lambda text: len(text.strip()) >= SHORTEST)


@settings(deadline=None)
@given(secrets.map(str.strip), st.text(max_size=20))
def test_no_spelling_of_a_known_secret_remains(secret: str, around: str) -> None:
    redactor = Redactor(secret)
    every_byte = "".join(f"%{byte:02x}" for byte in secret.encode())
    for spelling in (
        secret,
        urllib.parse.quote(secret),
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote(urllib.parse.quote(secret, safe=""), safe=""),
        urllib.parse.quote_plus(secret),
        every_byte,
        every_byte.upper(),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
    ):
        assert redactor.redact(f"<{spelling}>") == "<***>"
        assert spelling not in redactor.redact(around + spelling + around).replace("***", "\0")


@given(st.text() | st.lists(st.sampled_from([text for text, _ in UNKNOWN])).map(" ".join))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    redactor = Redactor("canary-token")
    once = redactor.redact(text)
    assert redactor.redact(once) == once
