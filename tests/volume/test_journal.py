"""Whatever happens to a journal, it costs bytes that are fetched again and never says what is not so."""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from downloader.artifact import Span
from downloader.filesystem.local import Disk
from downloader.volume import Volume
from downloader.volume.journal import ByteRanges, Journal, load
from downloader.volume.record_log import decode, encode
from tests.volume.artifacts import URI, fill, noise, remote

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 1 << 20
DONE = [Span(0, 65536), Span(131072, 200000), Span(SIZE - 10, SIZE)]
IDENTITY = "0123456789abcdef" * 2


def covered(spans: ByteRanges) -> set[tuple[int, int]]:
    return {(span.start, span.stop) for span in spans}


def written(folder: Path) -> bytes:
    journal = Journal(Disk(folder), "journal", IDENTITY, SIZE)
    for span in DONE:
        journal.append(ByteRanges([span]))
    journal.close()
    return (folder / "journal").read_bytes()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return written(tmp_path_factory.mktemp("journal"))


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], ByteRanges]:
    folder = tmp_path_factory.mktemp("read")
    disk = Disk(folder)

    def load_bytes(content: bytes) -> ByteRanges:
        (folder / "journal").write_bytes(content)
        return load(disk, "journal", IDENTITY, SIZE)

    return load_bytes


def test_what_was_written_is_read(good: bytes, read: Callable[[bytes], ByteRanges]) -> None:
    assert covered(read(good)) == {(span.start, span.stop) for span in DONE}


def test_a_journal_torn_anywhere_says_less_and_nothing_wrong(good: bytes, read: Callable[[bytes], ByteRanges]) -> None:
    everything = covered(read(good))
    for length in range(len(good)):
        assert covered(read(good[:length])) < everything


@given(st.data())
def test_a_damaged_byte_costs_a_line_or_everything(
    good: bytes, read: Callable[[bytes], ByteRanges], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(good) - 1))
    byte = data.draw(st.integers(0, 255))
    assert covered(read(good[:place] + bytes([byte]) + good[place + 1 :])) <= covered(read(good))


@given(st.binary(max_size=300), st.integers(0, 400))
def test_foreign_bytes_in_the_middle_say_nothing(
    good: bytes, read: Callable[[bytes], ByteRanges], junk: bytes, place: int
) -> None:
    assert covered(read(good[:place] + junk + good[place:])) <= covered(read(good))


@pytest.mark.parametrize(
    "line",
    [
        ["journal", 2, IDENTITY, SIZE],
        ["journal", 1, "f" * 32, SIZE],
        ["journal", 1, IDENTITY, SIZE + 1],
        ["journal", 1, IDENTITY],
        ["bytes", 0, SIZE],
    ],
    ids=["of a future version", "of another content", "of another size", "cut short", "without a header"],
)
def test_a_journal_that_is_not_this_one_is_not_believed(
    read: Callable[[bytes], ByteRanges], line: list[str | int]
) -> None:
    assert not read(encode(*line) + encode("bytes", 0, SIZE))


@pytest.mark.parametrize(
    "line",
    [("bytes", -5, 10), ("bytes", 10, 10), ("bytes", 0, SIZE + 1), ("bytes", "0", 10), ("bytes", 0), ("wish", 0, 10)],
)
def test_a_line_that_makes_no_sense_is_passed_over(
    good: bytes, read: Callable[[bytes], ByteRanges], line: tuple[str | int, ...]
) -> None:
    assert covered(read(good + encode(*line))) == covered(read(good))


def test_lines_after_a_torn_one_count(tmp_path: Path) -> None:
    good = written(tmp_path)
    (tmp_path / "journal").write_bytes(good[:-5])
    journal = Journal(Disk(tmp_path), "journal", IDENTITY, SIZE)
    journal.append(ByteRanges([Span(300_000, 400_000)]))
    journal.close()
    expected = {(span.start, span.stop) for span in DONE[:-1]} | {(300_000, 400_000)}
    assert covered(load(Disk(tmp_path), "journal", IDENTITY, SIZE)) == expected


@given(st.one_of(st.binary(max_size=200), st.just(b'["bytes",0,1]')))
def test_of_any_bytes_only_lines_with_the_right_checksum_are_read(content: bytes) -> None:
    line = content.replace(b"\n", b"")
    crc = zlib.crc32(line)
    assert list(decode(b"%08x %s\n" % (crc ^ 1, line))) == []
    assert all(isinstance(fields, list) for fields in decode(b"%08x %s\n" % (crc, line)))
    assert list(decode(content + b"\n" + encode("bytes", 0, 1)))[-1] == ["bytes", 0, 1]


@given(st.lists(st.one_of(st.integers(), st.text()), max_size=6))
def test_every_line_says_what_was_said(fields: list[int | str]) -> None:
    assert list(decode(encode(*fields))) == [fields]


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[1],[2]", b"[1", b"2]", b"7", b"[" * 100_000])
def test_a_line_that_is_no_list_takes_no_other_line_with_it(body: bytes) -> None:
    odd = b"%08x %s\n" % (zlib.crc32(body), body)
    assert list(decode(encode("a", 1) + odd + encode("b", 2) + odd)) == [["a", 1], ["b", 2]]


def test_a_folder_or_a_symlink_in_its_place_is_no_journal(tmp_path: Path) -> None:
    good = written(tmp_path)
    (tmp_path / "elsewhere").write_bytes(good)
    (tmp_path / "link").symlink_to("elsewhere")
    (tmp_path / "folder").mkdir()
    for name in ("link", "folder", "missing"):
        assert not load(Disk(tmp_path), name, IDENTITY, SIZE)


def test_a_journal_of_absurd_length_is_not_read(tmp_path: Path) -> None:
    written(tmp_path)
    with (tmp_path / "journal").open("r+b") as file:
        file.truncate(1 << 40)
    assert not load(Disk(tmp_path), "journal", IDENTITY, SIZE)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=100), st.integers(0, 300), st.sampled_from(["insert", "replace", "cut"]))
def test_a_run_over_any_journal_ends_in_right_bytes(junk: bytes, place: int, damage: str) -> None:
    data = noise(100_000)
    file = remote("model.bin", data)
    with tempfile.TemporaryDirectory() as folder, Volume(Path(folder), journal_above=1000) as volume:
        with volume.lease(URI):
            partial = volume.partial(file)
            partial.write(0, memoryview(bytearray(data[:40_000])))
            partial.complete(Span(0, 40_000))
            partial.close()
        journal = next(Path(folder).glob(".downloading/parts.*/*.journal"))
        good = journal.read_bytes()
        rest = {"insert": good[place:], "replace": good[place + len(junk) :], "cut": b""}[damage]
        journal.write_bytes(good[:place] + junk + rest)
        with volume.lease(URI):
            assert fill(volume, file, data) >= 60_000
        assert (Path(folder) / "model.bin").read_bytes() == data
