"""Whatever bytes come, and however many: no reader takes more memory than a small multiple of what it was given.

What makes a reader take too much is seldom odd and mostly repeated, so each input is a few pieces of its format's own
alphabet, and each of them many times. Python's own memory is counted, as `tracemalloc` sees it. Whole runs of the
command, with the memory of the libraries, are in test_bounds.py.
"""
# ruff: noqa: E501 -- alphabets of formats

from __future__ import annotations

import io
import tarfile
import tempfile
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from downloader.archives.reader import Archive
from downloader.archives.validation import validate
from downloader.config import KServeSettings, Settings
from downloader.config.s3 import S3Settings
from downloader.errors import DownloadError
from downloader.filesystem import Reading
from downloader.filesystem.local import Disk
from downloader.integrity import checksum_file
from downloader.lease.lease import epochs, parse_lease, read_lease
from downloader.network.h1 import parse_common_head
from downloader.sources.content_disposition import proposed_name
from downloader.sources.http_digests import published
from downloader.sources.s3.list_parser import read_contents, read_truncation
from downloader.volume import journal
from downloader.volume.record_log import COMMIT_LOG, encode, read_commit_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.network import Response

MOST = 64 << 10
"""Bytes of an input."""
ROOM = 4 << 20
"""What a reader may take at all."""
SLOW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


def floods(*alphabet: bytes) -> st.SearchStrategy[bytes]:
    """Return a few pieces of the alphabet, or of any bytes, each repeated until it is long, in any order."""
    piece = st.one_of(st.sampled_from(alphabet), st.binary(min_size=1, max_size=8))
    times = st.sampled_from([1, 1, 7, MOST])
    parts = st.tuples(piece, times).map(lambda part: (part[0] * part[1])[:MOST])
    return st.lists(parts, min_size=1, max_size=4).map(lambda found: b"".join(found)[:MOST])


def bounded(reader: Callable[[], object], size: int, factor: int) -> None:
    """See that reading takes at most so many times the size, and raises nothing but errors of ours."""
    with suppress(DownloadError):
        reader()  # what is made once, such as compiled patterns, does not count
    tracemalloc.start()
    try:
        with suppress(DownloadError):
            reader()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < ROOM + factor * size


SHA = b"0123456789abcdef" * 4
LIST = (b"\0", b"\n", b"\r\n", b"\\", b"#", b"# proof: sha256\n", b"# files: 9\n", b"# records: ", SHA, b"  ", b"a/", b"\xff",
        SHA + b"  a\n", b'# origin: ["a", "b"]\n', b"\\" + SHA + b"  \\n\n", b"SHA256 (a) = " + SHA + b"\n", b"\xef\xbb\xbf")  # fmt: skip


@SLOW
@given(floods(*LIST))
def test_any_list_of_checksums_takes_bounded_memory(raw: bytes) -> None:
    bounded(lambda: checksum_file.parse_checksums(raw), len(raw), 24)


ENTRY = encode("file", "a", 1, "0" * 64, "1" * 32)
RECORDS = (b"\0", b"\n", b"[", b"]", b'"', b"9", b"{", b"a", b"00000000 ", ENTRY, encode("journal", 1, "a", 1 << 50),
           encode("bytes", 0, 1), encode("bytes", 5, 9), encode("bytes", "a" * 50_000))  # fmt: skip


@SLOW
@given(floods(*RECORDS), st.integers(0, 1))
def test_any_commit_log_journal_or_lease_takes_bounded_memory(raw: bytes, first: int) -> None:
    head = encode("journal", journal.VERSION, "a", 1 << 50) * first
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, ".downloading").mkdir()
        for name in (COMMIT_LOG, ".downloading/lease.1", ".downloading/a.journal"):
            Path(folder, name).write_bytes(head + raw)
        disk = Disk(Path(folder))
        bounded(lambda: read_commit_log(disk, ["a"]), 0, 0)
        bounded(lambda: journal.load(disk, ".downloading/a.journal", "a", 1 << 50), len(raw), 8)
        bounded(
            lambda: [parse_lease(read_lease(disk, f".downloading/lease.{epoch}") or b"") for epoch in epochs(disk)],
            0,
            0,
        )
        disk.close_all()


def test_a_journal_of_spans_without_end_takes_bounded_memory() -> None:
    """Each of them a single byte with a gap behind it, backwards, as no run of ours leaves them."""
    lines = [encode("journal", journal.VERSION, "a", 1 << 50)]
    lines += [encode("bytes", 2 * number, 2 * number + 1) for number in range(60_000, 0, -1)]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.journal").write_bytes(b"".join(lines))
        disk = Disk(Path(folder))
        bounded(lambda: journal.load(disk, "a.journal", "a", 1 << 50), 0, 0)
        assert not journal.load(disk, "a.journal", "a", 1 << 50)
        disk.close_all()


HEADS = (
    b"HTTP/1.1 200 OK\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"X: y\r\n",
    b"X: ",
    b":",
    b" ",
    b"a",
    b"\t",
    b"Content-Length: 5\r\n",
    b"\xff",
)


@SLOW
@given(floods(*HEADS))
def test_any_head_of_an_answer_takes_bounded_memory(raw: bytes) -> None:
    bounded(lambda: parse_common_head(raw, "GET"), len(raw), 24)


FIELDS = (b"attachment; ", b"filename=", b"filename*=", b"UTF-8''", b"%41", b"%", b'"', b"\\", b";", b"=", b"a", b"9", b" ",
          b"sha-256=:", b"AAAA", b":,", b"md5=", b"crc32c=")  # fmt: skip


@SLOW
@given(floods(*FIELDS))
def test_any_fields_of_an_answer_take_bounded_memory(raw: bytes) -> None:
    value = raw.decode("latin-1")
    names = ("repr-digest", "digest", "content-digest", "x-goog-hash", "content-md5", "x-amz-checksum-sha256")
    bounded(lambda: published(dict.fromkeys(names, value), whole=True), len(raw) * len(names), 24)
    reply = cast("Response", SimpleNamespace(headers={"content-disposition": value}))
    bounded(lambda: proposed_name(reply), len(raw), 24)


XML = (b"<Contents>", b"</Contents>", b"<Key>", b"</Key>", b"a", b"&amp;", b"&#65;", b"<Size>1</Size>", b"<a/>", b" x='y'", b"\0",
       b"<Contents><Key>a</Key><Size>1</Size></Contents>", b"<IsTruncated>true</IsTruncated>", b"<!--", b"<")  # fmt: skip


@SLOW
@given(floods(*XML), st.booleans())
def test_any_page_of_a_bucket_takes_bounded_memory(raw: bytes, framed: bool) -> None:  # noqa: FBT001
    frame = (b"<ListBucketResult><Contents><Key>a</Key><Size>1</Size></Contents>", b"</ListBucketResult>")
    body = raw.join(frame) if framed else raw

    def page() -> None:
        answer: dict[str, Any] = {"status_code": 200, "body": body}
        read_contents(answer, {})
        read_truncation(answer, {})

    bounded(page, len(body), 48)


JSON = (
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b"a",
    b"\\u0000",
    b",",
    b":",
    b'"a":',
    b"1",
    b"[],",
    b'{"type":"s3"},',
    b"null,",
    b"e",
    b"-",
)


@SLOW
@given(floods(*JSON))
def test_any_json_of_kserve_takes_bounded_memory(raw: bytes) -> None:
    text = raw.replace(b"\0", b"").decode("latin-1")
    environ = dict.fromkeys(
        ("STORAGE_ALLOW_PATTERNS", "STORAGE_CONFIG", "STORAGE_OVERRIDE_CONFIG", "model.test-headers"), text
    )
    bounded(lambda: KServeSettings.from_environment(environ, []), 4 * len(raw), 40)
    bounded(lambda: Settings.from_environment(environ, section=S3Settings), 4 * len(raw), 40)


def tar_of(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            archive.addfile(info)
    return buffer.getvalue()[: 512 * -(-len(members[0][0]) // 512) + 1024]


BLOCKS = (bytes(512), tar_of(("a", tarfile.REGTYPE)), tar_of(("ä" * 300, tarfile.REGTYPE)), tar_of(("g", tarfile.XGLTYPE)),
          tar_of(("s", tarfile.GNUTYPE_SPARSE)), tar_of(("l", tarfile.SYMTYPE)), b"1\n", b"9 a=b\n", b"a" * 512)  # fmt: skip


@SLOW
@given(floods(*BLOCKS))
def test_any_headers_of_a_tar_take_bounded_memory(raw: bytes) -> None:
    bounded(lambda: validated("a.tar", raw), len(raw), 24)


def zip_of(count: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(count):
            archive.writestr(str(number), b"")
    return buffer.getvalue()


@SLOW
@given(
    floods(b"PK\1\2", b"PK\3\4", b"PK\5\6", bytes(46), b"\xff" * 46, b"PK\1\2" + bytes(42)), st.sampled_from([1, 300])
)
def test_any_directory_of_a_zip_takes_bounded_memory(raw: bytes, count: int) -> None:
    whole = zip_of(count)
    start = whole.index(b"PK\1\2")
    data = whole[:start] + raw + whole[start:]
    bounded(lambda: validated("a.zip", data), len(data), 24)


def validated(name: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, name).write_bytes(data)
        disk = Disk(Path(folder))
        try:
            with Archive(Reading(disk, name), name, lambda: None) as archive:
                validate((entry for entry, _ in archive.entries()), archive.size, name)
        finally:
            disk.close_all()
