"""Web folders: each file of their checksum list, and nothing else."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

import pytest

from downloader.errors import (
    ConfigurationError,
    DownloadError,
    IntegrityError,
    SourceNotFound,
    SourceUnavailable,
    UsageError,
)
from downloader.network.client import HEADS_AHEAD
from downloader.network.tls import Trust
from downloader.sources.http import HttpSource
from downloader.sources.http_folder import BATCH, HEAD_WORKERS
from tests.network.clients import client_of
from tests.servers.faults import FOREVER, Answer, Silence
from tests.sources.reading import whole
from tests.waiting import AT_LAST, eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.network import HttpClient
    from tests.servers.broken import BrokenWeb

CONTENT = b"0123456789" * 1000
SHA256 = "ab" * 32


def sums(files: dict[str, bytes]) -> bytes:
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in files.items()).encode()


FILES = {"config.json": b"{}", "empty": b"", "sub/a b#?%.bin": CONTENT}


@pytest.fixture
def folder(own_web: BrokenWeb) -> str:
    for path, content in FILES.items():
        own_web.put(f"m/{path}", content)
    return own_web.url("m/")


@pytest.mark.parametrize("name", [".artifact.sha256", "SHA256SUMS"])
@pytest.mark.parametrize("query", ["", "?sig=a%2Bb&x=1"])
def test_a_folder_is_what_its_list_says(
    own_web: BrokenWeb, plain_web: HttpClient, folder: str, name: str, query: str
) -> None:
    own_web.put(f"m/{name}", sums(FILES))
    source = HttpSource(folder + query, plain_web, {})
    assert whole(source) == FILES
    assert source.manifest().checksums == (sums(FILES) if name == ".artifact.sha256" else None)
    assert {record.request.target.partition("?")[2] for record in own_web.log.records()} == {query.removeprefix("?")}


def test_an_artifact_may_have_a_checksum_list_of_its_own(
    own_web: BrokenWeb, plain_web: HttpClient, folder: str
) -> None:
    files = {**FILES, "SHA256SUMS": b"what upstream published"}
    own_web.put("m/SHA256SUMS", files["SHA256SUMS"])
    own_web.put("m/.artifact.sha256", sums(files))
    assert whole(HttpSource(folder, plain_web, {})) == files


def test_a_list_does_not_list_itself(own_web: BrokenWeb, plain_web: HttpClient, folder: str) -> None:
    own_web.put("m/SHA256SUMS", sums({**FILES, "SHA256SUMS": b"", ".artifact.sha256": b""}))
    assert whole(HttpSource(folder, plain_web, {})) == FILES


@pytest.mark.parametrize("listed", ["m/../../x", "/etc/passwd"])
def test_a_hostile_list_is_refused(own_web: BrokenWeb, plain_web: HttpClient, folder: str, listed: str) -> None:
    own_web.put("m/SHA256SUMS", sums({listed: b""}))
    with pytest.raises((IntegrityError, ConfigurationError)):
        HttpSource(folder, plain_web, {}).manifest()


def test_a_list_without_files_is_no_artifact(own_web: BrokenWeb, plain_web: HttpClient, folder: str) -> None:
    own_web.put("m/SHA256SUMS", b"# nothing yet\n")
    with pytest.raises(SourceNotFound, match="lists no files"):
        HttpSource(folder, plain_web, {}).manifest()


@pytest.mark.parametrize("ask", [HttpSource.manifest, HttpSource.version])
def test_a_digest_for_a_folder_is_not_passed_over(
    folder: str, plain_web: HttpClient, ask: Callable[[HttpSource], object]
) -> None:
    with pytest.raises(UsageError, match="single file"):
        ask(HttpSource(f"{folder}#sha256={SHA256}", plain_web, {}))


def test_a_listed_file_that_is_missing_is_an_error(own_web: BrokenWeb, plain_web: HttpClient, folder: str) -> None:
    own_web.put("m/SHA256SUMS", sums({**FILES, "gone": b"gone"}))
    with pytest.raises(SourceNotFound, match="gone"):
        HttpSource(folder, plain_web, {}).manifest()


def test_a_long_list_is_given_up_at_the_first_error_and_not_begun_again(
    own_web: BrokenWeb, plain_web: HttpClient
) -> None:
    files = {f"{number:04}": b"x" for number in range(1000)}
    for path, content in files.items():
        own_web.put(f"m/{path}", content)
    own_web.put("m/SHA256SUMS", sums(files))
    for first_batches in ("/m/0100", f"/m/{BATCH + 50:04}"):  # whichever worker is ahead
        own_web.faults.add(Answer(500), path=first_batches, times=FOREVER)
    source = HttpSource(own_web.url("m/"), plain_web, {})
    with pytest.raises(SourceUnavailable):
        source.manifest()
    first = own_web.log.records(method="HEAD")
    assert len(first) <= HEAD_WORKERS * BATCH + HEADS_AHEAD
    own_web.faults.clear()
    assert [file.path for file in source.manifest().files] == sorted(files)
    assert len(own_web.log.records(method="HEAD")) <= len(files) + 2 * HEAD_WORKERS * HEADS_AHEAD


def test_the_end_of_the_run_ends_a_long_list(own_web: BrokenWeb) -> None:
    files = {f"{number:04}": b"x" for number in range(1000)}
    own_web.put("m/SHA256SUMS", sums(files))
    own_web.faults.add(Silence(), method="HEAD", times=FOREVER)
    errors: list[DownloadError] = []

    def listing() -> None:
        try:
            HttpSource(own_web.url("m/"), client, {}).manifest()
        except DownloadError as error:
            errors.append(error)

    with client_of(Trust(verify=False)) as client:
        thread = threading.Thread(target=listing)
        thread.start()
        assert eventually(lambda: len(own_web.log.records(method="HEAD")) == HEAD_WORKERS)
        client.abort()
        thread.join(AT_LAST)
        assert not thread.is_alive()
    assert isinstance(errors[0], SourceUnavailable)
    assert len(own_web.log.records(method="HEAD")) == HEAD_WORKERS


@pytest.mark.parametrize(("name", "requests"), [(".artifact.sha256", 1), ("SHA256SUMS", 2)])
def test_a_version_costs_the_list_and_the_manifest_that_follows_does_not_ask_for_it_again(
    own_web: BrokenWeb, plain_web: HttpClient, folder: str, name: str, requests: int
) -> None:
    own_web.put(f"m/{name}", sums(FILES))
    source = HttpSource(folder, plain_web, {})
    version = source.version()
    assert len(own_web.log.records()) == requests
    more = {**FILES, "more": b"more"}
    own_web.put("m/more", more["more"])
    own_web.put(f"m/{name}", sums(more))
    assert source.manifest().version == version
    assert len(own_web.log.records(method="GET")) == requests
    assert whole(source) == more
    assert source.manifest().version == source.version() != version


def test_the_same_list_under_another_name_is_another_version(
    own_web: BrokenWeb, plain_web: HttpClient, folder: str
) -> None:
    own_web.put("m/SHA256SUMS", sums(FILES))
    source = HttpSource(folder, plain_web, {})
    version = source.version()
    own_web.put("m/.artifact.sha256", sums(FILES))
    assert source.version() != version
