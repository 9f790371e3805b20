"""Anything at all as a URI, an environment, a listing, a head or a body: our own errors come of it, or a safe manifest.

Journals, ledgers and lists of checksums are fuzzed in tests/volume, names in tests/sources/test_paths.py, archives in
tests/archives/test_archives.py.
"""

from __future__ import annotations

import json
from contextlib import closing, suppress
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from downloader.artifact import Manifest, Span
from downloader.config import (
    ClusterSettings,
    DebugSettings,
    HubSettings,
    JobSettings,
    KServeSettings,
    S3Settings,
    Settings,
    WebSettings,
)
from downloader.config.env import documented
from downloader.errors import ConfigurationError, DownloadError, UsageError
from downloader.network import HttpClient
from downloader.network.pool import Timeouts
from downloader.network.proxies import Proxies
from downloader.network.tls import Trust
from downloader.operator_log import last_line
from downloader.progress import ProgressMeter
from downloader.redaction import Redactor
from downloader.runs import wiring
from downloader.runs.wiring import make_client, make_filter, make_source, sequence_for
from downloader.sources.registry import ArtifactUri
from tests.servers.messages import Reply, Request
from tests.servers.origin import Server
from tests.servers.raw import Raw
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from downloader.sources import Source

CONTEXT = Trust()
QUICK = settings(deadline=None, suppress_health_check=list(HealthCheck))
SHA = "0123456789abcdef0123456789abcdef01234567"
SETTINGS = (ClusterSettings, DebugSettings, HubSettings, JobSettings, KServeSettings, S3Settings, WebSettings)
NAMES = sorted({name for kind in SETTINGS for _, facts in documented(kind) for name in facts.names})
NAMES += ["HTTP_PROXY", "https_proxy", "ALL_PROXY", "NO_PROXY", "model.test-headers", "-headers", "HF_TOKEN_FILE"]
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=60)
"""Also what is no Unicode: variables and arguments come with surrogates in the place of wrong bytes."""
PIECES = st.sampled_from([*"/@:?#[] ", "hf://", "s3://", "https://", "http://", "org", "%2F", ".."])
URIS = st.one_of(TEXT, st.lists(st.one_of(PIECES, TEXT), max_size=8).map("".join))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)


def mostly(usual: object, *others: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Return the usual value three times out of four, so that not everything is wrong at once."""
    return st.integers(0, 3).flatmap(lambda chance: st.one_of(*others) if chance == 3 else st.just(usual))


@pytest.fixture(scope="module")
def client() -> Iterator[HttpClient]:
    web = HttpClient(CONTEXT, Proxies(), user_agent="tests", timeouts=Timeouts(AT_LAST, AT_LAST))
    yield web
    web.close()


def told(error: DownloadError) -> None:
    """See that an error can be told in one line."""
    line = last_line(error, Redactor())
    assert line
    assert line.isprintable()


@QUICK
@given(uri=URIS)
@example("hf://" + "a/" * 5000)
@example("https://[::1")
@example("s3://" + "b" * 70_000)
@example("http://host:99999/")
@example("https://\ud800/")
def test_no_text_as_a_uri_breaks_anything(client: HttpClient, uri: str) -> None:
    try:
        artifact = ArtifactUri.parse(uri)
        assert sequence_for(artifact, Settings())
        make_source(artifact, Settings(), client)
    except UsageError as error:
        told(error)


def trusting(bundles: Sequence[Path], *, verify: bool) -> Trust:
    """Read what the environment names, and the usual bundle, which takes long, no more than once."""
    return Trust(bundles, verify=verify) if bundles else CONTEXT


@QUICK
@given(environ=st.dictionaries(st.sampled_from(NAMES), st.one_of(TEXT, JSON.map(json.dumps), URIS), max_size=8))
@example({"AIM_BANDWIDTH": "1e400"})
@example({"AWS_ENDPOINT_URL": "[", "S3_ENDPOINT": "0"})
@example({"AIM_DEADLINE": "nan"})
@example({"AIM_HF_INCLUDE": "[" * 1000})
@example({"AIM_HTTP_HEADERS": "[" * 100_000})
def test_no_environment_breaks_anything(environ: Mapping[str, str]) -> None:
    for uri in map(ArtifactUri.parse, ("https://127.0.0.1/model", "s3://bucket/model")):
        try:
            found = Settings.from_environment(environ, section=uri.scheme.section)
            make_filter(found).wants("model.bin")
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(wiring, "Trust", trusting)
                make_source(uri, found, make_client(uri, found, ProgressMeter()))
        except ConfigurationError as error:
            told(error)


class Service:
    """A server that answers whatever the present example says."""

    def __init__(self) -> None:
        self.answer = b""
        self.kind = "application/json"
        self.server = Server(self._answer)

    def _answer(self, request: Request) -> Reply:
        headers = {"Content-Type": self.kind}
        if request.path.startswith("/api/models/org/model") and "/tree/" not in request.path:
            return Reply("api", 200, headers, json.dumps({"id": "org/model", "sha": SHA, "siblings": []}).encode())
        return Reply("any", 200, headers, self.answer)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    one = Service()
    yield one
    one.server.close()


def listed(source: Source) -> Manifest | None:
    """Return a manifest that can be trusted, or None where the source refuses in one line."""
    try:
        manifest = source.manifest()
    except DownloadError as error:
        told(error)
        return None
    for file in manifest.files:
        parts = file.path.split("/")
        assert not {"", ".", ".."} & set(parts)
        assert "\0" not in file.path
        assert parts[0] not in (".downloading", ".artifact.sha256")
        file.path.encode()
        assert file.size >= 0
    assert len({file.path for file in manifest.files}) == len(manifest.files)
    return manifest


PATHS = st.one_of(TEXT, st.sampled_from(["a", "a/b", "../a", "/a", "a//b", ".downloading/x", "a\0", "a\n"]))
SIZES = st.one_of(st.integers(-10, 1 << 70), JSON)
LFS = {"oid": SHA + "a" * 24, "size": 5, "pointerSize": 100}
ODD_LFS = st.fixed_dictionaries({"oid": st.one_of(TEXT, JSON), "size": SIZES, "pointerSize": SIZES})
ENTRIES = st.fixed_dictionaries(
    {
        "type": mostly("file", st.sampled_from(["directory", "link", 7])),
        "path": PATHS,
        "size": mostly(5, SIZES),
        "oid": mostly(SHA, TEXT, JSON),
    },
    optional={
        "lfs": mostly(LFS, JSON, ODD_LFS),
        "xetHash": mostly(SHA + "a" * 24, TEXT, JSON),
        "lastCommit": mostly(None, JSON),
        "security": mostly(None, JSON),
    },
)
TREES = st.one_of(*[st.lists(ENTRIES, max_size=3).map(json.dumps)] * 4, JSON.map(json.dumps), TEXT)


@QUICK
@given(tree=TREES)
@example("[" * 100_000)
@example('{"a":' * 100_000)
@example("1" * 100_000)
@example("[1e400, NaN, Infinity]")
def test_no_tree_of_the_hub_breaks_anything(service: Service, client: HttpClient, tree: str) -> None:
    service.kind, service.answer = "application/json", tree.encode("utf-8", errors="surrogatepass")
    found = Settings.from_environment({"HF_ENDPOINT": service.server.origin})
    listed(make_source(ArtifactUri.parse("hf://org/model"), found, client))


def listing(objects: list[tuple[str, str, str, str]], junk: str) -> bytes:
    contents = "".join(
        f"<Contents><Key>{escape(key)}</Key><Size>{escape(size)}</Size><ETag>{escape(tag)}</ETag>"
        f"<LastModified>2026-01-01T00:00:00.000Z</LastModified><StorageClass>{kind}</StorageClass></Contents>"
        for key, size, tag, kind in objects
    )
    text = f"<ListBucketResult><Name>bucket</Name><IsTruncated>false</IsTruncated>{contents}{junk}</ListBucketResult>"
    return text.encode("utf-8", errors="surrogatepass")


PRINTABLE = st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc")), max_size=40)
KEYS = st.one_of(PATHS.map(lambda path: f"m/{path}"), PRINTABLE.map(lambda path: f"m/{path}"), TEXT)
LENGTHS = st.one_of(st.just("5"), st.just("5"), TEXT, st.integers(-5, 1 << 70).map(str))
OBJECTS = st.tuples(KEYS, LENGTHS, PRINTABLE, st.sampled_from(["STANDARD", "GLACIER", ""]))
PAGES = st.builds(listing, st.lists(OBJECTS, max_size=3), st.one_of(st.just(""), st.just(""), TEXT))
BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + level, b"&%c;" % (97 + level) * 10) for level in range(9))
    + b"]><ListBucketResult><Contents><Key>&j;</Key><Size>1</Size></Contents></ListBucketResult>"
)
PEEK = (
    b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    b"<ListBucketResult><Contents><Key>m/&a;</Key><Size>1</Size></Contents></ListBucketResult>"
)


@pytest.fixture(scope="module")
def bucket(service: Service, client: HttpClient) -> Source:
    """One for all examples: making an S3 client takes longer than listing a page."""
    environ = {"AWS_ENDPOINT_URL": service.server.origin, "AIM_S3_ANONYMOUS": "1", "AWS_REGION": "us-east-1"}
    return make_source(
        ArtifactUri.parse("s3://bucket/m"), Settings.from_environment(environ, section=S3Settings), client
    )


@QUICK
@given(page=PAGES)
@example(BOMB)
@example(PEEK)
@example(b"<ListBucketResult>" * 100_000)
@example(b"<ListBucketResult/>")
def test_no_listing_of_a_bucket_breaks_anything(service: Service, bucket: Source, page: bytes) -> None:
    service.kind, service.answer = "application/xml", page
    manifest = listed(bucket)
    assert manifest is None or all("root:" not in file.path for file in manifest.files)


FIELDS = (
    "Content-Length Content-Range Content-Encoding Transfer-Encoding Content-Disposition Content-MD5 Connection ETag "
    "Last-Modified Location Retry-After Repr-Digest Digest x-goog-hash x-amz-checksum-crc32 Set-Cookie X"
)
HEADERS = st.sampled_from(FIELDS.split())
ODD = "chunked,gzip,identity,bytes 0-4/5,bytes 0-9/5,bytes */5,close,5,5,5,attachment; filename=../x,/,sha-256=:AA==:"
VALUES = st.one_of(TEXT, st.integers(-5, 1 << 70).map(str), st.sampled_from(ODD.split(",")))
USUAL = "200 OK,200 OK,206 Partial,302 Found,416 No,429 Wait,503 Wait,404,999 x"
STATUSES = st.one_of(st.sampled_from(USUAL.split(",")), TEXT)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    lines = [f"{name}: {value}" for name, value in draw(st.lists(st.tuples(HEADERS, VALUES), max_size=5))]
    head = "\r\n".join([f"HTTP/1.1 {draw(STATUSES)}", *lines, "", ""])
    return head.encode("utf-8", errors="surrogatepass") + draw(st.binary(max_size=40))


@QUICK
@given(first=st.one_of(answers(), st.binary(max_size=60)), then=answers())
@example(OK + b"ETag: \xff\xfe\r\n\r\nhello", OK + b"\r\nhello")
@example(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", OK)
@example(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", OK)
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", OK)
@example(b"HTTP/1.1 302 x\r\nLocation: http://" + b"a" * 70 + b".test/\r\n\r\n", OK)
@example(b"HTTP/1.1 302 x\r\nLocation: http://[::1\r\n\r\n", OK)
@example(b"HTTP/1.1 302 x\r\nLocation: \r\nSet-Cookie: \xc2\x80\r\n\r\n", OK)
def test_no_answer_of_a_web_server_breaks_anything(first: bytes, then: bytes) -> None:
    web = HttpClient(CONTEXT, Proxies(), user_agent="tests", timeouts=Timeouts(connect=0.5, read=0.1))
    with Raw([first, then]) as server:
        source = make_source(ArtifactUri.parse(server.url), Settings(), web)
        manifest = listed(source)
        if manifest is not None:
            with suppress(DownloadError):
                read(source, manifest)
    web.close()


def read(source: Source, manifest: Manifest) -> None:
    """Read the beginning of the only file."""
    (file,) = manifest.files
    view, left = memoryview(bytearray(1 << 16)), min(file.size, 1 << 20)
    with closing(source.open(file, Span(0, file.size))) as body:
        while left > 0:
            count = body.readinto(view)
            assert count
            left -= count
