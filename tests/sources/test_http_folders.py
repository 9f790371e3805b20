"""Web folders: each file of their checksum list, and nothing else."""

from __future__ import annotations

import hashlib
import threading
import time
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
from downloader.sources.http import AT_ONCE, HEAD_WORKERS, HttpSource
from downloader.wire.tls import trust
from tests.servers.broken import BrokenWeb
from tests.servers.faults import FOREVER, Answer, Silence
from tests.sources.reading import whole
from tests.unit.planes import plane_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.wire import Web

CONTENT = b"0123456789" * 1000
SHA256 = "ab" * 32


@pytest.fixture
def plane() -> Iterator[Web]:
    with plane_of(trust(verify=False)) as web:
        yield web


@pytest.fixture
def server() -> Iterator[BrokenWeb]:
    with BrokenWeb() as web:
        yield web


def sums(files: dict[str, bytes]) -> bytes:
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in files.items()).encode()


FILES = {"config.json": b"{}", "empty": b"", "sub/a b#?%.bin": CONTENT}


@pytest.fixture
def folder(server: BrokenWeb) -> str:
    for path, content in FILES.items():
        server.put(f"m/{path}", content)
    return server.url("m/")


@pytest.mark.parametrize("name", [".artifact.sha256", "SHA256SUMS"])
@pytest.mark.parametrize("query", ["", "?sig=a%2Bb&x=1"])
def test_a_folder_is_what_its_list_says(server: BrokenWeb, plane: Web, folder: str, name: str, query: str) -> None:
    server.put(f"m/{name}", sums(FILES))
    source = HttpSource(folder + query, plane, {})
    assert whole(source) == FILES
    assert source.manifest().checksums == (sums(FILES) if name == ".artifact.sha256" else None)
    assert {record.request.target.partition("?")[2] for record in server.log.records()} == {query.removeprefix("?")}


def test_an_artifact_may_have_a_checksum_list_of_its_own(server: BrokenWeb, plane: Web, folder: str) -> None:
    files = {**FILES, "SHA256SUMS": b"what upstream published"}
    server.put("m/SHA256SUMS", files["SHA256SUMS"])
    server.put("m/.artifact.sha256", sums(files))
    assert whole(HttpSource(folder, plane, {})) == files


def test_a_list_does_not_list_itself(server: BrokenWeb, plane: Web, folder: str) -> None:
    server.put("m/SHA256SUMS", sums({**FILES, "SHA256SUMS": b"", ".artifact.sha256": b""}))
    assert whole(HttpSource(folder, plane, {})) == FILES


@pytest.mark.parametrize("listed", ["m/../../x", "/etc/passwd"])
def test_a_hostile_list_is_refused(server: BrokenWeb, plane: Web, folder: str, listed: str) -> None:
    server.put("m/SHA256SUMS", sums({listed: b""}))
    with pytest.raises((IntegrityError, ConfigurationError)):
        HttpSource(folder, plane, {}).manifest()


def test_a_list_without_files_is_no_artifact(server: BrokenWeb, plane: Web, folder: str) -> None:
    server.put("m/SHA256SUMS", b"# nothing yet\n")
    with pytest.raises(SourceNotFound, match="lists no files"):
        HttpSource(folder, plane, {}).manifest()


def test_a_digest_for_a_folder_is_not_passed_over(folder: str, plane: Web) -> None:
    with pytest.raises(UsageError, match="single file"):
        HttpSource(f"{folder}#sha256={SHA256}", plane, {}).manifest()


def test_a_listed_file_that_is_missing_is_an_error(server: BrokenWeb, plane: Web, folder: str) -> None:
    server.put("m/SHA256SUMS", sums({**FILES, "gone": b"gone"}))
    with pytest.raises(SourceNotFound, match="gone"):
        HttpSource(folder, plane, {}).manifest()


def test_a_long_list_is_given_up_at_the_first_trouble_and_not_begun_anew(server: BrokenWeb, plane: Web) -> None:
    files = {f"{number:04}": b"x" for number in range(1000)}
    for path, content in files.items():
        server.put(f"m/{path}", content)
    server.put("m/SHA256SUMS", sums(files))
    server.faults.add(Answer(500), path="/m/0300")
    source = HttpSource(server.url("m/"), plane, {})
    with pytest.raises(SourceUnavailable):
        source.manifest()
    first = len(server.log.records(method="HEAD"))
    assert first < 800
    assert [file.path for file in source.manifest().files] == sorted(files)
    assert len(server.log.records(method="HEAD")) <= len(files) + 2 * HEAD_WORKERS * AT_ONCE


def test_the_end_of_the_run_ends_a_long_list(server: BrokenWeb, plane: Web) -> None:
    files = {f"{number:04}": b"x" for number in range(1000)}
    server.put("m/SHA256SUMS", sums(files))
    server.faults.add(Silence(), method="HEAD", times=FOREVER)
    source = HttpSource(server.url("m/"), plane, {})
    errors: list[DownloadError] = []

    def listing() -> None:
        try:
            source.manifest()
        except DownloadError as error:
            errors.append(error)

    thread = threading.Thread(target=listing)
    thread.start()
    while len(server.log.records(method="HEAD")) < 8:
        time.sleep(0.002)
    plane.abort()
    thread.join(5)
    assert not thread.is_alive()
    assert isinstance(errors[0], SourceUnavailable)
    assert len(server.log.records(method="HEAD")) == 8


@pytest.mark.parametrize(("name", "requests"), [(".artifact.sha256", 1), ("SHA256SUMS", 2)])
def test_a_version_costs_the_list_and_the_manifest_that_follows_does_not_ask_for_it_again(
    server: BrokenWeb, plane: Web, folder: str, name: str, requests: int
) -> None:
    server.put(f"m/{name}", sums(FILES))
    source = HttpSource(folder, plane, {})
    version = source.version()
    assert len(server.log.records()) == requests
    more = {**FILES, "more": b"more"}
    server.put("m/more", more["more"])
    server.put(f"m/{name}", sums(more))
    assert source.manifest().version == version
    assert len(server.log.records(method="GET")) == requests
    assert whole(source) == more
    assert source.manifest().version == source.version() != version


def test_the_same_list_under_another_name_is_another_version(server: BrokenWeb, plane: Web, folder: str) -> None:
    server.put("m/SHA256SUMS", sums(FILES))
    source = HttpSource(folder, plane, {})
    version = source.version()
    server.put("m/.artifact.sha256", sums(FILES))
    assert source.version() != version


def test_a_digest_for_a_folder_is_not_passed_over_by_its_version_either(folder: str, plane: Web) -> None:
    with pytest.raises(UsageError, match="single file"):
        HttpSource(f"{folder}#sha256={SHA256}", plane, {}).version()
