"""HEAD and GET that contradict each other: what GET says counts, and HEAD alone makes no file empty."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from downloader.errors import (
    AccessDenied,
    ConnectionBroken,
    SourceNotFound,
    SourceUnavailable,
    Throttled,
    UnexpectedContent,
)
from downloader.sources.http import HttpSource
from tests.command import model, run
from tests.servers.broken import ClaimLength, compressed
from tests.servers.faults import FOREVER, Answer, HangUp, Silence, too_many_requests, web_page
from tests.sources.reading import read, whole

if TYPE_CHECKING:
    from pathlib import Path

    from downloader.network import HttpClient
    from tests.servers.broken import BrokenWeb

CONTENT = b"0123456789" * 1000
NOTHING = hashlib.sha256(b"").hexdigest()
LYING = {
    "that the file is empty": ClaimLength(0),
    "no length": ClaimLength(None),
    "another length": ClaimLength(len(CONTENT) + 7),
    "that the server has an inner error": Answer(500),
    "that a gateway is wrong": Answer(502),
    "that the server is overloaded": Answer(503),
    "nothing and hangs up": HangUp(),
    "nothing and resets the connection": HangUp(reset=True),
}


@pytest.mark.slow
@pytest.mark.parametrize("digest", [False, True], ids=["", "with a digest"])
@pytest.mark.parametrize("sentence", LYING)
def test_a_file_comes_whole_though_head_says(
    own_web: BrokenWeb, tmp_path: Path, sentence: str, *, digest: bool
) -> None:
    url = own_web.put("model.bin", CONTENT)
    own_web.faults.add(LYING[sentence], method="HEAD", times=FOREVER)
    uri = f"{url}#sha256={hashlib.sha256(CONTENT).hexdigest()}" if digest else url
    result = run("download", uri, tmp_path)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"model.bin": CONTENT}


@pytest.mark.slow
def test_a_file_that_get_alone_calls_empty_is_not_taken_for_empty(own_web: BrokenWeb, tmp_path: Path) -> None:
    url = own_web.put("model.bin", CONTENT)
    own_web.faults.add(Answer(200), method="GET", times=FOREVER)
    result = run("download", url, tmp_path, extra={"STALL_TIMEOUT": "3"})
    assert result.status == 69, result.stderr
    assert f"has {len(CONTENT)} bytes by HEAD, and none by GET" in result.last_line
    assert not (tmp_path / "model.bin").exists()
    own_web.faults.clear()
    assert run("download", url, tmp_path).status == 0
    assert model(tmp_path) == {"model.bin": CONTENT}


@pytest.mark.slow
@pytest.mark.parametrize("sentence", LYING)
def test_a_folder_comes_whole_though_head_says_of_a_file(own_web: BrokenWeb, tmp_path: Path, sentence: str) -> None:
    files = {"a.bin": CONTENT, "b.bin": CONTENT[:7], "empty": b""}
    for path, content in files.items():
        own_web.put(f"m/{path}", content)
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in files.items())
    own_web.put("m/SHA256SUMS", sums.encode())
    own_web.faults.add(LYING[sentence], method="HEAD", path="/m/a.bin", times=FOREVER)
    result = run("download", own_web.url("m/"), tmp_path)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == files


def test_an_empty_file_costs_a_get_and_one_whose_digest_is_that_of_nothing_does_not(
    own_web: BrokenWeb, plain_web: HttpClient
) -> None:
    url = own_web.put("empty", b"")
    own_web.put("m/empty", b"")
    own_web.put("m/.artifact.sha256", f"{NOTHING}  empty\n".encode())
    assert whole(HttpSource(url, plain_web, {})) == {"empty": b""}
    assert len(own_web.log.records(method="GET")) >= 1
    own_web.log.clear()
    assert whole(HttpSource(f"{url}#sha256={NOTHING}", plain_web, {})) == {"empty": b""}
    assert whole(HttpSource(own_web.url("m/"), plain_web, {})) == {"empty": b""}
    assert [record.request.path for record in own_web.log.records(method="GET")] == ["/m/.artifact.sha256"]


def test_a_file_with_bytes_costs_one_head(own_web: BrokenWeb, plain_web: HttpClient) -> None:
    url = own_web.put("model.bin", CONTENT)
    HttpSource(url, plain_web, {}).manifest()
    assert [record.request.method for record in own_web.log.records()] == ["HEAD"]


def test_where_get_fails_too_its_reason_counts(own_web: BrokenWeb, plain_web: HttpClient) -> None:
    url = own_web.put("model.bin", CONTENT)
    own_web.faults.add(Answer(500), method="HEAD", times=FOREVER)
    own_web.faults.add(Answer(404), method="GET")
    with pytest.raises(SourceNotFound):
        HttpSource(url, plain_web, {}).manifest()
    own_web.faults.add(Answer(502), method="GET", times=FOREVER)
    with pytest.raises(SourceUnavailable, match="502"):
        HttpSource(url, plain_web, {}).manifest()


def test_a_pause_that_is_asked_for_is_not_passed_over(own_web: BrokenWeb, plain_web: HttpClient) -> None:
    url = own_web.put("model.bin", CONTENT)
    own_web.faults.add(too_many_requests("7"), method="HEAD", times=FOREVER)
    with pytest.raises(Throttled):
        HttpSource(url, plain_web, {}).manifest()
    assert own_web.log.records(method="GET") == []


@pytest.mark.parametrize("headers", [{}, {"Content-Range": "bytes */0"}], ids=["without a word", "with a total"])
def test_a_file_whose_first_byte_is_refused_is_asked_for_whole(
    own_web: BrokenWeb, plain_web: HttpClient, headers: dict[str, str]
) -> None:
    """Nothing is read of an empty file, so that a total of zero would never be noticed."""
    refused = Answer(416, headers)
    url = own_web.put("model.bin", CONTENT)
    own_web.faults.add(ClaimLength(0), method="HEAD")
    own_web.faults.add(refused, method="GET")
    assert whole(HttpSource(url, plain_web, {})) == {"model.bin": CONTENT}
    url = own_web.put("empty", b"")
    own_web.faults.add(refused, method="GET")
    source = HttpSource(url, plain_web, {})
    (file,) = source.manifest().files
    assert file.size == 0
    assert not read(source, file)


@pytest.mark.slow
def test_a_server_that_never_answers_head_is_waited_for_once(own_web: BrokenWeb, tmp_path: Path) -> None:
    files = {f"{number:03}.json": CONTENT[: number + 1] for number in range(40)}
    for path, content in files.items():
        own_web.put(f"m/{path}", content)
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in files.items())
    own_web.put("m/SHA256SUMS", sums.encode())
    own_web.faults.add(Silence(), method="HEAD", times=FOREVER)
    result = run("download", own_web.url("m/"), tmp_path, extra={"STALL_TIMEOUT": "4"})
    assert result.status == 0, result.stderr
    assert model(tmp_path) == files
    assert result.stderr.count("HEAD fails; using GET for file metadata") == 1
    assert len({record.request.path for record in own_web.log.records(method="HEAD")}) < len(files)


@pytest.mark.parametrize(
    "refused", [Answer(403, {}, b"dot files are denied"), web_page()], ids=["403", "a page of its own"]
)
def test_where_names_with_a_dot_are_denied_the_other_list_counts(
    own_web: BrokenWeb, plain_web: HttpClient, refused: Answer
) -> None:
    own_web.put("m/a.bin", CONTENT)
    own_web.put("m/SHA256SUMS", f"{hashlib.sha256(CONTENT).hexdigest()}  a.bin\n".encode())
    own_web.faults.add(refused, path="/m/.artifact.sha256")
    assert whole(HttpSource(own_web.url("m/"), plain_web, {})) == {"a.bin": CONTENT}


def test_where_there_is_no_list_at_all_the_refusal_of_the_first_one_is_the_reason(
    own_web: BrokenWeb, plain_web: HttpClient
) -> None:
    own_web.faults.add(Answer(403), path="/m/.artifact.sha256", times=FOREVER)
    with pytest.raises(AccessDenied, match=r"artifact\.sha256 may not be read"):
        HttpSource(own_web.url("m/"), plain_web, {}).manifest()
    own_web.faults.clear()
    own_web.faults.add(web_page(), times=FOREVER)
    with pytest.raises(UnexpectedContent, match=r"artifact\.sha256 is a web page"):
        HttpSource(own_web.url("m/"), plain_web, {}).manifest()


def test_a_list_that_is_packed_unasked_is_unpacked_and_never_half_of_it(
    own_web: BrokenWeb, plain_web: HttpClient
) -> None:
    files = {f"{number}.bin": CONTENT[number:] for number in range(9)}
    for path, content in files.items():
        own_web.put(f"m/{path}", content)
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in files.items())
    packed = compressed(sums.encode())
    own_web.faults.add(packed, path="/m/.artifact.sha256")
    assert whole(HttpSource(own_web.url("m/"), plain_web, {})) == files
    for end in (200, -1):
        own_web.faults.add(replace(packed, content=packed.content[:end]), path="/m/.artifact.sha256")
        with pytest.raises(ConnectionBroken, match="ends before it is whole"):
            HttpSource(own_web.url("m/"), plain_web, {}).manifest()
