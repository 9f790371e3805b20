"""What a member claims: its part of the files to hash, and as much at a time as it will soon have fetched."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm, Digest, Manifest, RemoteFile, Span
from downloader.filesystem import Disk
from downloader.progress import ProgressMeter
from downloader.shards import Division, Member, ShardFeed
from downloader.shards.work import piece_claim
from downloader.volume import VolumeEnvironment
from tests.shards.test_board import TTL, board_at, make_board

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from downloader.filesystem import Kind
    from downloader.volume import VerifiedFile

MIB = 1 << 20
LOW_WATER = 8 * MIB


class Enough(Exception):
    """The transport has fetched what the test wants."""


@dataclass
class Transport:
    """A transport that fetches what it is given at a steady rate, on a clock of its own."""

    rate: float
    """Bytes per second."""
    until: int
    """Bytes after which it ends the attempt."""
    connections: int = 4
    now: float = 0.0
    given: list[tuple[str, list[Span]]] = field(default_factory=list)
    hashed: list[str] = field(default_factory=list)
    left: float = 0.0

    def __post_init__(self) -> None:
        self.meter = ProgressMeter(lambda: self.now)

    def add(self, files: Sequence[RemoteFile]) -> None:
        raise AssertionError(f"there are no small files: {files}")

    def share(self, file: RemoteFile, spans: Sequence[Span], found: Sequence[Span] = (), *, hashes: bool) -> None:
        assert not found
        if hashes and file.path not in self.hashed:
            self.hashed.append(file.path)
        if spans:
            self.given.append((file.path, list(spans)))
            self.left += sum(map(len, spans))

    def drop(self, file: RemoteFile) -> None:
        """Give up a file, of which it never has anything here."""

    def wait(self, seconds: float) -> bool:
        wanted = max(0.0, self.left - LOW_WATER + 1)
        came = min(wanted, self.rate * seconds)
        self._fetch(came, came / self.rate)
        return came == wanted

    def sleep(self, seconds: float) -> None:
        self._fetch(min(self.left, self.rate * seconds), seconds)

    def _fetch(self, count: float, seconds: float) -> None:
        self.now += seconds
        self.left -= count
        self.meter.add_received(int(count))
        if self.meter.received_bytes >= self.until:
            raise Enough

    @property
    def is_idle(self) -> bool:
        return not self.left


def manifest_of(count: int, size: int) -> Manifest:
    files = [
        RemoteFile(f"{n:02}.bin", size, (Digest(Algorithm.SHA256, f"{n:064x}"),), locator=f"https://origin/{n}")
        for n in range(count)
    ]
    return Manifest("https://origin/", files)


def run(target: Path | Disk, manifest: Manifest, transport: Transport, *, index: int = 0, total: int = 1) -> None:
    """Run one member until the transport has had enough."""
    disk, division = target if isinstance(target, Disk) else Disk(target), Division(manifest)

    def no_commit(_files: Iterable[VerifiedFile]) -> None:
        raise AssertionError("nothing was fetched")

    board = board_at(disk, lambda: transport.now)
    environment = VolumeEnvironment(disk, TTL, lambda: transport.now, 64 * MIB)
    member = Member(board, environment, division.is_shared, commit=no_commit)
    feed = ShardFeed(
        member,
        division,
        manifest.files,
        index=index,
        total=total,
        meter=transport.meter,
        failures={},
        collect=lambda _: None,
        done=lambda *_: None,
        fail=lambda *_: None,
        rank=None,
        leaves=False,
    )
    try:
        feed.run(transport)
    except Enough:
        return
    raise AssertionError("the feed ended before the transport had enough")


def lengths(given: Iterable[tuple[str, list[Span]]]) -> list[int]:
    return [sum(map(len, spans)) for _, spans in given]


def test_a_fast_member_claims_neighbours_together_and_single_pieces_at_the_end(tmp_path: Path) -> None:
    make_board(tmp_path)
    manifest = manifest_of(4, 512 * MIB)
    transport = Transport(rate=400 * MIB, until=4 * 512 * MIB - 2 * LOW_WATER)
    run(tmp_path, manifest, transport)
    piece = Division(manifest).piece
    assert max(lengths(transport.given)) == 64 * MIB
    assert lengths(transport.given)[-1] == piece
    for _, spans in transport.given:
        assert all(before.stop == after.start for before, after in pairwise(spans))
    starts = [(path, span.start) for path, claimed in transport.given for span in claimed]
    assert len(starts) == len(set(starts)), "claimed twice"


def test_a_slow_member_claims_no_more_than_one_piece_at_a_time(tmp_path: Path) -> None:
    make_board(tmp_path)
    manifest = manifest_of(4, 512 * MIB)
    transport = Transport(rate=MIB, until=100 * MIB)
    run(tmp_path, manifest, transport)
    assert set(lengths(transport.given)) == {Division(manifest).piece}


def test_a_member_leaves_the_others_their_part_of_the_files_to_hash(tmp_path: Path) -> None:
    make_board(tmp_path)
    manifest = manifest_of(8, 512 * MIB)
    first, second = (Transport(rate=100 * MIB, until=500 * MIB, connections=8) for _ in range(2))
    run(tmp_path, manifest, first, index=0, total=2)  # the other has not begun yet
    run(tmp_path, manifest, second, index=1, total=2)
    assert first.hashed == ["00.bin", "01.bin", "02.bin", "03.bin"]
    assert second.hashed == ["04.bin", "05.bin", "06.bin", "07.bin"]
    assert set(first.hashed) == {path for path, _ in first.given}, "each connection has a stream of its own"


def test_a_member_hashes_no_more_files_at_a_time_than_it_has_connections(tmp_path: Path) -> None:
    make_board(tmp_path)
    transport = Transport(rate=100 * MIB, until=500 * MIB, connections=2)
    run(tmp_path, manifest_of(8, 512 * MIB), transport)
    assert transport.hashed == ["00.bin", "01.bin"]


class Watched(Disk):
    """A disk that counts looks at the members."""

    looks = 0

    def scan(self, folder: str) -> dict[str, Kind]:
        self.looks += folder.endswith("/members")
        return super().scan(folder)


def test_a_member_with_work_looks_at_the_others_once_a_second(tmp_path: Path) -> None:
    make_board(tmp_path)
    disk, transport = Watched(tmp_path), Transport(rate=10 * MIB, until=100 * MIB)
    run(disk, manifest_of(4, 512 * MIB), transport)
    assert transport.now - 2 <= disk.looks <= transport.now + 2


def test_a_member_that_meets_claims_of_others_looks_more_often(tmp_path: Path) -> None:
    make_board(tmp_path)
    manifest = manifest_of(1, 512 * MIB)
    first = manifest.files[0]
    (tmp_path / f".downloading/shards.x/claims/{piece_claim(first, 0, 0)}.0").touch()  # of a member without a log
    disk, transport = Watched(tmp_path), Transport(rate=10 * MIB, until=100 * MIB)
    run(disk, manifest, transport)
    assert disk.looks > 2 * transport.now, "after each claim, which comes every 0.4 s"
