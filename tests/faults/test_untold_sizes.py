"""Web files of unknown size: one stream to its end, which is certain or proved by a digest."""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.integrity.ends import end_of
from tests.command import model, run, run_until
from tests.network.clients import answer
from tests.servers.blobs import Noise
from tests.servers.broken import NoLength, digest_headers
from tests.servers.faults import FOREVER, Cut, Exchange, Fault, Headers
from tests.servers.raw import CLOSE_NOTIFY, CUT, Raw

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.broken import BrokenWeb
    from tests.servers.certificates import Authority

MIB = 1 << 20
CONTENT = Noise(13 * MIB + 4321, seed=41).bytes()
SMALL = b"0123456789"


@dataclass(frozen=True, slots=True)
class Untold(NoLength):
    """The whole file, whatever part was asked for, and no word about its size."""

    breaks_at: int = 0

    def play(self, exchange: Exchange, after: int) -> None:
        exchange.ignore_range()
        if not self.breaks_at or not exchange.length:
            NoLength.play(self, exchange, after)
            return
        exchange.declared = None
        exchange.headers["Transfer-Encoding"] = "chunked"
        exchange.head()
        exchange.send(b"%x\r\n" % exchange.length)
        exchange.body(until=self.breaks_at)
        exchange.end(reset=False)


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("sequence", ["", "RANGES", "HTTP"])
@pytest.mark.parametrize("digest", [True, False], ids=["digest known", ""])
def test_chunks_are_one_stream_to_their_end(own_web: BrokenWeb, tmp_path: Path, sequence: str, *, digest: bool) -> None:
    url = own_web.put("model.bin", CONTENT, headers={"ETag": None})
    own_web.faults.add(Untold(), times=FOREVER)
    uri = f"{url}#sha256={digest_of(CONTENT)}" if digest else url
    extra = {"AIM_DOWNLOADER_PROTOCOL": sequence} if sequence else {}
    result = run("download", uri, tmp_path, extra=extra)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"model.bin": CONTENT}
    assert run("verify", tmp_path).status == 0
    own_web.log.clear()
    assert run("download", uri, tmp_path, extra=extra).status == 0
    if digest:
        assert len(own_web.log.records(method="GET")) == 1  # the one that asks for the size


def test_wrong_bytes_of_an_untold_size_are_refused(own_web: BrokenWeb, tmp_path: Path) -> None:
    url = own_web.put("model.bin", CONTENT)
    own_web.faults.add(Untold(), times=FOREVER)
    result = run("download", f"{url}#sha256={digest_of(SMALL)}", tmp_path)
    assert result.status == 65, result.stderr
    assert model(tmp_path) == {}


@pytest.mark.parametrize("digest", [True, False], ids=["digest known", ""])
def test_a_stream_of_untold_size_that_breaks_is_read_again(own_web: BrokenWeb, tmp_path: Path, *, digest: bool) -> None:
    url = own_web.put("model.bin", CONTENT, headers={"ETag": None})
    own_web.faults.add(Untold(), method="GET")  # which asks for the size
    own_web.faults.add(Untold(breaks_at=5 * MIB), method="GET")
    own_web.faults.add(Untold(), times=FOREVER)
    result = run("download", f"{url}#sha256={digest_of(CONTENT)}" if digest else url, tmp_path)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"model.bin": CONTENT}
    assert "trying again" in result.stderr


def test_a_folder_with_files_of_untold_size_comes_whole(own_web: BrokenWeb, tmp_path: Path) -> None:
    files = {"a.bin": CONTENT, "b.json": b"{}", "c.bin": SMALL, "empty": b""}
    for path, content in files.items():
        own_web.put(f"m/{path}", content)
    sums = "".join(f"{digest_of(content)}  {path}\n" for path, content in files.items())
    own_web.put("m/SHA256SUMS", sums.encode())
    own_web.faults.add(Untold(), path="/m/[abe]*", times=FOREVER)
    for _ in range(2):
        result = run("download", own_web.url("m/"), tmp_path)
        assert result.status == 0, result.stderr
        assert model(tmp_path) == files


@pytest.mark.parametrize("digest", [True, False], ids=["digest of nothing", ""])
def test_an_answer_without_a_byte_is_an_empty_file_only_by_its_digest(
    own_web: BrokenWeb, tmp_path: Path, *, digest: bool
) -> None:
    url = own_web.put("model.bin", b"")
    own_web.faults.add(Untold(), times=FOREVER)
    result = run("download", f"{url}#sha256={digest_of(b'')}" if digest else url, tmp_path)
    assert result.status == (0 if digest else 69), result.stderr
    assert digest or "answers with no bytes" in result.last_line
    assert "before the download began" not in result.stderr


def test_what_cannot_be_gone_on_with_does_not_stay_on_the_volume(own_web: BrokenWeb, tmp_path: Path) -> None:
    """A stream without end would fill it, and what has come is useless for the next run."""
    url = own_web.put("model.bin", CONTENT, headers={"ETag": None})
    own_web.faults.add(Untold(), method="HEAD", times=FOREVER)
    own_web.faults.add(Untold(), method="GET")
    own_web.faults.add(Untold(breaks_at=5 * MIB), method="GET", times=FOREVER)
    result = run_until(69, "download", url, tmp_path)
    assert result.status == 69, result.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > MIB]


def told(content: bytes) -> bytes:
    return answer(b"Connection: close", body=content)


@pytest.mark.parametrize(
    ("tls", "then", "digest", "status"),
    [
        (True, CLOSE_NOTIFY, False, 0),
        (True, CUT, False, 69),
        (True, CUT, True, 0),
        (False, CUT, False, 69),
        (False, CUT, True, 0),
    ],
)
def test_the_end_of_a_connection_is_the_end_of_a_file_only_where_that_is_certain(
    authority: Authority, tmp_path: Path, then: str, status: int, *, tls: bool, digest: bool
) -> None:
    context = authority.server_context() if tls else None
    with Raw([told(SMALL)], tls=context, then=then) as server:
        uri = f"{server.url}#sha256={digest_of(SMALL)}" if digest else server.url
        extra = {"AIM_CA_BUNDLE": str(authority.bundle), "STALL_TIMEOUT": "10"}
        result = run("download", uri, tmp_path, extra=extra)
    assert result.status == status, result.stderr
    assert {path: data for path, data in model(tmp_path).items() if not path.startswith(".")} == (
        {} if status else {"file.bin": SMALL}
    )
    assert not status or "without its length" in result.last_line


def safetensors() -> bytes:
    header = b'{"__metadata__":{"format":"pt"},"w":{"dtype":"U8","shape":[1000],"data_offsets":[0,1000]}}'
    return len(header).to_bytes(8, "little") + header + SMALL * 100


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", SMALL * 100)
        archive.writestr("inner.zip", b"PK\5\6" + bytes(18))
        archive.comment = b"PK\5\6, they say"
    return file.getvalue()


TELLING = {
    "model.safetensors": safetensors(),
    "model.tar.gz": gzip.compress(SMALL * 100),
    "model.zip": zipped(),
}


@pytest.mark.parametrize("cut", [0, 1, 30])
@pytest.mark.parametrize("name", TELLING)
def test_the_end_of_a_connection_is_the_end_of_a_file_whose_format_says_so(tmp_path: Path, name: str, cut: int) -> None:
    content = TELLING[name]
    with Raw([told(content[: len(content) - cut])], then=CUT) as server:
        result = run("download", server.url.replace("file.bin", name), tmp_path)
    assert result.status == (69 if cut else 0), result.stderr
    assert cut or model(tmp_path) == {name: content}


@pytest.mark.parametrize("name", TELLING)
@given(st.binary(max_size=300), st.integers(1, 40))
def test_no_bytes_break_the_search_for_an_end(name: str, content: bytes, size: int) -> None:
    for whole in (content, TELLING[name] + content, TELLING[name][:50] + content):
        end = end_of(name)
        assert end is not None
        for start in range(0, len(whole), size):
            end.update(memoryview(whole)[start : start + size])
        end.reached()


@dataclass(frozen=True, slots=True)
class Packed(Fault):
    """The file in a coding that was not requested, with its length."""

    content: bytes

    def prepare(self, exchange: Exchange) -> None:
        packed = gzip.compress(self.content)
        exchange.replace(200, {"Content-Encoding": "gzip", **digest_headers(packed)}, packed)


@pytest.mark.parametrize("digest", [True, False], ids=["digest known", ""])
def test_what_is_packed_unasked_is_unpacked(own_web: BrokenWeb, tmp_path: Path, *, digest: bool) -> None:
    text = b'{"a": "%s"}' % (b"x" * 100_000)
    url = own_web.put("config.json", text)
    own_web.faults.add(Packed(text), times=FOREVER)
    result = run("download", f"{url}#sha256={digest_of(text)}" if digest else url, tmp_path)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"config.json": text}


@pytest.mark.parametrize("coding", ["gzip", "x-gzip"])
def test_what_is_packed_by_its_name_stays_packed(own_web: BrokenWeb, tmp_path: Path, coding: str) -> None:
    """Some servers call the suffix a coding, and know no ranges for it."""
    packed = gzip.compress(CONTENT[:100_000])
    url = own_web.put("model.tar.gz", packed, headers={"Content-Encoding": coding})
    own_web.faults.add(Headers({}), times=FOREVER)
    result = run("download", url, tmp_path)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"model.tar.gz": packed}


def test_an_untold_size_of_a_file_is_not_made_up(own_web: BrokenWeb) -> None:
    url = own_web.put("model.bin", CONTENT)
    own_web.faults.add(Untold(), times=FOREVER)
    result = run("size", url)
    assert result.status == 69
    assert "does not tell how many bytes" in result.last_line
    own_web.faults.clear()
    own_web.faults.add(Cut(after=10), method="GET")
    assert run("size", url).status == 0
