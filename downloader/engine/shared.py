"""One of several engines that bring one artifact to one volume together (ADR 83).

The one that holds the lease leads: it works like an engine alone, but fetches only what it claims on the board, and
gives their names to files that others have verified, too. The others wait for the lease as any process does, and help
meanwhile: a thread of theirs makes the same attempts without the lease.

This module is long because any process may become the leader, so that one class does the work of both.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager, suppress
from copy import copy
from functools import partial
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm
from downloader.cancellation import Cancellation
from downloader.deadlines import SHARD_POLL
from downloader.engine.engine import Engine
from downloader.engine.helper import Helper
from downloader.engine.plan import Outcome
from downloader.errors import DownloadError, IntegrityError, LeaseLost, VolumeError
from downloader.filesystem import NotThere
from downloader.integrity import compare_digests
from downloader.lease import WORK
from downloader.progress import Phase
from downloader.shards import (
    Board,
    BoardGone,
    Division,
    Member,
    ShardFeed,
    board_name,
    boards,
    keep_progress,
    pause_of,
    remove_board,
)
from downloader.volume import VerifiedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

    from downloader.artifact import Manifest, RemoteFile
    from downloader.engine.places import Route
    from downloader.engine.sink import VolumeSink
    from downloader.transfer import Feed

    Waiting = Callable[[str, float], None]
    Lease = Callable[..., AbstractContextManager[bool]]

TRIES = 8
"""How often a volume is read again of which another process removes files."""
MOST_AT_ONCE = 128
"""Files of others that get their names at once: each is an open file."""

log = logging.getLogger(__name__)


class SharedEngine(Engine):
    """One of several engines, the one with this `index`."""

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401 -- those of an engine
        index: int,
        shared_lease: Lease,
        show_waiting: Waiting,
        helps: bool,
        on_shared: Callable[[], None],
        **more: Any,  # noqa: ANN401
    ) -> None:
        """`shared_lease` acquires the lease unless it turns out to be needless; the rest is that of an engine.

        `show_waiting` reports that this process waits for another one without helping; if it never `helps`, it always
        does that. `on_shared` is called in the thread of the run when there is work to share.
        """
        super().__init__(*arguments, **more)
        self._index = index
        self._shared_lease = shared_lease
        self._show_waiting = show_waiting
        self._helps = helps
        self._on_shared = on_shared
        self._division: Division | None = None
        self._accompanied = False
        """Another process leads, or did when it was last seen."""

    def run(self) -> Outcome:
        """Make the artifact complete on the volume, together with others. Raises DownloadError."""
        self._meter.share(leads=False)
        try:
            outcome = super().run()
        except DownloadError as error:
            # Without another process, none would say so.
            self._meter.share(leads=not self._accompanied and not isinstance(error, LeaseLost))
            raise
        self._meter.share(leads=True)
        return outcome

    def _work(self, manifest: Manifest) -> Outcome:
        helping = copy(self)  # with a member of its own: it may outlast its end, if the volume does not answer
        helper = Helper(partial(helping.help, manifest), lambda: self._helps and self._has_board(manifest))
        with (
            self._helping(helper),
            self._shared_lease(
                lambda: self._is_published(manifest),
                waiting=self._waiting_for(helper),
                sleep=self._sleeping_for(helper),
            ) as held,
        ):
            helper.stop()
            if held:
                self._accompanied = False
                self._meter.share(leads=True)
                self._meter.recount()
                return self._work_with_lease(manifest)
        self._volume.tidy()
        if self.outcome is None:
            raise AssertionError("the artifact was found, so there is an outcome")
        self.outcome.fetched = self._fetched
        return self._finish(self.outcome)

    @contextmanager
    def _helping(self, helper: Helper) -> Iterator[None]:
        try:
            yield
        finally:
            helper.stop()

    def _waiting_for(self, helper: Helper) -> Waiting:
        def waiting(holder: str, seconds: float) -> None:
            self._accompanied = True
            if not helper.look():
                self._show_waiting(holder, seconds)

        return waiting

    def _sleeping_for(self, helper: Helper) -> Callable[[float], None]:
        def sleep(seconds: float) -> None:
            # A board appears when the leader has checked what is there, and goes when the artifact is complete.
            # In the second case the lease is free in a moment, and polling it as slowly as usual would cost seconds.
            left = min(seconds, pause_of(self._meter.snapshot().processes)) if helper.has_ended else seconds
            while left > 0:
                self._cancellation.sleep(min(SHARD_POLL, left))
                left -= SHARD_POLL
                before = helper.is_running
                if helper.look():
                    self._on_shared()
                if helper.is_running != before:
                    return

        return sleep

    def _is_published(self, manifest: Manifest) -> bool:
        """Return whether another process has published the artifact. It may be removing its working files just now."""
        for _ in range(TRIES):
            with suppress(VolumeError):
                return self._find_published(manifest) is not None
            self._cancellation.sleep(SHARD_POLL)
        return self._find_published(manifest) is not None

    @property
    def _is_alone(self) -> bool:
        """Whether this process cannot share its work, since the origin has not listed the artifact.

        Without the origin no place need have all files: a member would run out of places while others fetch the rest.
        """
        return any(route.place.is_abandoned for route in self._routes)

    def _path(self, manifest: Manifest) -> str:
        return f"{WORK}/{board_name(manifest)}"

    def _has_board(self, manifest: Manifest) -> bool:
        return not self._is_alone and bool(self._volume.environment.files.scan(self._path(manifest)))

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

    # The leader.

    def _end_shared_work(self, manifest: Manifest) -> None:
        """Keep the progress of earlier leaders; members of this artifact go on meanwhile."""
        files = self._volume.environment.files
        for board in boards(files):
            keep_progress(files, board)
            if board != self._path(manifest):
                remove_board(files, board)

    def _fetch_missing(self, missing: list[RemoteFile], outcome: Outcome) -> None:
        if self._member is not None or self._volume.in_order or self._is_alone:
            # It only helps, or no other process can.
            super()._fetch_missing(missing, outcome)
            return
        manifest, files = outcome.manifest, self._volume.environment.files
        Board.make(files, self._path(manifest))
        board = self._join(manifest, threading.Event())
        try:
            board.refresh()
            lacking = {file.path for file in missing}
            board.add_final(file for file in manifest.files if file.path not in lacking)
            self._member = self._make_member(board, manifest, leads=True)
            for file in missing:
                if board.is_final(file):  # it was, and has been changed since
                    board.add_again(file)
                if self._member.is_shared(file) and not board.record(file).round:
                    self._volume.take_journal(file, partial(board.add_done, file, 0))
            self._on_shared()
            super()._fetch_missing(missing, outcome)
        finally:
            self._member = None
            board.leave()
        remove_board(files, self._path(manifest))

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
            meter=self._meter,
            failures=sink.failures,
            collect=(lambda news: self._collect(news, member, sink)) if member.is_leader else lambda _: None,
            done=(lambda _path, _sha256: None) if member.is_leader else outcome.checksums.setdefault,
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
            if len(received) >= MOST_AT_ONCE:
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
        return VerifiedFile(received.finish(), verdict.sha256, verdict.proof)

    # The others.

    def help_only(self) -> None:
        """List the artifact and help the process that leads until it publishes. Raises DownloadError."""
        self._meter.share(leads=False)
        manifest = self._list_artifact()
        if not self._is_alone:
            self.help(manifest, Cancellation(self._cancellation))

    def help(self, manifest: Manifest, stopped: Cancellation) -> None:
        """Work as a member until the board is gone. Raises the error that ends the last protocol."""
        while True:
            with suppress(BoardGone):
                board = self._join(manifest, threading.Event())
                try:
                    self._help_on(board, manifest, stopped)
                except BoardGone:
                    return
                except LeaseLost as error:
                    stopped.check()
                    log.info("%s; joining the others again", error.message)
                    continue
                finally:
                    self._member = None
                    board.leave()
            return

    def _help_on(self, board: Board, manifest: Manifest, stopped: Cancellation) -> None:
        board.refresh()
        self._member = self._make_member(board, manifest, leads=False)
        self._ending = stopped
        log.info("working on the volume together with %d other processes", max(1, board.members - 1))
        while True:
            missing = [file for file in manifest.files if not self._member.is_done(file)]
            if missing:
                done = sum(file.size for file in manifest.files) - sum(file.size for file in missing)
                self._meter.recount()
                self._meter.add_reused(done)
                super()._fetch_missing(missing, Outcome(manifest, fetched=self._fetched))
                self._meter.enter(Phase.WAITING, "waiting for another process to publish the artifact")
            stopped.sleep(pause_of(board.members))
            board.refresh()
