"""A partial of several processes, whose machines keep what they have read and take changes for their own."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Span
from downloader.filesystem import Disk
from downloader.shards.partial import SharedPartial
from downloader.volume import GroupSync
from tests.close_to_open import CloseToOpen
from tests.needs import COMMON_FILE_SYSTEM
from tests.page_cache import cached_pages
from tests.shards.test_board import board_at, make_board
from tests.volume.artifacts import noise, remote

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
CONTENT = noise(4 * MIB)
FILE = remote("model.bin", CONTENT)


class Machine:
    """A machine with a mount of its own that fills the file."""

    def __init__(self, target: Path) -> None:
        self.disk = CloseToOpen(target, seconds=0)
        self.board = board_at(self.disk)
        self.open()

    def open(self) -> None:
        self.board.refresh()
        sync = GroupSync(64 * MIB, self.disk.sync_everything)
        self.partial = SharedPartial(FILE, self.disk, self.board, group_sync=sync, check=lambda: None)

    def fetch(self, span: Span) -> None:
        half = len(span) // 2
        for start in (span.start, span.start + half):
            self.partial.write(start, memoryview(CONTENT)[start : start + half])

    def record(self, span: Span) -> None:
        self.partial.complete(span)
        self.partial.flush()

    def read(self, span: Span) -> bytes:
        view = memoryview(bytearray(len(span)))
        assert self.partial.readinto(span.start, view) == len(span)
        return bytes(view)


def make(target: Path) -> tuple[Machine, Machine]:
    make_board(target)
    (target / ".downloading/parts.1").mkdir()
    return Machine(target), Machine(target)


def mib(number: int) -> Span:
    return Span(number * MIB, (number + 1) * MIB)


def bytes_of(span: Span) -> bytes:
    return CONTENT[span.start : span.stop]


def test_what_was_read_ahead_of_others_is_read_again(tmp_path: Path) -> None:
    reader, writer = make(tmp_path)
    writer.fetch(mib(0))
    writer.record(mib(0))
    reader.partial.add_found([mib(0)])
    assert reader.read(mib(0)) == bytes_of(mib(0))  # and ahead, where nothing is yet
    writer.fetch(mib(1))
    writer.record(mib(1))
    reader.fetch(mib(3))  # from now on its machine takes the file for what it knows
    reader.partial.add_found([mib(1)])
    assert reader.read(mib(1)) == bytes_of(mib(1))


def test_what_others_wrote_before_a_file_is_opened_again_is_read_from_them(tmp_path: Path) -> None:
    reader, writer = make(tmp_path)
    writer.fetch(mib(0))
    writer.record(mib(0))
    reader.partial.add_found([mib(0)])
    assert reader.read(mib(0)) == bytes_of(mib(0))
    writer.fetch(mib(1))
    writer.record(mib(1))
    reader.fetch(mib(3))  # from now on its machine takes the file for what it knows
    reader.partial.close()
    reader.open()
    assert reader.read(mib(1)) == bytes_of(mib(1))


def test_processes_of_one_machine_write_past_its_page_cache(tmp_path: Path) -> None:
    make_board(tmp_path)
    (tmp_path / ".downloading/parts.1").mkdir()
    disk = Disk(tmp_path)
    writer, reader = (
        SharedPartial(FILE, disk, board_at(disk), group_sync=GroupSync(64 * MIB, lambda: False), check=lambda: None)
        for _ in range(2)
    )
    path = next((tmp_path / ".downloading/parts.1").iterdir())
    if not disk.is_local or disk.open_direct(f".downloading/parts.1/{path.name}") is None:
        pytest.skip(f"no direct writes on this file system: {COMMON_FILE_SYSTEM}")
    area = mmap.mmap(-1, MIB)
    for number in (1, 0):
        area[:] = bytes_of(mib(number))
        writer.write(mib(number).start, memoryview(area))
        assert cached_pages(path) == 0
        writer.complete(mib(number))
        writer.flush()
    reader.add_found([mib(0), mib(1)])
    view = memoryview(bytearray(2 * MIB))
    assert reader.readinto(0, view) == 2 * MIB
    assert view == CONTENT[: 2 * MIB]
