"""Plain web servers: what a URI means, what a probe learns, and what a folder must say of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.artifact import Algorithm, Digest, Validator
from downloader.errors import AccessDenied, ConfigurationError, DownloadError, SourceNotFound, UsageError
from downloader.network import HttpClient, Response
from downloader.sources.content_disposition import proposed_name
from downloader.sources.http import HttpSource
from downloader.sources.http_address import HttpAddress
from tests.servers.broken import BrokenWeb, NoLength, compressed, moved
from tests.servers.faults import FOREVER, Answer, Fault, Headers
from tests.sources.reading import read, whole

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"0123456789" * 1000
SHA256 = "ab" * 32


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("http://host/a.bin", "http://host/a.bin"),
        ("HTTP://Host:8080/a.bin", "http://host:8080/a.bin"),
        ("https://host", "https://host/"),
        ("http://host/a b/ä.bin", "http://host/a%20b/%C3%A4.bin"),
        ("http://host/a%20b%2Fc", "http://host/a%20b%2Fc"),
        ("http://host/a?sig=x%2By&z=#sha256=" + SHA256, "http://host/a?sig=x%2By&z="),
        ("http://me:word@host/a", "http://host/a"),
        ("http://[fd00::1]:81/a", "http://[fd00::1]:81/a"),
    ],
)
def test_a_uri_is_what_is_fetched_without_its_secrets(uri: str, url: str) -> None:
    assert HttpAddress.parse(uri).url == url


@pytest.mark.parametrize("uri", ["http:///a", "http://", "http://host:port/a", "http://host:99999/a", "http://[fd00/a"])
def test_what_names_no_host_is_no_web_address(uri: str) -> None:
    with pytest.raises(UsageError):
        HttpAddress.parse(uri)


def test_port_0_is_not_taken_for_the_usual_one() -> None:
    with pytest.raises(UsageError, match="port 0"):
        HttpAddress.parse("http://host:0/a")


@pytest.mark.parametrize(
    ("fragment", "digest"),
    [
        (f"sha256={SHA256}", Digest(Algorithm.SHA256, SHA256)),
        (f"sha256:{SHA256.upper()}", Digest(Algorithm.SHA256, SHA256)),
        ("md5=" + "0" * 32, Digest(Algorithm.MD5, "0" * 32)),
        ("sha512=" + "0" * 128, Digest(Algorithm.SHA512, "0" * 128)),
        ("", None),
    ],
)
def test_a_fragment_is_a_digest(fragment: str, digest: Digest | None) -> None:
    assert HttpAddress.parse(f"http://host/a#{fragment}").digest == digest


@pytest.mark.parametrize("fragment", ["readme", "sha256=ab", "sha256=" + "x" * 64, "md5=" + SHA256, "sha3=" + SHA256])
def test_any_other_fragment_is_a_mistake(fragment: str) -> None:
    with pytest.raises(UsageError, match="sha256"):
        HttpAddress.parse(f"http://host/a#{fragment}")


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="model.gguf"', "model.gguf"),
        ("attachment; filename=model.gguf", "model.gguf"),
        ("attachment; filename*=UTF-8''na%C3%AFve%20model.gguf", "naïve model.gguf"),
        ("attachment; filename=\"_.bin\"; filename*=UTF-8''%E6%A8%A1%E5%9E%8B.bin", "模型.bin"),
        ("attachment; filename*=UTF-8''%E6%A8%A1%E5%9E%8B.bin; filename=\"_.bin\"", "模型.bin"),
        ("attachment; FileName* = utf-8'en'a%20b.bin;filename=c.bin", "a b.bin"),
        ("attachment; filename*=\"UTF-8''a%20b.bin\"", "a b.bin"),
        ("attachment; filename*=iso-8859-1''na%EFve.bin", "naïve.bin"),
        ("attachment; filename*=UTF-8''%ff%fe; filename=stopgap.bin", "stopgap.bin"),
        ("attachment; filename*=rot13''nop; filename=stopgap.bin", "stopgap.bin"),
        ("attachment; filename*=nothing; filename=stopgap.bin", "stopgap.bin"),
        ("attachment; filename=\"a; filename*=UTF-8''b.bin\"", "a; filename*=UTF-8''b.bin"),
        ('attachment; filename="a \\"b\\".bin"', 'a "b".bin'),
        ("attachment; filename*" + "9" * 5000 + "*=x", "file"),
        ("attachment; filename*0*=utf-8'a'b; filename*" + "1" * 5000 + "=c", "file"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="/etc/passwd"', "passwd"),
        ('attachment; filename="C:\\\\models\\\\a.bin"', "a.bin"),
        ("attachment; filename*=UTF-8''..%2F..%2Fa.bin", "a.bin"),
        ('attachment; filename=".."', "file"),
        ('attachment; filename="a/.."', "file"),
        ('attachment; filename=""', "file"),
        ("attachment", "file"),
        ("filename", "file"),
        ("", "file"),
    ],
)
def test_a_file_is_called_what_the_server_calls_it_without_any_path(
    own_web: BrokenWeb, plain_web: HttpClient, disposition: str, name: str
) -> None:
    url = own_web.put("file", CONTENT, headers={"Content-Disposition": disposition})
    assert [file.path for file in HttpSource(url, plain_web, {}).manifest().files] == [name]


@pytest.mark.parametrize("name", [".downloading", ".artifact.sha256", "x" * 300])
def test_a_name_that_cannot_be_is_refused(own_web: BrokenWeb, plain_web: HttpClient, name: str) -> None:
    url = own_web.put("file", CONTENT, headers={"Content-Disposition": f"attachment; filename={name}"})
    with pytest.raises(ConfigurationError, match="refused"):
        HttpSource(url, plain_web, {}).manifest()


@given(st.text(max_size=60))
def test_whatever_stands_in_theproposed_name_is_a_name_or_none(text: str) -> None:
    name = proposed_name(Response(200, "http://host/a", {"content-disposition": f"attachment; {text}"}, b""))
    assert name is None or (name and "/" not in name and name not in (".", ".."))


@pytest.mark.parametrize("content", [CONTENT, b""], ids=["with bytes", "without any"])
@pytest.mark.parametrize("status", [None, 401, 403, 404, 405, 501])
def test_a_file_is_known_by_its_head_or_by_its_first_byte(
    own_web: BrokenWeb, plain_web: HttpClient, content: bytes, status: int | None
) -> None:
    url = own_web.put("file", content)
    if status is not None:
        own_web.faults.add(Answer(status), method="HEAD", times=FOREVER)
    source = HttpSource(url, plain_web, {})
    (file,) = source.manifest().files
    assert file.size == len(content)
    assert read(source, file) == content


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"ETag": '"v1"'}, Validator('"v1"')),
        (
            {"ETag": None, "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"},
            Validator("Wed, 21 Oct 2015 07:28:00 GMT", is_date=True),
        ),
        ({"ETag": None}, None),
    ],
)
def test_a_file_is_pinned_by_what_the_server_offers(
    own_web: BrokenWeb, plain_web: HttpClient, headers: dict[str, str | None], validator: Validator | None
) -> None:
    url = own_web.put("file", CONTENT, headers=headers)
    assert HttpSource(url, plain_web, {}).manifest().files[0].validator == validator


@pytest.mark.parametrize(
    "fault",
    [compressed(CONTENT), NoLength(), Headers({"Content-Range": "bytes */*"}), Headers({"Content-Range": None})],
    ids=["packed", "no length", "no range", "no Content-Range"],
)
def test_a_file_of_untold_size_is_one_stream(own_web: BrokenWeb, plain_web: HttpClient, fault: Fault) -> None:
    url = own_web.put("file", CONTENT)
    own_web.faults.add(NoLength(), method="HEAD")
    own_web.faults.add(fault, method="GET")
    source = HttpSource(url, plain_web, {})
    (file,) = source.manifest().files
    if not isinstance(fault, NoLength):  # whose Content-Range tells it
        assert (file.sized, file.size) == (False, 0)
    assert read(source, file, file.span) == CONTENT


@pytest.mark.parametrize(
    ("status", "kind"), [(404, SourceNotFound), (410, SourceNotFound), (401, AccessDenied), (403, AccessDenied)]
)
def test_what_may_not_be_had_is_said_plainly(
    own_web: BrokenWeb, plain_web: HttpClient, status: int, kind: type[DownloadError]
) -> None:
    url = own_web.put("file", CONTENT)
    own_web.faults.add(Answer(status), times=FOREVER)
    with pytest.raises(kind, match=f"{url}.*{status}"):
        HttpSource(url, plain_web, {}).manifest()
    own_web.faults.clear()
    source = HttpSource(url, plain_web, {})
    (file,) = source.manifest().files
    own_web.faults.add(Answer(status), times=FOREVER)
    with pytest.raises(kind, match=f"{url}.*{status}"):
        read(source, file)


@pytest.mark.parametrize(
    ("uri", "headers", "netrc", "sent"),
    [
        ("http://HOST/f", {}, "", None),
        ("http://HOST/f", {"Authorization": "Bearer a"}, "", "Bearer a"),
        ("http://HOST/f", {}, "machine 127.0.0.1 login me password word", "Basic bWU6d29yZA=="),
        ("http://HOST/f", {}, "default login me password word", "Basic bWU6d29yZA=="),
        ("http://HOST/f", {}, "machine other login me password word", None),
        ("http://HOST/f", {"Authorization": "Bearer a"}, "machine 127.0.0.1 login me password word", "Bearer a"),
        ("http://me:word@HOST/f", {"Authorization": "Bearer a"}, "default login x password y", "Basic bWU6d29yZA=="),
        ("http://me:w%20d@HOST/f", {}, "", "Basic bWU6dyBk"),
    ],
)
def test_the_uri_beats_the_environment_and_that_beats_netrc(  # noqa: PLR0917 - a table
    own_web: BrokenWeb,
    plain_web: HttpClient,
    tmp_path: Path,
    uri: str,
    headers: dict[str, str],
    netrc: str,
    sent: str | None,
) -> None:
    own_web.put("f", CONTENT)
    (tmp_path / "netrc").write_text(netrc + "\n")
    host = f"127.0.0.1:{own_web.server.port}"
    HttpSource(uri.replace("HOST", host), plain_web, headers, tmp_path / "netrc").manifest()
    assert own_web.log.records()[0].request.headers.get("authorization") == sent


@pytest.mark.parametrize("content", [b"machine", b"machine a login \xff\xfe password b\n"])
def test_a_netrc_that_cannot_be_read_is_named(plain_web: HttpClient, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "netrc").write_bytes(content)
    with pytest.raises(ConfigurationError, match="netrc"):
        HttpSource("http://host/f", plain_web, {}, tmp_path / "netrc")


def test_a_redirected_file_keeps_its_own_name(own_web: BrokenWeb, plain_web: HttpClient) -> None:
    target = own_web.put("objects/0f3a", CONTENT)
    url = own_web.put("model.gguf", CONTENT)
    own_web.faults.add(moved(target), path="/model.gguf", times=FOREVER)
    source = HttpSource(url, plain_web, {})
    (file,) = source.manifest().files
    assert (file.path, file.locator) == ("model.gguf", url)
    assert read(source, file) == CONTENT


def test_names_are_decoded_once(own_web: BrokenWeb, plain_web: HttpClient) -> None:
    url = own_web.put("a%41 ä.bin", CONTENT).rpartition("/")[0] + "/" + quote("a%41 ä.bin")
    (file,) = HttpSource(url, plain_web, {}).manifest().files
    assert file.path == "a%41 ä.bin"


def test_without_access_to_netrc_a_file_is_read_without_credentials(
    own_web: BrokenWeb, plain_web: HttpClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a home that is closed to a random user; root may look everywhere, but not for such a name."""
    url = own_web.put("model.bin", CONTENT)
    assert whole(HttpSource(url, plain_web, {}, tmp_path / ("n" * 300))) == {"model.bin": CONTENT}
    assert {record.request.headers.get("authorization") for record in own_web.log.records()} == {None}
    assert "File name too long" in caplog.text


@pytest.mark.parametrize(
    ("query", "over"),
    [
        ("X-Amz-Date=20200101T000000Z&X-Amz-Expires=3600&X-Amz-Signature=x", True),
        ("X-Goog-Date=20200101T000000Z&X-Goog-Expires=3600&X-Goog-Signature=x", True),
        ("Expires=1577836800&Signature=x&Key-Pair-Id=k", True),
        ("sv=2020&se=2020-01-01T00%3A00%3A00Z&sig=x", True),
        ("X-Amz-Date=20200101T000000Z&X-Amz-Expires=999999999999&X-Amz-Signature=x", False),
        ("Expires=99999999999&Signature=x", False),
        ("se=2999-01-01T00%3A00%3A00Z&sig=x", False),
        ("Expires=1577836800", False),
        ("X-Amz-Date=yesterday&X-Amz-Expires=" + "9" * 5000, False),
        ("se=nonsense&sig=x", False),
        ("", False),
    ],
)
def test_a_signature_that_has_expired_is_told_as_such(
    own_web: BrokenWeb, plain_web: HttpClient, query: str, *, over: bool
) -> None:
    url = own_web.put("file", CONTENT)
    own_web.faults.add(Answer(403), times=FOREVER)
    with pytest.raises(AccessDenied) as caught:
        HttpSource(f"{url}?{query}", plain_web, {}).manifest()
    assert ("the signature in the address" in caught.value.message) == over
    assert ("AIM_HTTP_TOKEN" in caught.value.hint) != over
    assert "127.0.0.1" in caught.value.message
    assert "X-Amz" not in str(caught.value)


def test_a_server_that_says_that_a_signature_has_expired_is_believed(own_web: BrokenWeb, plain_web: HttpClient) -> None:
    own_web.put("folder/SHA256SUMS", b"")
    told = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    own_web.faults.add(Answer(403, {"Content-Type": "application/xml"}, told), times=FOREVER)
    with pytest.raises(AccessDenied, match=r"signature in the address of .* has expired.*Request has expired"):
        HttpSource(own_web.url("folder/"), plain_web, {}).manifest()
