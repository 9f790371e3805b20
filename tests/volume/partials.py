"""A file that is fetched in pieces, and what a killed process leaves of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.artifact import RemoteFile, Span
from downloader.volume import Volume
from tests.volume.artifacts import URI, noise, remote

if TYPE_CHECKING:
    from pathlib import Path

    from downloader.volume import Partial


DATA = noise(1 << 20)
FILE = remote("folder/model.bin", DATA)
SMALL = remote("config.json", b'{"a": 1}')


def put(partial: Partial, start: int, stop: int, data: bytes = DATA) -> None:
    partial.write(start, memoryview(bytearray(data[start:stop])))
    partial.complete(Span(start, stop))


def done_bytes(partial: Partial) -> int:
    return partial.file.size - sum(len(span) for span in partial.missing())


def part_of(target: Path, file: RemoteFile = FILE) -> Path:
    return next(target.glob(f".downloading/parts.*/{file.identity}.part"))


def reopened(target: Path) -> Partial:
    """Return the partial as a process sees it that comes after a kill: nothing was closed or flushed."""
    volume = Volume(target, journal_above=64 << 10, unsynced_limit=256 << 10)
    lease = volume.lease(URI)
    lease.__enter__()
    return volume.partial(FILE)


def kill(target: Path) -> None:
    """Make the lease look like that of a dead process."""
    for lease in target.glob(".downloading/lease.*"):
        lease.unlink()
