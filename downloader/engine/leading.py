"""The engine that leads: other processes help it with what it fetches (ADR 83).

It works like an engine alone, but fetches only what it claims on the board, and gives their names to files that others
have verified, too. How many processes share the work is decided when it knows how much is missing.
"""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm, paths_of, sizes_of
from downloader.engine.engine import Engine
from downloader.errors import IntegrityError
from downloader.filesystem import NotThere
from downloader.integrity import compare_digests
from downloader.lease import WORK
from downloader.shards import Board, Division, Member, ShardFeed, board_name, remove_board
from downloader.volume import VerifiedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from downloader.artifact import Manifest, RemoteFile
    from downloader.engine.places import Route
    from downloader.engine.plan import Outcome
    from downloader.engine.sink import VolumeSink
    from downloader.transfer import Feed

    Join = Callable[[int], tuple[int, int] | None]

MAX_AT_ONCE = 128
"""Files of others that get their names at once: each is an open file."""

log = logging.getLogger(__name__)


class LeadingEngine(Engine):
    """An engine whose work further processes of the same run may share."""

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401 -- those of an engine
        join: Join,
        on_shared: Callable[[str], None],
        **more: Any,  # noqa: ANN401
    ) -> None:
        """`join` is called with the number of bytes to fetch; the rest is that of an engine.

        It returns which of how many processes this one is, from 0 on, or None if it works alone. `on_shared` is called
        in the thread of the run with the path of the board when there is work to share.
        """
        super().__init__(*arguments, **more)
        self._joins = join
        self._index, self._total = 0, 1
        self._on_shared = on_shared
        self._division: Division | None = None
        self._named: tuple[Manifest | None, str] = None, ""
        """The manifest whose board was asked for last, and the path of that."""

    @property
    def _is_alone(self) -> bool:
        """Whether this process cannot share its work, since the origin has not listed the artifact.

        Without the origin no place need have all files: a member would run out of places while others fetch the rest.
        """
        return any(route.place.is_abandoned for route in self._routes)

    def _path(self, manifest: Manifest) -> str:
        # A process that waits asks several times a second, and of 100,000 files each answer would take 0.2 s.
        if self._named[0] is not manifest:
            self._named = manifest, f"{WORK}/{board_name(manifest)}"
        return self._named[1]

    def _join(self, manifest: Manifest, stopped: threading.Event) -> Board:
        files, ttl, clock, _ = self._volume.environment
        board = Board(files, self._path(manifest), ttl=ttl, clock=clock, stopped=stopped)
        board.received = lambda: self._meter.received_bytes
        return board

    def _make_member(self, board: Board, manifest: Manifest, *, leads: bool) -> Member:
        division = self._division = Division(manifest)
        return Member(
            board,
            self._volume.environment,
            division.is_shared,
            check_lease=self._volume.check_lease if leads else lambda: None,
            commit=self._volume.commit if leads else None,
        )

    def _fetch_missing(self, missing: Sequence[RemoteFile], outcome: Outcome) -> None:
        if self._member is not None or self._volume.in_order or self._is_alone or not self._joined(missing):
            super()._fetch_missing(missing, outcome)  # it only helps, or no other process can, or none should
            return
        manifest, files = outcome.manifest, self._volume.environment.files
        Board.make(files, self._path(manifest))
        board = self._join(manifest, threading.Event())
        try:
            board.refresh()
            lacking = set(paths_of(missing))
            board.add_final(file for file in manifest.files if file.path not in lacking)
            self._member = self._make_member(board, manifest, leads=True)
            for file in missing:
                if board.is_final(file):  # it was, and has been changed since
                    board.add_again(file)
                if self._member.is_shared(file) and not board.record(file).round:
                    self._volume.take_journal(file, partial(board.add_done, file, 0))
            self._on_shared(self._path(manifest))
            super()._fetch_missing(missing, outcome)
        finally:
            self._member = None
            board.leave()
        self._meter.share(leads=True)
        remove_board(files, self._path(manifest))

    def _joined(self, missing: Sequence[RemoteFile]) -> bool:
        """Return whether other processes share this work."""
        place = self._joins(sum(sizes_of(missing)))
        self._index, self._total = place or (0, 1)
        return place is not None

    def _make_feed(
        self, files: Sequence[RemoteFile], sink: VolumeSink, outcome: Outcome, *, leaves: bool
    ) -> Feed | None:
        member, division = self._member, self._division
        if member is None or division is None:
            return None
        route = sink.route
        return ShardFeed(
            member,
            division,
            files,
            index=self._index,
            total=self._total,
            meter=self._meter,
            failures=sink.failures,
            collect=(lambda news: self._collect(news, member, sink)) if member.is_leader else lambda _: None,
            done=(lambda *_: None) if member.is_leader else partial(_take_over, outcome),
            fail=sink.fail,
            rank=None if route.is_last_resort else self._rank(route),
            leaves=not route.is_last_resort and leaves,
        )

    def _rank(self, route: Route) -> int:
        """Return how many places are asked before that of a route: the same number in each process."""
        asked = self._routes[: self._routes.index(route)]
        return len({each.place for each in asked if not each.place.is_abandoned} - {route.place})

    def _collect(self, news: Sequence[RemoteFile], member: Member, sink: VolumeSink) -> None:
        """Give their final names to files that other members have verified."""
        received: list[VerifiedFile] = []
        for file in news:
            if not member.board.is_final(file) and (verified := self._received(file, member)) is not None:
                received.append(verified)
            if len(received) >= MAX_AT_ONCE:
                sink.receive(received)
                received = []
        if received:
            sink.receive(received)

    def _received(self, file: RemoteFile, member: Member) -> VerifiedFile | None:
        """Return a file as a member has left it; None if no member can be believed."""
        verdict = member.board.verdict(file)
        if verdict is None or (file.sized and verdict.size != file.size):
            return None
        try:
            compare_digests(file, {Algorithm.SHA256: verdict.sha256})
            self._plan.require_proof(file, verdict.proof)
            received = member.received(file, verdict)
        except (IntegrityError, NotThere) as error:
            log.info("%s is fetched again: what another process has left of it is not usable: %s", file.path, error)
            member.board.add_again(file)
            return None
        return VerifiedFile(received.finish(), verdict.sha256, verdict.proof, member.board.place(file))


def _take_over(outcome: Outcome, path: str, sha256: str, place: str) -> None:
    """Record a file that another process has brought."""
    outcome.checksums.setdefault(path, sha256)
    if place:
        outcome.places.setdefault(path, place)
