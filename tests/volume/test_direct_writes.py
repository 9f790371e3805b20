"""Past the page cache where that is possible, and never full of pages that are not read."""

from __future__ import annotations

import logging
import mmap
import os
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Span
from downloader.filesystem.local import Disk
from downloader.volume import Volume
from tests.needs import COMMON_FILE_SYSTEM
from tests.page_cache import cached_pages
from tests.volume.artifacts import URI, commit, noise, remote
from tests.volume.partials import DATA, FILE, part_of, put

if TYPE_CHECKING:
    from pathlib import Path


def aligned(data: bytes) -> memoryview:
    memory = mmap.mmap(-1, len(data))
    memory[:] = data
    return memoryview(memory)


def test_aligned_and_other_writes_make_one_file(volume: Volume, target: Path) -> None:
    data = noise((1 << 20) + 123)
    file = remote("model.bin", data)
    partial = volume.partial(file)
    partial.write(0, aligned(data[: 512 << 10]))
    partial.write(512 << 10, aligned(data[512 << 10 : (1 << 20)])[:4096])
    partial.write((512 << 10) + 4096, memoryview(bytearray(data[(512 << 10) + 4096 :])))
    partial.complete(Span(0, file.size))
    commit(volume, partial, data)
    assert (target / "model.bin").read_bytes() == data


class Refusing(Disk):
    """A file system that opens files for direct writes and then does not take them."""

    def write_direct(self, handle: int, offset: int, data: memoryview) -> bool:
        del handle, offset, data
        return False


class Unable(Disk):
    """A file system that has no direct writes."""

    def open_direct(self, path: str) -> int | None:
        del path
        return None


@pytest.mark.parametrize("kind", [Refusing, Unable])
def test_without_direct_writes_it_goes_on_and_says_so_in_the_debug_log(
    target: Path, kind: type[Disk], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    volume = Volume(target, files=kind(target), journal_above=64 << 10)
    with volume.lease(URI):
        partial = volume.partial(FILE)
        partial.write(0, aligned(DATA))
        partial.complete(Span(0, len(DATA)))
        commit(volume, partial, DATA)
    assert (target / FILE.path).read_bytes() == DATA
    assert sum("direct writes" in record.message for record in caplog.records) == 1
    assert all(record.levelno == logging.DEBUG for record in caplog.records)


def test_direct_writes_leave_the_page_cache_alone(volume: Volume, target: Path) -> None:
    data = noise(8 << 20)
    file = remote("model.bin", data)
    partial = volume.partial(file)
    if partial._storage._direct is None:  # noqa: SLF001 -- the only way to know why there is nothing to see
        pytest.skip(f"no direct writes on this file system: {COMMON_FILE_SYSTEM}")
    partial.write(0, aligned(data))
    part = part_of(target, file)
    assert cached_pages(part) == 0
    partial.complete(Span(0, len(data)))
    commit(volume, partial, data)
    assert cached_pages(target / "model.bin") == 0


def test_buffered_writes_leave_the_page_cache_after_the_batch(target: Path) -> None:
    data = noise(2 << 20)
    file = remote("model.bin", data)
    volume = Volume(target, files=Unable(target), journal_above=64 << 10, unsynced_limit=256 << 10)
    with volume.lease(URI):
        partial = volume.partial(file)
        for start in range(0, len(data), 64 << 10):
            put(partial, start, start + (64 << 10), data)
        assert cached_pages(part_of(target, file)) * 4096 <= 512 << 10
        commit(volume, partial, data)


def test_reading_a_file_drops_only_what_has_been_read_from_the_page_cache(volume: Volume, target: Path) -> None:
    path, half, most = target / "model.bin", 64 << 20, 96 << 20
    with path.open("wb") as file:
        file.write(noise(1 << 20) * (most >> 20))
        file.flush()
        os.fsync(file.fileno())
        before = cached_pages(path)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if cached_pages(path) or before < most // mmap.PAGESIZE:
        pytest.skip(f"this file system keeps its files in memory, or keeps none of them: {COMMON_FILE_SYSTEM}")
    path.read_bytes()
    view = memoryview(bytearray(1 << 20))
    with volume.reading("model.bin") as reading:
        for offset in range(0, half, len(view)):
            reading.readinto(offset, view)
        assert cached_pages(path) == (most - half) // mmap.PAGESIZE
