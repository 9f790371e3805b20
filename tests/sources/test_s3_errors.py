"""Every refusal of an S3 server ends in the right class, in our words, without a library's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore import exceptions

from downloader.artifact import RemoteFile, Span, Validator
from downloader.config.s3 import S3Settings
from downloader.errors import (
    AccessDenied,
    ConfigurationError,
    DownloadError,
    ProtocolFailed,
    SourceChanged,
    SourceNotFound,
    SourceUnavailable,
    Throttled,
    UntrustedServer,
)
from downloader.operator_log import classify, last_line
from downloader.redaction import Redactor
from downloader.sources.s3 import S3Source
from downloader.sources.s3.answers import Identity
from downloader.sources.s3.errors import map_exceptions
from tests.servers.broken import BrokenWeb
from tests.servers.certificates import Authority
from tests.servers.faults import FOREVER, Answer, HangUp, web_page
from tests.servers.process import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from downloader.network import HttpClient

    Maker = Callable[..., S3Source]

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDAKIDAKID", "AWS_SECRET_ACCESS_KEY": "hush-hush"}
FILE = RemoteFile("a", 10, (), Validator('"tag"'), "m/a", None)

REFUSALS = [
    (403, "InvalidAccessKeyId", AccessDenied),
    (403, "SignatureDoesNotMatch", AccessDenied),
    (403, "AccessDenied", AccessDenied),
    (403, "AllAccessDisabled", AccessDenied),
    (403, "AccountProblem", AccessDenied),
    (403, "RequestTimeTooSkewed", AccessDenied),
    (403, "InvalidSecurity", AccessDenied),
    (403, "SomethingNew", AccessDenied),
    (401, "Unauthorized", AccessDenied),
    (400, "ExpiredToken", AccessDenied),
    (400, "InvalidToken", AccessDenied),
    (404, "NoSuchBucket", SourceNotFound),
    (404, "NoSuchKey", SourceNotFound),
    (404, "NoSuchVersion", SourceNotFound),
    (404, "SomethingNew", SourceNotFound),
    (403, "InvalidObjectState", ProtocolFailed),
    (400, "AuthorizationHeaderMalformed", ConfigurationError),
    (400, "InvalidBucketName", ConfigurationError),
    (400, "SomethingNew", ProtocolFailed),
    (503, "SlowDown", Throttled),
    (503, "SlowDownRead", Throttled),
    (429, "TooManyRequests", Throttled),
    (503, "XMinioServerNotInitialized", Throttled),
    (500, "InternalError", SourceUnavailable),
    (502, "BadGateway", SourceUnavailable),
    (504, "GatewayTimeout", SourceUnavailable),
]


def refusal(status: int, code: str) -> Answer:
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>hush-hush</Message></Error>'
    return Answer(status, {"Content-Type": "application/xml"}, body.encode())


@pytest.fixture(scope="module")
def web() -> Iterator[BrokenWeb]:
    with BrokenWeb() as web:
        yield web


@pytest.fixture(scope="module")
def one_source(web: BrokenWeb, plain_web: HttpClient) -> S3Source:
    environ = {"AWS_ENDPOINT_URL": web.server.origin, **KEYS}
    return S3Source("s3://bucket/m", S3Settings.from_environment(environ, []), plain_web)


@pytest.fixture
def source(web: BrokenWeb, one_source: S3Source) -> Iterator[S3Source]:
    yield one_source
    web.faults.clear()


@pytest.mark.parametrize(("status", "code", "expected"), REFUSALS)
def test_a_refused_listing_is(
    web: BrokenWeb, source: S3Source, status: int, code: str, expected: type[DownloadError]
) -> None:
    web.faults.add(refusal(status, code), times=FOREVER)
    with pytest.raises(expected) as caught:
        source.manifest()
    check(caught.value, expected, code)


@pytest.mark.parametrize(("status", "code", "expected"), [*REFUSALS, (412, "PreconditionFailed", SourceChanged)])
def test_a_refused_span_is(
    web: BrokenWeb, source: S3Source, status: int, code: str, expected: type[DownloadError]
) -> None:
    web.faults.add(refusal(status, code), times=FOREVER)
    with pytest.raises(expected) as caught:
        source.open(FILE, Span(0, 5))
    check(caught.value, expected, code)


def check(error: DownloadError, expected: type[DownloadError], code: str) -> None:
    assert isinstance(error, expected)
    assert "hush-hush" not in last_line(error, Redactor(KEYS["AWS_SECRET_ACCESS_KEY"]))
    if expected in (AccessDenied, SourceNotFound):
        assert code in str(error)
    line = last_line(error)
    assert {classify(line, newest=newest) for newest in (False, True)} == {error.category}


def told(status: int, code: str, message: str) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Answer(status, {}, body.encode())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (told(400, "InvalidArgument", "S3 API Requests must be made to API port."), "must be made to API port."),
        (told(403, "AccessDenied", "User: arn:x is not authorized to perform: s3:GetObject"), "perform: s3:GetObject"),
        (told(403, "QuotaUsedUp", "Come back &lt;tomorrow&gt;"), "Come back <tomorrow>"),
        (told(400, "InvalidBucketName", "too\nlong"), r"too\nlong"),
    ],
)
def test_a_refusal_is_told_with_the_server_s_own_sentence_and_its_host(
    web: BrokenWeb, source: S3Source, answer: Answer, words: str
) -> None:
    host = web.server.origin.removeprefix("http://")
    web.faults.add(answer, times=FOREVER)
    for action in (source.manifest, lambda: source.open(FILE, Span(0, 5))):
        with pytest.raises(DownloadError) as caught:
            action()
        assert host in caught.value.message
        assert words in caught.value.message
        assert caught.value.message.isprintable()
        assert caught.value.message.count(words) <= 1


@pytest.mark.parametrize("sentence", ["", "AccessDenied", "Access Denied", "access-denied."])
def test_a_sentence_that_says_no_more_than_the_code_is_left_out(
    web: BrokenWeb, source: S3Source, sentence: str
) -> None:
    web.faults.add(told(403, "AccessDenied", sentence), times=FOREVER)
    with pytest.raises(AccessDenied) as caught:
        source.manifest()
    assert "it says" not in caught.value.message


def test_a_long_sentence_is_cut(web: BrokenWeb, source: S3Source) -> None:
    web.faults.add(told(403, "AccessDenied", "x" * 900), times=FOREVER)
    with pytest.raises(AccessDenied) as caught:
        source.manifest()
    assert len(caught.value.message) < 450


def test_a_code_that_only_this_server_knows_gets_no_advice_on_credentials(web: BrokenWeb, source: S3Source) -> None:
    web.faults.add(told(403, "RegionPaused", "maintenance"), times=FOREVER)
    with pytest.raises(AccessDenied) as caught:
        source.manifest()
    assert caught.value.hint == ""
    assert "RegionPaused" in caught.value.message
    assert "credential" not in str(caught.value)


def test_expired_credentials_are_blamed_on_where_they_come_from(
    web: BrokenWeb, source: S3Source, s3_source: Maker, tmp_path: Path
) -> None:
    web.faults.add(told(400, "ExpiredToken", "expired"), times=FOREVER)
    with pytest.raises(AccessDenied) as caught:
        source.manifest()
    assert "AWS_SESSION_TOKEN" in caught.value.hint
    (tmp_path / "aws").write_text("[models]\naws_access_key_id = K\naws_secret_access_key = s\naws_session_token = t\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws"))
        other = s3_source("s3://bucket/m", {"AWS_ENDPOINT_URL": web.server.origin, "AWS_PROFILE": "models"})
        with pytest.raises(AccessDenied) as caught:
            other.manifest()
    assert "AWS_SESSION_TOKEN" not in caught.value.hint
    assert "shared-credentials-file" in caught.value.hint


EMPTY = b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>"


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "InvalidAccessKeyId", AccessDenied),
        (403, "InvalidObjectState", ProtocolFailed),
        (400, "ExpiredToken", AccessDenied),
        (404, "NoSuchKey", SourceNotFound),
    ],
)
def test_the_bare_refusal_of_a_head_is_asked_again(
    web: BrokenWeb, source: S3Source, status: int, code: str, expected: type[DownloadError]
) -> None:
    web.faults.add(Answer(200, {}, EMPTY), path="/bucket", times=FOREVER)
    web.faults.add(Answer(status), method="HEAD", times=FOREVER)
    web.faults.add(refusal(status, code), path="/bucket/m", times=FOREVER)
    with pytest.raises(expected):
        source.manifest()
    last = web.log.records(path="/bucket/m")[-2:]
    assert [(record.request.method, record.range) for record in last] == [("HEAD", None), ("GET", "bytes=0-0")]


def test_where_heads_are_not_allowed_the_first_byte_tells_as_much(web: BrokenWeb, s3_source: Maker) -> None:
    web.put("bucket/single", b"0123456789")
    web.faults.add(Answer(200, {}, EMPTY), path="/bucket", times=FOREVER)
    web.faults.add(Answer(403), method="HEAD", times=FOREVER)
    source = s3_source("s3://bucket/single", {"AWS_ENDPOINT_URL": web.server.origin, **KEYS})
    assert [(file.path, file.size) for file in source.manifest().files] == [("single", 10)]
    web.faults.clear()


def test_a_server_without_the_newer_listing_is_asked_in_the_older_way(web: BrokenWeb, source: S3Source) -> None:
    listing = b"""<ListBucketResult><IsTruncated>false</IsTruncated>
      <Contents><Key>m/a</Key><Size>10</Size><ETag>"tag"</ETag></Contents></ListBucketResult>"""
    web.put("bucket/m/a", b"0123456789", headers={"ETag": '"tag"'})
    web.faults.add(refusal(501, "NotImplemented"), path="/bucket")
    web.faults.add(Answer(200, {}, listing), path="/bucket", times=FOREVER)
    assert [(file.path, file.size) for file in source.manifest().files] == [("a", 10)]
    queries = [record.request.query for record in web.log.records(path="/bucket")][-2:]
    assert ["list-type" in query for query in queries] == [True, False]


def test_a_listing_that_never_ends_is_given_up(web: BrokenWeb, source: S3Source) -> None:
    page = b"""<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>same</NextContinuationToken>
      <Contents><Key>m/a</Key><Size>10</Size></Contents></ListBucketResult>"""
    web.faults.add(Answer(200, {}, page), path="/bucket", times=FOREVER)
    with pytest.raises(ProtocolFailed, match="does not come to an end"):
        source.manifest()


@pytest.mark.parametrize(
    "entry",
    [
        "<Key>m/a</Key>",
        "<Size>10</Size>",
        "<Key>m/a</Key><Size>-10</Size>",
        "<Key>m/a</Key><Size>9999999999999999999</Size>",
    ],
)
def test_an_object_without_a_name_or_a_size_makes_no_sense(web: BrokenWeb, source: S3Source, entry: str) -> None:
    page = f"<ListBucketResult><IsTruncated>false</IsTruncated><Contents>{entry}</Contents></ListBucketResult>"
    web.faults.add(Answer(200, {}, page.encode()), path="/bucket", times=FOREVER)
    with pytest.raises(ProtocolFailed, match="without name or size"):
        source.manifest()


def test_a_web_page_is_no_listing(web: BrokenWeb, source: S3Source) -> None:
    web.faults.add(web_page(), times=FOREVER)
    with pytest.raises(ProtocolFailed, match="not S3"):
        source.manifest()


def test_a_dead_connection_passes(web: BrokenWeb, source: S3Source) -> None:
    web.faults.add(HangUp(), times=FOREVER)
    with pytest.raises(SourceUnavailable):
        source.manifest()


def test_an_endpoint_without_a_listener_passes(s3_source: Maker) -> None:
    with pytest.raises(SourceUnavailable, match="cannot connect"):
        s3_source("s3://bucket/m", {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}", **KEYS}).manifest()


def test_a_certificate_of_an_unknown_ca_is_not_trusted(s3_source: Maker, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with BrokenWeb(tls=authority.server_context()) as web:
        environ = {"AWS_ENDPOINT_URL": web.server.origin, **KEYS}
        with pytest.raises(UntrustedServer):
            s3_source("s3://bucket/m", environ).manifest()
        for trust in ({"AWS_CA_BUNDLE": str(authority.bundle)}, {"AIM_S3_INSECURE_SKIP_VERIFY": "1"}):
            with pytest.raises(SourceNotFound):
                s3_source("s3://bucket/m", environ | trust).manifest()


def test_every_error_of_the_library_becomes_one_of_ours() -> None:
    kinds = [kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    library = [kind for kind in kinds if issubclass(kind, exceptions.BotoCoreError)]
    assert len(library) > 50
    for kind in library:
        error = kind.__new__(kind)
        Exception.__init__(error, "why")
        with pytest.raises(DownloadError) as caught, map_exceptions("s3://bucket/m", Identity):
            raise error
        assert caught.value.__cause__ is error


def test_a_role_that_is_refused_is_a_denial_and_a_busy_token_service_is_not() -> None:
    for code, expected in (("AccessDenied", AccessDenied), ("Throttling", SourceUnavailable)):
        error = exceptions.ClientError({"Error": {"Code": code}}, "AssumeRoleWithWebIdentity")
        with pytest.raises(expected) as caught, map_exceptions("s3://bucket/m", Identity):
            raise error
        check(caught.value, expected, code)


PAGE = b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>m/a</Key><Size>10</Size></Contents>"
CUT = {"in the middle": PAGE, "in an object": PAGE[:-20], "before its first byte": b"", "after a declaration": b"\n"}


@pytest.mark.parametrize("page", CUT.values(), ids=CUT)
def test_a_page_that_was_cut_is_a_passing_error(web: BrokenWeb, source: S3Source, page: bytes) -> None:
    web.faults.add(Answer(200, {}, page), path="/bucket", times=FOREVER)
    with pytest.raises(SourceUnavailable, match="ends in the middle"):
        source.manifest()


def test_a_page_that_is_whole_and_no_xml_is_not_told_as_an_error_of_the_server(
    web: BrokenWeb, source: S3Source
) -> None:
    page = PAGE.replace(b"m/a", b"m/&#1;") + b"</ListBucketResult>"
    web.faults.add(Answer(200, {}, page), path="/bucket", times=FOREVER)
    with pytest.raises(ProtocolFailed, match="answer is not S3") as caught:
        source.manifest()
    assert "500" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("InternalError", SourceUnavailable),
        ("SlowDown", Throttled),
        ("AccessDenied", AccessDenied),
        ("NoSuchBucket", SourceNotFound),
    ],
)
def test_an_error_with_the_status_of_a_success_is_an_error(
    web: BrokenWeb, source: S3Source, code: str, kind: type[DownloadError]
) -> None:
    web.faults.add(Answer(200, {}, f"<Error><Code>{code}</Code></Error>".encode()), path="/bucket", times=FOREVER)
    with pytest.raises(kind) as caught:
        source.manifest()
    assert type(caught.value) is kind
    assert f"S3 200 {code}" in str(caught.value)
