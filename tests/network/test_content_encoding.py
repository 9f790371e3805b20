"""Content that is packed although it was asked not to be: unpacked where a digest proves it, refused elsewhere."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Span
from downloader.errors import DownloadError, ProtocolFailed, RangeIgnored
from downloader.network import RangeRequest
from downloader.network.tls import Trust
from tests.command import model, run
from tests.network.clients import client_of
from tests.reading import rest_of
from tests.servers.broken import compressed
from tests.servers.faults import FOREVER, Answer
from tests.servers.raw import Raw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from downloader.network import HttpClient
    from tests.servers.hub import Hub

CONTENT = bytes(range(256)) * 40
SIZE = len(CONTENT)
PACKED = gzip.compress(CONTENT)
CHUNKED = b"Transfer-Encoding: chunked"


@pytest.fixture(scope="module")
def client() -> Iterator[HttpClient]:
    with client_of(Trust(verify=False)) as web:
        yield web


def answer(body: bytes, *fields: bytes, status: bytes = b"200 OK", coding: bytes = b"gzip") -> bytes:
    """Return an answer in chunks, as servers send what they pack on the way."""
    head = b"\r\n".join([b"HTTP/1.1 " + status, b"Content-Encoding: " + coding, CHUNKED, *fields, b"", b""])
    pieces = [body[start : start + 1000] for start in range(0, len(body), 1000)]
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def fetched(web: HttpClient, url: str, span: Span, *, verified: bool = True) -> bytes:
    return rest_of(web.open(RangeRequest(url, span, SIZE, verified=verified)), 1 << 12)


@pytest.mark.parametrize("coding", [b"gzip", b"GZIP", b"x-gzip"])
@pytest.mark.parametrize("start", [0, 1, 7000, SIZE - 1])
def test_what_is_packed_is_unpacked_from_any_byte_to_the_end(client: HttpClient, start: int, coding: bytes) -> None:
    with Raw([answer(PACKED, coding=coding)]) as server:
        assert fetched(client, server.url, Span(start, SIZE)) == CONTENT[start:]


WRONG: dict[str, tuple[bytes, Span, bool, type[DownloadError]]] = {
    "no digest to prove it": (answer(PACKED), Span(0, SIZE), False, ProtocolFailed),
    "a coding that is not unpacked": (answer(PACKED, coding=b"br"), Span(0, SIZE), True, ProtocolFailed),
    "a part of what is packed": (
        answer(PACKED[10:], b"Content-Range: bytes 10-99/*", status=b"206 P"), Span(10, SIZE), True, RangeIgnored,
    ),
    "a middle": (answer(PACKED), Span(10, 20), True, RangeIgnored),
    "what is no gzip": (answer(CONTENT), Span(0, SIZE), True, ProtocolFailed),
    "an end that comes too early": (answer(PACKED[:-20]), Span(0, SIZE), True, ProtocolFailed),
    "a wrong checksum": (answer(PACKED[:-8] + bytes(8)), Span(0, SIZE), True, ProtocolFailed),
    "fewer bytes": (answer(gzip.compress(CONTENT[:-1])), Span(0, SIZE), True, DownloadError),
    "more bytes": (answer(gzip.compress(CONTENT + b"x")), Span(0, SIZE), True, ProtocolFailed),
}  # fmt: skip


@pytest.mark.parametrize("sentence", WRONG)
def test_a_packed_answer_is_refused_with(client: HttpClient, sentence: str) -> None:
    written, span, verified, kind = WRONG[sentence]
    with Raw([written]) as server, pytest.raises(kind):
        fetched(client, server.url, span, verified=verified)


def test_a_few_packed_bytes_that_stand_for_gigabytes_are_not_unpacked(client: HttpClient) -> None:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    with Raw([answer(bomb)]) as server, pytest.raises(ProtocolFailed, match="more bytes than the file has"):
        fetched(client, server.url, Span(0, SIZE))


def test_a_mirror_that_packs_its_small_files_is_read(hub: Hub, tmp_path: Path) -> None:
    files = {"config.json": b'{"x": "' + b"y" * 5000 + b'"}', "model.safetensors": CONTENT}
    hub.create("org/model").commit(files)
    hub.faults.add(compressed(files["config.json"]), path="*/config.json", times=FOREVER)
    result = run("download", "hf://org/model", tmp_path, extra={"HF_ENDPOINT": hub.endpoint})
    assert result.status == 0, result.stderr
    assert model(tmp_path) == files


def test_packed_bytes_that_are_not_the_files_are_refused(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit({"config.json": b"right" * 100})
    hub.faults.add(Answer(200, {"Content-Encoding": "gzip"}, gzip.compress(b"wrong" * 100)), route="resolve", times=99)
    result = run("download", "hf://org/model", tmp_path, extra={"HF_ENDPOINT": hub.endpoint})
    assert result.status == 65, result.stderr
    assert not (tmp_path / "config.json").exists()
