from __future__ import annotations

import inspect
import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from downloader import errors
from downloader.errors import AccessDenied, Cancelled, Category, DownloadError, SourceNotFound, Throttled
from downloader.operator_log import (
    INFRASTRUCTURE,
    LAST_LINE_LIMIT,
    Classification,
    classify,
    classify_log,
    last_line,
    neutralize,
    plain_line,
)
from downloader.redaction import Redactor
from tests.contract.operator_log import BOTH_STATES, filed

CLASSES = sorted(
    (kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, DownloadError)),
    key=lambda kind: kind.__name__,
)

HOSTILE = (
    "model-00403-of-01000.safetensors",
    "NoSuchKey.bin",
    "quota-exceeded",
    "s3://b/1404",
    "s3://b/p: 1404 MiB of 4096 MiB",
    "downloaded s3://b/p/model-00403-of-01000.safetensors",
    "hf://disk/full@storage-full",
    "https://hf.co/401/Unauthorized/403/Forbidden/hf.co",
    "FileNotFoundError: [Errno 2] No such file or directory: 'config.json'",
    "the state file was not found",
    "model x: journal not found",
    "disk: 40 % full",
    "storage class STANDARD, checksum type FULL_OBJECT",
    'is forbidden: User "system:serviceaccount:ns:default" cannot patch resource "aimartifacts/status"',
    'RBAC: clusterrole.rbac.authorization.k8s.io "aim" not found',
    'HTTP Request: GET https://huggingface.co/api/models/x "HTTP/1.1 404 Not Found"',
    "An error occurred (AccessDenied) when calling the GetObject operation: Access Denied",
    "An error occurred (404) when calling the HeadObject operation: Not Found",
    "Unable to locate credentials",
    "Access to model org/name is restricted and you are not in the list",
    "Invalid user token. huggingface authentication failed",
    "[Errno 28] No space left on device",
    "no objects found in bucket no-such-bucket",
    "DI\u017fK FULL",  # the long s folds to an s
    "model\nnot\rfound\u2028404 not found",
    "\x1b[31m404\x1b[0m not found \udcff",
    "ä" * 700 + "404 not found",
)

TRIGGERS = """
RBAC: clusterrole serviceaccount forbidden cannot Cannot resource Repository repository Not not Found found file model
RepositoryNotFoundError 404 4 40 NoSuchKey NoSuchBucket s3 no objects access Access denied 403 InvalidAccessKeyId aws
SignatureDoesNotMatch NoCredentialProviders unauthorized credentials to is restricted gated repo Invalid token hf.co
huggingface authentication failed 401 Unauthorized Forbidden AccessDenied Unable locate requires approval space left
on device disk full ENOSPC quota exceeded storage
"""
WORDS = (*TRIGGERS.split(), "·", "\n", "\r", "\0", "\udc80")

hostile_texts = st.lists(st.sampled_from((*WORDS, *HOSTILE)) | st.text(max_size=6), max_size=30).flatmap(
    lambda parts: st.sampled_from(("", " ", "-", "/")).map(lambda separator: separator.join(parts))
)


@st.composite
def failures(draw: st.DrawFn) -> DownloadError:
    kind = draw(st.sampled_from(CLASSES))
    if kind is Cancelled:
        return Cancelled(draw(st.sampled_from((signal.SIGINT, signal.SIGTERM))))
    return kind(draw(hostile_texts), hint=draw(hostile_texts))


@pytest.mark.parametrize(
    ("line", "old", "newest"),
    [
        ("downloaded s3://b/p/model-00403-of-01000.safetensors", Category.DENIED, Category.DENIED),
        ("s3://b/p: 1404 MiB of 4096 MiB", Category.NOT_FOUND, Category.NOT_FOUND),
        ("FileNotFoundError: [Errno 2]", Category.NOT_FOUND, Category.NOT_FOUND),
        ("disk: 40 % full", Category.STORAGE_FULL, Category.STORAGE_FULL),
        ("storage class A, FULL_OBJECT", Category.STORAGE_FULL, Category.STORAGE_FULL),
        ("forbidden: x cannot patch resource y", INFRASTRUCTURE, INFRASTRUCTURE),
        ("no objects found", Category.OTHER, Category.NOT_FOUND),
        ("AccessDenied", Category.OTHER, Category.DENIED),
        ("Unable to locate credentials", Category.OTHER, Category.DENIED),
        ("repository requires approval", Category.OTHER, Category.DENIED),
        ("Access to model x is restricted", Category.DENIED, Category.DENIED),
        ("Access to models is restricted", Category.OTHER, Category.OTHER),
        ("found it, did not look for the file", Category.OTHER, Category.OTHER),
        ("GET 403 Forbidden hfxco", Category.OTHER, Category.OTHER),
        ("listing hf://org/name", Category.OTHER, Category.OTHER),
    ],
)
def test_a_line_is_classified_as_in_each_state_of_the_operator(
    line: str, old: Classification, newest: Classification
) -> None:
    assert (classify(line, newest=False), classify(line, newest=True)) == (old, newest)
    assert (filed(line, newest=False), filed(line, newest=True)) == (old, newest)


@settings(deadline=None)
@given(st.lists(hostile_texts.map(lambda text: text.replace("\n", " ")), min_size=1, max_size=4))
def test_our_reading_of_a_log_is_the_operators(lines: list[str]) -> None:
    for newest in BOTH_STATES:
        assert classify_log(lines, newest=newest) == filed("\n".join(lines), newest=newest)


def test_only_the_last_lines_of_a_log_count() -> None:
    log = ["NoSuchKey", *["fine"] * 50]
    assert classify_log(log, newest=False) is Category.OTHER
    assert classify_log(log, newest=True) is Category.NOT_FOUND


def test_all_lines_are_tried_for_one_category_before_the_next_category() -> None:
    log = ["ENOSPC", "InvalidAccessKeyId", "NoSuchKey"]
    assert classify_log(log, newest=True) is Category.NOT_FOUND
    assert classify_log([*log, "serviceaccount x cannot"], newest=True) == INFRASTRUCTURE


@settings(deadline=None)
@given(hostile_texts)
def test_an_innocent_text_matches_nothing_and_has_lost_nothing(text: str) -> None:
    reworded = neutralize(text)
    for newest in BOTH_STATES:
        assert filed(reworded, newest=newest) is Category.OTHER
    assert neutralize(reworded) == reworded
    assert reworded.replace("·", "") == text.replace("·", "")


def test_a_text_that_matches_nothing_stays_as_it_is() -> None:
    text = "downloading: 45 %, 404 MiB of 4.0 GiB (S3, attempt 1 of 2)\nmodel-00404.bin: the 1st found, not yet read"
    assert neutralize(text) == text


def test_one_word_of_each_match_is_broken() -> None:
    assert neutralize("the state file was not found") == "the state file was n·ot found"
    assert neutralize("s3://b/model-00403.bin and s3://b/404") == "s·3://b/model-00403.bin and s·3://b/404"


@settings(deadline=None, max_examples=300)
@given(failures(), st.lists(hostile_texts, max_size=5), hostile_texts)
def test_every_failure_is_filed_as_itself_whatever_it_names(
    error: DownloadError, noise: list[str], patch_refusal: str
) -> None:
    refusal = f"forbidden: serviceaccount cannot patch resource: {patch_refusal}"
    line = last_line(error)
    log = "\n".join([neutralize(text) for text in (*noise, refusal)] + [line])
    for newest in BOTH_STATES:
        assert filed(log, newest=newest) is error.category
    assert line.isprintable()
    assert len(line) <= LAST_LINE_LIMIT


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind is not Cancelled])
@pytest.mark.parametrize("text", HOSTILE)
def test_every_class_of_failure_survives_every_known_trap(kind: type[DownloadError], text: str) -> None:
    line = last_line(kind(f"{text} is in the message", hint=f"see {text}"))
    for newest in BOTH_STATES:
        assert filed(line, newest=newest) is kind.category
        assert filed("\n".join([neutralize(text), line]), newest=newest) is kind.category


def test_the_last_line_keeps_the_words_of_the_error() -> None:
    error = SourceNotFound("s3://models/llama holds no object", hint="check bucket and prefix")
    assert last_line(error) == ("source not found (404): s3://models/llama holds no object (check bucket and prefix)")
    assert last_line(Throttled("hf.co asks for a pause (HTTP 429): quota exceeded")) == (
        "failed: hf.co asks for a pause (HTTP 429): quota exc·eeded"
    )


def test_people_are_told_what_the_operator_is_told_without_words_that_only_it_needs() -> None:
    error = SourceNotFound("S3 404: s3://models/llama was not found", hint="canary-token")
    line = plain_line(error, Redactor("canary-token"))
    assert line == "failed: S3 404: s3://models/llama was not found (***)"
    assert len(plain_line(SourceNotFound("x" * 5000))) <= LAST_LINE_LIMIT


def test_a_word_of_the_message_that_would_match_with_the_opening_is_broken_in_the_message() -> None:
    line = last_line(AccessDenied("the server answered 404 for k"))
    assert line == "access denied (S3, Hub or web server): the server answered 4·04 for k"


def test_the_last_line_holds_no_secret() -> None:
    error = AccessDenied(
        "https://me:pass1@h/f?X-Amz-Signature=abcdef refused canary-token", hint="replace canary-token"
    )
    line = last_line(error, Redactor("canary-token"))
    assert (
        line == "access denied (S3, Hub or web server): https://***@h/f?X-Amz-Signature=*** refused *** (replace ***)"
    )
