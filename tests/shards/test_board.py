"""Claims on a board: one living member has each, whatever the order, the crashes and the delays."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from downloader.artifact import Span
from downloader.errors import LeaseLost
from downloader.filesystem import Disk
from downloader.lease import ProcessIdentity
from downloader.shards import Board, BoardGone, Verdict, boards, remove_board
from downloader.volume import encode
from tests.volume.artifacts import noise, remote

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.filesystem import Kind

TTL = 60.0
CACHED = 60.0
"""Seconds for which a client of a network file system may show what it has seen."""
FILE = remote("model.bin", noise(1000))
CLAIMS = ["piece.a.0.0", "piece.a.0.1", "hash.a.0"]


class Sluggish(Disk):
    """A disk that shows a folder as it was for up to a minute, as clients of a network file system do."""

    def __init__(self, target: Path, clock: Callable[[], float]) -> None:
        super().__init__(target)
        self.shown: dict[str, tuple[float, dict[str, Kind]]] = {}
        self._clock = clock

    def scan(self, folder: str) -> dict[str, Kind]:
        if folder not in self.shown or self._clock() - self.shown[folder][0] >= CACHED:
            self.shown[folder] = self._clock(), super().scan(folder)
        return self.shown[folder][1]


class Seat:
    """One member: its board, its disk and its clock, which stands still while it is frozen."""

    def __init__(self, target: Path, now: float) -> None:
        self.now = now
        self.disk = Sluggish(target, lambda: self.now)
        self.board = board_at(self.disk, lambda: self.now)
        self.frozen = False

    @property
    def may_work(self) -> bool:
        """Whether it would go on writing: what `check` allows."""
        try:
            self.board.check()
        except LeaseLost:
            return False
        return True


def board_at(disk: Disk, clock: object = lambda: 0.0) -> Board:
    """Join the board, without a thread for its heartbeat."""
    stopped = threading.Event()
    stopped.set()
    return Board(disk, ".downloading/shards.x", ttl=TTL, clock=clock, stopped=stopped)  # type: ignore[arg-type]


def make_board(target: Path) -> None:
    (target / ".downloading").mkdir()
    with Disk(target) as disk:
        Board.make(disk, ".downloading/shards.x")


class Claims(RuleBasedStateMachine):
    """Members join, claim, freeze, wake and die, while time passes and listings are stale."""

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory()
        self.target = Path(self.folder.name)
        make_board(self.target)
        self.now = 0.0
        self.seats: list[Seat] = []

    def teardown(self) -> None:
        for seat in getattr(self, "seats", []):
            seat.disk.close_all()
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @precondition(lambda self: len(self.seats) < 4)
    @rule()
    def join(self) -> None:
        self.seats.append(Seat(self.target, self.now))

    @rule(which=st.integers(0, 3), claim=st.sampled_from(CLAIMS))
    def claim(self, which: int, claim: str) -> None:
        if which < len(self.seats) and not self.seats[which].frozen and self.seats[which].may_work:
            self.seats[which].board.claim(claim)

    @rule(which=st.integers(0, 3))
    def read(self, which: int) -> None:
        if which < len(self.seats) and not self.seats[which].frozen:
            self.seats[which].board.refresh()

    @rule(which=st.integers(0, 3))
    def list_again(self, which: int) -> None:
        if which < len(self.seats):
            self.seats[which].disk.shown.clear()

    @rule(which=st.integers(0, 3), frozen=st.booleans())
    def freeze(self, which: int, frozen: bool) -> None:  # noqa: FBT001
        if which < len(self.seats):
            self.seats[which].frozen = frozen

    @rule(count=st.integers(1, 8))
    def pass_time(self, count: int) -> None:
        """Let seconds pass: each living member beats every ten of them and reads every five."""
        for _ in range(2 * count):
            self.now += 5.0
            for seat in self.seats:
                seat.now = self.now
                if not seat.frozen and seat.may_work:
                    seat.board.refresh()
                    if self.now % 10 == 0:
                        seat.board.beat()

    @invariant()
    def one_member_may_write_each_piece(self) -> None:
        for claim in CLAIMS:
            writers = [seat for seat in getattr(self, "seats", []) if seat.may_work and seat.board.holds(claim)]
            assert len(writers) <= 1, claim


Claims.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestClaims = pytest.mark.slow(Claims.TestCase)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    make_board(tmp_path)
    return Disk(tmp_path)


def test_the_claim_of_a_member_that_has_left_is_free_at_once(disk: Disk) -> None:
    first, second = board_at(disk), board_at(disk)
    assert first.claim("piece")
    second.refresh()
    assert not second.claim("piece")
    first.leave()
    second.refresh()
    assert second.claim("piece")


def test_a_row_ends_at_the_first_claim_that_another_member_has(tmp_path: Path) -> None:
    make_board(tmp_path)
    with Disk(tmp_path) as disk:
        first, second = board_at(disk), board_at(disk)
        assert first.claim("3")
        assert second.claim_row(["1", "2", "3", "4"]) == 2
        first.refresh()
        assert [claim for claim in "124" if first.is_free(claim)] == ["4"]  # its own is free for it, too


def test_what_is_recorded_for_later_is_seen_with_the_next_record(tmp_path: Path) -> None:
    make_board(tmp_path)
    with Disk(tmp_path) as disk:
        writer, reader = board_at(disk), board_at(disk)
        writer.queue_done(FILE, 0, [Span(0, 500)])
        reader.refresh()
        assert not reader.record(FILE).done
        writer.beat()
        reader.refresh()
        assert reader.record(FILE).done.size == 500


def test_a_claim_without_a_word_of_its_member_is_free_after_the_time_to_live(disk: Disk, tmp_path: Path) -> None:
    """Its member was killed between two calls."""
    now = [0.0]
    board = board_at(disk, lambda: now[0])
    (tmp_path / ".downloading/shards.x/claims/piece.0").touch()
    assert not board.claim("piece")
    now[0] = 2 * TTL - 1
    assert not board.claim("piece")
    now[0] = 2 * TTL
    assert board.claim("piece")
    assert (tmp_path / ".downloading/shards.x/claims/piece.1").exists()


def test_the_kernel_is_asked_only_for_a_member_that_says_nothing(disk: Disk, tmp_path: Path) -> None:
    reader = board_at(disk)
    gone = replace(ProcessIdentity.current(), started="1")
    path = tmp_path / ".downloading/shards.x/members/gone.log"
    path.write_bytes(encode("member", 1, "gone", *gone.fields().values()))
    reader.refresh()
    assert not reader.is_living("gone")
    with path.open("ab") as file:
        file.write(encode("beat", 1, 0))
    reader.refresh()
    assert reader.is_living("gone")
    reader.refresh()
    assert not reader.is_living("gone")


def test_what_a_log_says_that_never_changes_is_not_believed(disk: Disk) -> None:
    dead, reader = board_at(disk), board_at(disk)
    dead.add_verified([(FILE, Verdict("0" * 64, "sha256", "x.part", 1000))])
    assert FILE.identity in reader.refresh()
    assert reader.verdict(FILE) is None
    assert reader.record(FILE).verified


def test_what_it_has_said_before_is_believed_when_its_member_is_seen_to_live(disk: Disk) -> None:
    living, reader = board_at(disk), board_at(disk)
    living.add_verified([(FILE, Verdict("0" * 64, "sha256", "x.part", 1000))])
    reader.refresh()
    living.beat()
    assert FILE.identity in reader.refresh()
    assert reader.verdict(FILE) is not None


def test_a_round_that_begins_makes_all_earlier_records_void_in_any_order(disk: Disk) -> None:
    early, late, reader = board_at(disk), board_at(disk), board_at(disk)
    late.refresh()
    early.add_done(FILE, 0, [Span(0, 500)])
    early.add_again(FILE)
    early.add_done(FILE, 1, [Span(0, 10)])
    late.add_done(FILE, 0, [Span(500, 1000)])
    reader.refresh()
    assert list(reader.record(FILE).done) == [Span(0, 10)]
    assert reader.record(FILE).round == 1


def test_members_find_that_the_board_is_gone(disk: Disk) -> None:
    board = board_at(disk)
    assert boards(disk) == [".downloading/shards.x"]
    remove_board(disk, ".downloading/shards.x")
    with pytest.raises(BoardGone):
        board.claim("piece")
    with pytest.raises(BoardGone):
        board.refresh()
    with pytest.raises(BoardGone):
        board.beat()
    board.leave()


def test_torn_and_foreign_lines_of_a_log_count_for_nothing(disk: Disk, tmp_path: Path) -> None:
    writer, reader = board_at(disk), board_at(disk)
    writer.add_done(FILE, 0, [Span(0, 500)])
    path = tmp_path / f".downloading/shards.x/members/{writer.token}.log"
    path.write_bytes(path.read_bytes() + b'00000000 ["done","x",0,0,5]\n' + b'"claim"' * 3)
    reader.refresh()
    assert list(reader.record(FILE).done) == [Span(0, 500)]


def test_a_member_that_others_may_count_as_dead_must_not_go_on(disk: Disk) -> None:
    now = [0.0]
    frozen, other = board_at(disk, lambda: now[0]), board_at(disk, lambda: now[0])
    assert frozen.claim("piece")
    while not other.claim("piece"):
        now[0] += 5
        other.refresh()
        other.beat()
    assert now[0] >= TTL
    other.check()
    with pytest.raises(LeaseLost):
        frozen.check()
