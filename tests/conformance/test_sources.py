"""One suite for every source: what `downloader.sources` demands of them, whatever they read from."""

from __future__ import annotations

import hashlib
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from downloader import integrity
from downloader.artifact import Algorithm, Span
from downloader.errors import Cancelled, DownloadError, SourceChanged, SourceUnavailable, Verdict
from downloader.network import HttpClient
from downloader.network.pool import Timeouts
from downloader.network.proxies import Proxies
from downloader.network.tls import Trust
from tests.conformance.locations import EMPTY, FILES, LARGE, PLACES, REMOTE, Place, Servers
from tests.reading import rest_of
from tests.servers.repository import git_oid
from tests.sources.reading import read
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from downloader.artifact import RemoteFile
    from downloader.sources import Source
    from tests.servers.certificates import Authority
    from tests.servers.rclone import Rclone
    from tests.servers.s3 import S3Server
    from tests.servers.web import WebServer

CONTENT = FILES[LARGE]
SIZE = len(CONTENT)
SPANS = {
    "the first byte": Span(0, 1),
    "the last byte": Span(SIZE - 1, SIZE),
    "one byte in the middle": Span(SIZE // 2, SIZE // 2 + 1),
    "the middle, unaligned": Span(4097, (1 << 20) + 4099),
    "the beginning": Span(0, 70_001),
    "the end": Span(SIZE - 70_001, SIZE),
    "everything": Span(0, SIZE),
}
HASHES = {
    Algorithm.SHA256: lambda content: hashlib.sha256(content).hexdigest(),
    Algorithm.MD5: lambda content: hashlib.md5(content).hexdigest(),  # noqa: S324 - S3's choice
    Algorithm.GIT_SHA1: git_oid,
}


@pytest.fixture(scope="module")
def tls(authority: Authority) -> Trust:
    return Trust([authority.bundle])


@pytest.fixture(scope="module")
def servers(s3: S3Server, rclone_server: Rclone, web: WebServer, web_root: Path) -> Servers:
    return Servers(s3, rclone_server, web, web_root)


@pytest.fixture(scope="module", params=PLACES)
def place(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Place]:
    """Each kind of place in turn; nothing in it is changed."""
    with PLACES[request.param](servers) as place:
        yield place


@pytest.fixture(params=PLACES)
def fragile(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Place]:
    """Each kind of place in turn, to be changed and broken."""
    with PLACES[request.param](servers) as place:
        yield place


@pytest.fixture(params=REMOTE)
def remote(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Place]:
    """Each kind of place behind a network in turn, to be broken."""
    with PLACES[request.param](servers) as place:
        yield place


@pytest.fixture
def client(tls: Trust) -> Iterator[HttpClient]:
    """A client without any connection yet."""
    web = HttpClient(
        tls, Proxies(), user_agent="tests", timeouts=Timeouts(AT_LAST, read=2 * AT_LAST), content=integrity
    )
    yield web
    web.close()


def test_a_manifest_is_complete_and_sorted(place: Place, client: HttpClient) -> None:
    if place.single:
        files = [file for path in FILES for file in place.source(client, path).manifest().files]
        expected = {path.rpartition("/")[2]: content for path, content in FILES.items()}
        assert all(place.source(client, path).manifest().single for path in FILES)
    else:
        manifest, expected = place.source(client).manifest(), FILES
        files = list(manifest.files)
        assert not manifest.single
        assert [file.path for file in files] == sorted(expected)
    assert {file.path: file.size for file in files} == {path: len(content) for path, content in expected.items()}


def test_every_published_digest_is_that_of_the_content(place: Place, client: HttpClient) -> None:
    for path, content in FILES.items():
        _, file = place.file(client, path)
        assert bool(file.digests) is place.digests
        assert [digest.value for digest in file.digests] == [HASHES[d.algorithm](content) for d in file.digests]


def test_listing_twice_gives_the_same_manifest(place: Place, client: HttpClient) -> None:
    source = place.source(client)
    assert source.manifest() == source.manifest()
    assert source.manifest() == place.source(client).manifest()


def test_a_version_is_that_of_what_is_listed_next_and_stays_while_nothing_changes(
    place: Place, client: HttpClient
) -> None:
    source = place.source(client)
    version = source.version()
    assert (version is None) is place.single
    assert source.manifest() == source.manifest()
    assert source.manifest().version == source.version() == version
    assert place.source(client).version() == place.source(client).manifest().version == version


CHANGES = {
    "other content of the same size": {"config.json": b"[]"},
    "other content": {"config.json": b"{ }"},
    "a file more": {"more.txt": b"more"},
    "a file more that is empty": {"more.txt": b""},
    "a file fewer": {"config.json": None},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_another_version_is_another_one(
    fragile: Place, client: HttpClient, changes: Mapping[str, bytes | None]
) -> None:
    before = fragile.source(client).version()
    fragile.publish(changes)
    after = fragile.source(client).version()
    assert (after == before) is fragile.single
    if not fragile.single:
        manifest = fragile.source(client).manifest()
        assert manifest.version == after
        assert {file.path for file in manifest.files} == {
            path for path, content in {**FILES, **changes}.items() if content is not None
        }


@pytest.mark.parametrize("span", SPANS.values(), ids=SPANS)
def test_a_span_is_exactly_its_bytes(place: Place, client: HttpClient, span: Span) -> None:
    source, file = place.file(client)
    assert read(source, file, span) == CONTENT[span.start : span.stop]


def test_a_file_without_bytes_can_be_read(place: Place, client: HttpClient) -> None:
    source, file = place.file(client, EMPTY)
    assert file.size == 0
    assert read(source, file, Span(0, 0)) == b""


@pytest.mark.parametrize("size", [1, 7, 8 << 20], ids=["one byte", "seven bytes", "more than the span"])
def test_views_may_have_any_size(place: Place, client: HttpClient, size: int) -> None:
    source, file = place.file(client)
    span = Span(10, 3010) if size < 100 else Span(10, SIZE - 10)
    body, view, content = source.open(file, span), memoryview(bytearray(size)), bytearray()
    while count := body.readinto(view):
        assert count <= size
        content += view[:count]
    body.close()
    assert content == CONTENT[span.start : span.stop]


def test_nothing_beyond_the_span_is_touched_and_its_end_stays_its_end(place: Place, client: HttpClient) -> None:
    source, file = place.file(client)
    body, buffer = source.open(file, Span(100, 200)), bytearray(b"\xee" * 300)
    view, filled = memoryview(buffer), 0
    while count := body.readinto(view[filled:]):
        filled += count
    assert bytes(buffer) == CONTENT[100:200] + b"\xee" * 200
    assert [body.readinto(view) for _ in range(3)] == [0, 0, 0]
    body.close()


@pytest.mark.parametrize("taken", [0, 10])
def test_a_body_may_be_given_up_early_and_closed_twice(place: Place, client: HttpClient, taken: int) -> None:
    source, file = place.file(client)
    for _ in range(3):
        body = source.open(file, Span(0, SIZE))
        if taken:
            assert body.readinto(memoryview(bytearray(taken))) <= taken
        body.close()
        body.close()
        body.interrupt()
    assert read(source, file, Span(5, 50)) == CONTENT[5:50]


def test_connections_are_used_again(place: Place, client: HttpClient) -> None:
    source, file = place.file(client)
    before = place.connections
    for start in range(20):
        assert read(source, file, Span(start, start + 1000)) == CONTENT[start : start + 1000]
    opened = place.connections - before
    assert opened <= (len(place.gates) if place.keeps_connections else 20)


def test_many_threads_read_at_once(place: Place, client: HttpClient) -> None:
    source, file = place.file(client)
    dice = random.Random(7)  # noqa: S311 - the same spans every time
    starts = [dice.randrange(SIZE - 60_000) for _ in range(60)]
    before = place.connections
    with ThreadPoolExecutor(12) as pool:
        pieces = list(pool.map(lambda start: read(source, file, Span(start, start + 50_001)), starts))
    assert pieces == [CONTENT[start : start + 50_001] for start in starts]
    if place.keeps_connections:
        assert place.connections - before <= 12 * len(place.gates)


def test_a_file_that_no_server_has_is_missing(place: Place, client: HttpClient) -> None:
    source, file = place.file(client)
    unknown = replace(file, path="unknown", locator=f"{file.locator}.unknown")
    with pytest.raises(place.missing):
        read(source, unknown, Span(0, 10))


@pytest.mark.parametrize("lie", [-1, 1])
def test_a_file_of_another_size_than_was_listed_is_refused(place: Place, client: HttpClient, lie: int) -> None:
    source, file = place.file(client)
    other = replace(file, size=file.size + lie)
    for span in (Span(0, other.size), Span(0, 100), Span(other.size - 100, other.size)):
        with pytest.raises(DownloadError) as caught:
            read(source, other, span)
        assert caught.value.verdict is Verdict.FALL_BACK


def test_what_was_listed_is_never_mixed_with_what_came_later(fragile: Place, client: HttpClient) -> None:
    source, file = fragile.file(client)
    fragile.put(LARGE, CONTENT[::-1])
    if fragile.pinned_forever:
        assert read(source, file) == CONTENT
        return
    if fragile.unlisted:
        assert read(source, file) == CONTENT[::-1], "whole and not mixed, so that the digest tells"
        return
    with pytest.raises(SourceChanged):
        read(source, file)
    with pytest.raises(SourceChanged):
        read(source, file, Span(100, 200))


def test_a_file_that_has_vanished_is_missing(fragile: Place, client: HttpClient) -> None:
    source, file = fragile.file(client)
    fragile.put(LARGE, None)
    with pytest.raises(fragile.missing):
        read(source, file)


def blocked(source: Source, file: RemoteFile, place: Place) -> tuple[threading.Thread, list[Exception]]:
    """Start a reader and let no byte come to it; return its thread, and what it will be told."""
    body, errors = source.open(file, Span(0, file.size)), list[Exception]()
    assert body.readinto(memoryview(bytearray(10)))
    place.hold()

    def go_on() -> None:
        with place.cancellation.waking(body.interrupt):
            try:
                rest_of(body)
            except Exception as error:  # noqa: BLE001 - which one is the question
                errors.append(error)
            finally:
                body.close()

    reader = threading.Thread(target=go_on)
    reader.start()
    return reader, errors


def test_an_interruption_wakes_who_waits_for_bytes(remote: Place, client: HttpClient) -> None:
    source, file = remote.file(client)
    reader, errors = blocked(source, file, remote)
    reader.join(0.15)
    assert reader.is_alive()
    remote.cancellation.cancel(Cancelled())
    reader.join(AT_LAST)
    assert not reader.is_alive()
    assert isinstance(errors[0], DownloadError)


def test_ending_the_run_wakes_who_waits_for_an_answer_and_lets_nothing_begin(remote: Place, client: HttpClient) -> None:
    source, file = remote.file(client)
    bodies = [source.open(file, Span(0, 10)) for _ in range(3)]
    for body in bodies:
        assert len(rest_of(body)) == 10
    remote.hold()
    errors: list[DownloadError] = []

    def ask() -> None:
        try:
            read(source, file)
        except DownloadError as error:
            errors.append(error)

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    asking[0].join(0.15)
    remote.cancellation.cancel(Cancelled())
    client.abort()
    for thread in asking:
        thread.join(AT_LAST)
        assert not thread.is_alive()
    assert len(errors) == 3
    with pytest.raises(DownloadError):
        read(source, file)


def test_a_connection_that_breaks_in_mid_body_is_an_error_or_mended(remote: Place, client: HttpClient) -> None:
    source, file = remote.file(client)
    body, view = source.open(file, Span(0, SIZE)), memoryview(bytearray(SIZE))
    filled = body.readinto(view[:10])
    remote.cut()
    with suppress(SourceUnavailable):
        while count := body.readinto(view[filled:]):
            filled += count
        assert "retried" in str(remote.wrapped)
    body.close()
    assert view[:filled] == CONTENT[:filled]
    assert read(source, file, Span(7, 77)) == CONTENT[7:77]


def test_a_server_that_is_gone_is_a_passing_error(remote: Place, client: HttpClient) -> None:
    source, file = remote.file(client)
    remote.close()
    with pytest.raises(SourceUnavailable) as caught:
        read(source, file)
    assert "127.0.0.1" in caught.value.message
    if not remote.single and not remote.unlisted:
        with pytest.raises(SourceUnavailable):
            remote.source(client).manifest()
        with pytest.raises(SourceUnavailable):
            remote.source(client).version()
