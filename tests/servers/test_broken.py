"""The broken web server breaks what it is told to, and nothing else."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.servers.broken import (
    BrokenWeb,
    ClaimTotal,
    Endless,
    IgnoreConditions,
    LongPart,
    Meanwhile,
    NoLength,
    ShortPart,
    compressed,
    digest_headers,
    moved,
)
from tests.servers.certificates import Authority
from tests.servers.faults import Cut, Fault
from tests.waiting import AT_LAST, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def web() -> Iterator[BrokenWeb]:
    with BrokenWeb() as web:
        web.put("file", CONTENT)
        yield web


def get(web: BrokenWeb, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    request = urllib.request.Request(
        web.url("file"), headers={name.replace("_", "-"): headers[name] for name in headers}
    )
    with urllib.request.urlopen(request, timeout=AT_LAST) as answer:
        return answer, answer.read()


def test_without_faults_parts_are_right_and_counted(web: BrokenWeb) -> None:
    answer, body = get(web, Range="bytes=10-19")
    assert (answer.status, body, answer.headers["Content-Range"]) == (206, CONTENT[10:20], "bytes 10-19/256000")
    counted = [("bytes=10-19", 206, 10)]
    assert eventually(lambda: [(one.range, one.status, one.sent) for one in web.log.records()] == counted)


def test_another_version_is_refused_unless_conditions_are_ignored(web: BrokenWeb) -> None:
    tag = get(web)[0].headers["ETag"]
    web.put("file", CONTENT[::-1])
    with pytest.raises(urllib.error.HTTPError, match="412"):
        get(web, If_Match=tag)
    web.faults.add(IgnoreConditions())
    answer, body = get(web, If_Match=tag, Range="bytes=0-9")
    assert (answer.status, body) == (206, CONTENT[::-1][:10])


def test_a_file_changes_after_a_reply(web: BrokenWeb) -> None:
    web.faults.add(Meanwhile(lambda: web.put("file", b"new")))
    assert get(web)[1] == CONTENT
    assert get(web)[1] == b"new"


@pytest.mark.parametrize(
    ("fault", "total", "length"),
    [(ClaimTotal(by=1), "256001", 10), (ShortPart(by=3), "256000", 7), (LongPart(by=3), "256000", 13)],
)
def test_a_part_lies_about_its_total_or_its_length(web: BrokenWeb, fault: Fault, total: str, length: int) -> None:
    web.faults.add(fault)
    answer, body = get(web, Range="bytes=0-9")
    assert answer.headers["Content-Range"] == f"bytes 0-9/{total}"
    assert len(body) == length


@pytest.mark.parametrize("chunked", [True, False])
def test_a_reply_has_no_length(web: BrokenWeb, *, chunked: bool) -> None:
    web.faults.add(NoLength(chunked=chunked))
    answer, body = get(web)
    assert "Content-Length" not in answer.headers
    assert body == CONTENT


def test_a_body_never_ends(web: BrokenWeb) -> None:
    web.faults.add(Endless())
    with urllib.request.urlopen(web.url("file"), timeout=AT_LAST) as answer:
        assert len(answer.read(len(CONTENT) + 1_000_000)) == len(CONTENT) + 1_000_000


def test_redirects_and_codings_are_as_told(web: BrokenWeb) -> None:
    web.put("other", b"elsewhere")
    web.faults.add(moved(web.url("other")), path="/file")
    web.faults.add(compressed(CONTENT), path="/file")
    assert get(web)[1] == b"elsewhere"
    assert get(web)[0].headers["Content-Encoding"] == "gzip"


def test_a_file_is_only_for_those_who_say_who_they_are(web: BrokenWeb) -> None:
    web.put("file", CONTENT, authorization="Bearer word", headers=digest_headers(CONTENT))
    with pytest.raises(urllib.error.HTTPError, match="401"):
        get(web)
    assert get(web, Authorization="Bearer word")[0].headers["x-amz-checksum-crc64nvme"]


def test_bodies_are_served_and_cut_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with BrokenWeb(tls=authority.server_context()) as web:
        url = web.put("file", CONTENT)
        with urllib.request.urlopen(url, context=authority.client_context()) as answer:
            assert answer.read() == CONTENT
        web.faults.add(Cut(after=100_000))
        with (
            pytest.raises((http.client.IncompleteRead, OSError)),
            urllib.request.urlopen(url, context=authority.client_context()) as answer,
        ):
            answer.read()
