"""What has no end, or more than there is room for: each ends in one line, the right status, and little memory.

Real runs of the command. Without any artifact it takes 35 to 70 MiB, whichever libraries its source needs. What one
answer may hold is bounded (16 MiB of the Hub's, 8 MiB of an S3 service's, 64 MiB of a list of checksums), and so is
their number; decoded JSON and XML can take thirty times their bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
from typing import TYPE_CHECKING

import pytest

from downloader.errors import ProtocolFailed
from downloader.sources import hub_listing
from downloader.sources.hub_listing import MAX_PAGE
from downloader.sources.huggingface import HubSource
from downloader.sources.s3 import pages
from downloader.sources.s3.http_adapter import MAX_ANSWER
from tests.memory import MIB, run_measured
from tests.servers.broken import BrokenWeb, moved
from tests.servers.bucket import KEYS, Bucket
from tests.servers.faults import FOREVER, Answer, EndlessPages
from tests.servers.floods import JSON, EndlessHead, Flood, VastHub, pages_without_end, tree_of
from tests.servers.messages import Reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from downloader.network import HttpClient
    from downloader.sources.s3 import S3Source
    from tests.command import Result
    from tests.servers.hub import Hub
    from tests.servers.messages import Request

GIB = 1 << 30
ROOM = 200 * MIB
"""What a run may take, but for the two rows of tables that are decoded to many times their bytes."""
DECODED = 32
"""Bytes of memory, at most, for each byte of the worst JSON or XML."""


def ended(result: Result, status: int = 69) -> None:
    """See that a run failed as it should, in one line."""
    assert result.status == status, result.stderr
    assert "failed: " in result.last_line or status == 66
    assert result.last_line.isprintable()
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("route", ["api", "tree"])
def test_an_answer_of_10_gib_from_the_hub_is_not_read_to_its_end(hub: Hub, route: str) -> None:
    hub.create("org/model").commit({"config.json": b"{}"})
    hub.faults.add(Flood(b'{"type":"file","path":"a","size":1,"oid":"b"},', 10 * GIB), route=route, times=FOREVER)
    result, peak = run_measured("size", "hf://org/model", extra={"HF_ENDPOINT": hub.endpoint})
    ended(result)
    assert peak < ROOM


def test_an_answer_of_10_gib_from_an_s3_service_is_not_read_to_its_end() -> None:
    with Bucket() as bucket:
        bucket.faults.add(Flood(b"<ListBucketResult/>", 10 * GIB), times=FOREVER)
        result, peak = run_measured("size", "s3://bucket/m", extra=bucket.environment)
    ended(result)
    assert peak < ROOM


@pytest.mark.parametrize("piece", [b"\n", b"x"])
def test_a_list_of_checksums_of_10_gib_is_not_read_to_its_end(piece: bytes) -> None:
    with BrokenWeb() as web:
        web.faults.add(Flood(piece, 10 * GIB), times=FOREVER)
        result, peak = run_measured("size", web.url("m/"))
    ended(result)
    assert peak < ROOM


def test_the_worst_json_that_an_answer_may_hold_takes_bounded_memory() -> None:
    worst = b"[" + b"[]," * (MAX_PAGE // 3 - 1) + b"0]"
    with VastHub(lambda _: Reply("tree", 200, dict(JSON), worst)) as hub:
        result, peak = run_measured("size", "hf://org/model", extra={**hub.environment, "STALL_TIMEOUT": "60"})
    ended(result)
    assert peak < ROOM + DECODED * MAX_PAGE


def test_the_worst_xml_that_an_answer_may_hold_takes_bounded_memory() -> None:
    worst = b"<ListBucketResult>" + b"<a/>" * (MAX_ANSWER // 4 - 10) + b"</ListBucketResult>"
    with Bucket() as bucket:
        bucket.faults.add(Answer(200, {}, worst), path="/bucket", times=FOREVER)
        result, peak = run_measured("size", "s3://bucket/m", extra={**bucket.environment, "STALL_TIMEOUT": "60"})
    ended(result, 66)
    assert peak < ROOM + DECODED * MAX_ANSWER


def test_a_list_of_empty_lines_takes_little_memory() -> None:
    with BrokenWeb() as web:
        web.put("m/.artifact.sha256", b"\n" * (16 * MIB))
        result, peak = run_measured("size", web.url("m/"), extra={"STALL_TIMEOUT": "60"})
    ended(result, 66)
    assert peak < 100 * MIB


def test_a_page_of_the_hub_that_names_itself_as_the_next_one_ends_the_run(hub: Hub) -> None:
    hub.create("org/model").commit({"config.json": b"{}"})
    hub.faults.add(EndlessPages(), route="tree", times=FOREVER)
    result, peak = run_measured("size", "hf://org/model", extra={"HF_ENDPOINT": hub.endpoint})
    ended(result)
    assert peak < ROOM


def test_pages_of_the_hub_that_hold_nothing_and_go_on_are_counted(
    plain_web: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here with a bound of 50 pages; the command gives up after 10,000 of them, which takes 8 s and 46 MiB."""
    monkeypatch.setattr(hub_listing, "MAX_PAGES", 50)
    with VastHub(pages_without_end) as hub, pytest.raises(ProtocolFailed, match="no end"):
        HubSource("hf://org/model", plain_web, endpoint=hub.server.origin, token="").manifest()
    assert len(hub.server.log.records()) == 50


def test_more_files_of_the_hub_than_can_be_meant_are_refused(
    plain_web: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here more than 1500 of them, else a million."""
    monkeypatch.setattr(hub_listing, "MAX_FILES", 1500)
    with VastHub(tree_of(3000)) as hub, pytest.raises(ProtocolFailed, match="more than 1500 entries"):
        HubSource("hf://org/model", plain_web, endpoint=hub.server.origin, token="").manifest()


def test_more_bytes_of_a_listing_than_can_be_meant_are_refused(
    plain_web: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here more than 1 MiB of them, else 512 MiB."""
    monkeypatch.setattr(hub_listing, "MAX_LISTING", MIB)
    with VastHub(tree_of(10_000)) as hub, pytest.raises(ProtocolFailed, match="no end"):
        HubSource("hf://org/model", plain_web, endpoint=hub.server.origin, token="").manifest()
    assert len(hub.server.log.records()) < 8


@pytest.mark.parametrize("holds", ["nothing", "another object", "the same object"])
def test_pages_of_a_bucket_that_go_on_are_counted(
    holds: str, s3_source: Callable[..., S3Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here with a bound of 50 pages; the command gives up after 10,000 of them, which takes 40 s."""
    monkeypatch.setattr(pages, "MAX_PAGES", 50)
    numbers = itertools.count()

    def page() -> Answer:
        number = next(numbers)
        key = {"nothing": "", "another object": f"m/{number}", "the same object": "m/a"}[holds]
        contents = f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" if key else ""
        token = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{number}</NextContinuationToken>"
        return Answer(200, {}, f"<ListBucketResult>{token}{contents}</ListBucketResult>".encode())

    with Bucket() as bucket:
        for _ in range(60):
            bucket.faults.add(page(), route="listing")
        with pytest.raises(ProtocolFailed, match="does not come to an end"):
            s3_source("s3://bucket/m", bucket.environment).manifest()


def test_a_bucket_whose_pages_all_have_the_same_token_ends_the_run() -> None:
    page = b"<IsTruncated>true</IsTruncated><NextContinuationToken>a</NextContinuationToken>"
    with Bucket() as bucket:
        bucket.faults.add(
            Answer(200, {}, b"<ListBucketResult>" + page + b"</ListBucketResult>"), route="listing", times=FOREVER
        )
        result, peak = run_measured("size", "s3://bucket/m", extra=bucket.environment)
    ended(result)
    assert peak < ROOM


WAYS = {
    "the Hub": "hf://org/model",
    "an S3 service": "s3://bucket/m",
    "a web folder": "{origin}/m/",
    "a web server": "{origin}/model.bin",
}


def asked(way: str, origin: str, target: Path, **more: str) -> tuple[Result, int]:
    """Let the command download from whatever answers at `origin`."""
    extra = {"HF_ENDPOINT": origin, "AWS_ENDPOINT_URL": origin, **KEYS, **more}
    return run_measured("download", WAYS[way].format(origin=origin), target, extra=extra)


REDIRECTS = {"to itself": moved(""), "to a file": moved("file:///etc/passwd", 307)}


@pytest.mark.parametrize("where", REDIRECTS)
@pytest.mark.parametrize("way", WAYS)
def test_redirects_of_every_request_end_the_run(way: str, where: str, tmp_path: Path) -> None:
    with BrokenWeb() as web:
        web.faults.add(REDIRECTS[where], times=FOREVER)
        result, peak = asked(way, web.server.origin, tmp_path)
        assert len(web.log.records()) < 30
    ended(result)
    assert peak < ROOM


HEADS = {
    "a header": (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "a status line": (b"HTTP/1.1 ", b"2"),
    "passing answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "the size of a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
}


@pytest.mark.parametrize(
    ("way", "what"), [*((way, "a header") for way in WAYS), *(("a web server", what) for what in list(HEADS)[1:])]
)
def test_what_comes_without_end_ends_the_run(way: str, what: str, tmp_path: Path) -> None:
    with EndlessHead(*HEADS[what]) as server:
        result, peak = asked(way, server.origin, tmp_path, STALL_TIMEOUT="1")
    assert result.status in (65, 69, 75), result.stderr
    ended(result, result.status)
    assert peak < ROOM


@pytest.fixture(scope="module")
def bomb() -> bytes:
    return gzip.compress(bytes(256 * MIB), 1)


@pytest.mark.parametrize("way", WAYS)
def test_many_bytes_packed_into_a_few_take_little_memory(way: str, bomb: bytes, tmp_path: Path) -> None:
    with BrokenWeb() as web:
        web.faults.add(Answer(200, {**JSON, "Content-Encoding": "gzip"}, bomb), times=FOREVER)
        result, peak = asked(way, web.server.origin, tmp_path)
    if way == "a web server":  # whatever it unpacks to is the file: as many bytes could come without any packing
        assert result.status == 0, result.stderr
        assert (tmp_path / "model.bin").stat().st_size == 256 * MIB
    else:
        assert result.status in (65, 69), result.stderr
        ended(result, result.status)
    assert peak < ROOM


def test_many_files_of_a_repository_take_little_memory() -> None:
    """Here 20,000, each less than a kibibyte. By hand: 100,000 took 121 MiB, a million 762 MiB."""
    with VastHub(tree_of(20_000)) as hub:
        result, peak = run_measured("size", "hf://org/model", extra={**hub.environment, "STALL_TIMEOUT": "60"})
    assert result.status == 0, result.stderr
    assert '"sizeBytes": 140000' in result.stdout
    assert peak < 80 * MIB


def test_paths_of_a_thousand_folders_are_refused_in_little_memory() -> None:
    def deep(_: Request) -> Reply:
        entries = [
            b'{"type":"file","size":1,"oid":"%040x","path":"%s%d"}' % (number, b"a/" * 1500, number)
            for number in range(1000)
        ]
        return Reply("tree", 200, dict(JSON), b"[" + b",".join(entries) + b"]")

    with VastHub(deep) as hub:
        result, peak = run_measured("size", "hf://org/model", extra={**hub.environment, "STALL_TIMEOUT": "60"})
    ended(result, 78)
    assert "more than 128 folders deep" in result.last_line
    assert peak < ROOM


def test_a_web_folder_with_a_path_of_a_thousand_folders_is_refused(tmp_path: Path) -> None:
    path = "a/" * 1200 + "f"
    with BrokenWeb() as web:
        web.put("m/SHA256SUMS", f"{hashlib.sha256(b'hello').hexdigest()}  {path}\n".encode())
        web.put(f"m/{path}", b"hello")
        result, peak = run_measured("download", web.url("m/"), tmp_path)
    ended(result, 78)
    assert peak < ROOM
    assert list(tmp_path.iterdir()) == []
