"""One of several engines that bring one artifact to one volume together (ADR 83).

The one that holds the lease leads. The others wait for the lease as any process does, and help meanwhile: a thread of
theirs makes the same attempts without the lease.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager, suppress
from copy import copy
from functools import partial
from typing import TYPE_CHECKING

from downloader.cancellation import Cancellation
from downloader.deadlines import SHARD_POLL
from downloader.engine.helper import Helper
from downloader.engine.leading import LeadingEngine
from downloader.engine.plan import Outcome
from downloader.errors import DownloadError, LeaseLost, VolumeError
from downloader.progress import Phase
from downloader.shards import Board, BoardGone, boards, keep_progress, pause_of, remove_board

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any

    from downloader.artifact import Manifest

    Waiting = Callable[[str, float], None]
    Lease = Callable[..., AbstractContextManager[bool]]

TRIES = 8
"""How often a volume is read again of which another process removes files."""
OTHER_WORK = "another artifact, revision or choice of files, or they are of another release of this program"

log = logging.getLogger(__name__)


class SharedEngine(LeadingEngine):
    """One of several engines."""

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401 -- those of an engine
        shared_lease: Lease,
        show_waiting: Waiting,
        **more: Any,  # noqa: ANN401
    ) -> None:
        """`shared_lease` acquires the lease unless it turns out to be needless; the rest is a leading engine's.

        `show_waiting` reports that this process waits for another one without helping.
        """
        super().__init__(*arguments, **more)
        self._shared_lease = shared_lease
        self._show_waiting = show_waiting
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
        helper = Helper(partial(helping.help, manifest), lambda: self._has_board(manifest))
        with (
            self._helping(helper),
            self._shared_lease(
                lambda: self._is_published(manifest),
                waiting=self._waiting_for(helper, self._path(manifest)),
                sleep=self._sleeping_for(helper, self._path(manifest)),
                on_lost=self._ending.cancel,
            ) as held,
        ):
            helper.stop()
            if held:
                self._lead(manifest)
                return self._work_with_lease(self._newest(manifest))
        if self.outcome is None:
            raise AssertionError("the artifact was found, so there is an outcome")
        self.outcome.fetched, self.outcome.places = self._fetched, self._places
        return self._finish(self.outcome)

    def _lead(self, manifest: Manifest) -> None:
        """Speak for all from now on. Another process did so before if there is a board, or was one to wait for."""
        if self._accompanied or self._has_board(manifest):
            self._meter.succeed()
            self._meter.enter(Phase.CHECKING)
        else:
            self._meter.share(leads=True)
        self._accompanied = False
        self._meter.recount()

    @contextmanager
    def _helping(self, helper: Helper) -> Iterator[None]:
        try:
            yield
        finally:
            helper.stop()

    def _waiting_for(self, helper: Helper, board: str) -> Waiting:
        told = self._is_alone

        def waiting(holder: str, seconds: float) -> None:
            nonlocal told
            self._accompanied = True
            if not helper.look():
                if not told and any(other != board for other in boards(self._volume.environment.files)):
                    told = True
                    log.info("the others share work that this process cannot help with: %s", OTHER_WORK)
                self._show_waiting(holder, seconds)

        return waiting

    def _sleeping_for(self, helper: Helper, board: str) -> Callable[[float], None]:
        def sleep(seconds: float) -> None:
            # A board appears when the leader has checked what is there, and goes when the artifact is complete.
            # In the second case the lease is free in a moment, and polling it as slowly as usual would cost seconds.
            left = min(seconds, pause_of(self._meter.snapshot().processes)) if helper.has_ended else seconds
            while left > 0 and not helper.is_running:
                self._cancellation.sleep(min(SHARD_POLL, left))
                left -= SHARD_POLL
                helper.look()
            if helper.is_running:
                self._on_shared(board)
                helper.wait(max(0.0, left), self._cancellation)

        return sleep

    def _is_published(self, manifest: Manifest) -> bool:
        """Return whether another process has published the artifact. It may be removing its working files just now."""
        for tries_left in range(TRIES, -1, -1):
            self._meter.recount()  # it has counted what it helped with
            try:
                return self._find_published(manifest) is not None
            except VolumeError:
                if not tries_left:
                    raise
            self._cancellation.sleep(SHARD_POLL)
        raise AssertionError("the last try has returned or raised")

    def _has_board(self, manifest: Manifest) -> bool:
        return not self._is_alone and bool(self._volume.environment.files.scan(self._path(manifest)))

    def _end_shared_work(self, manifest: Manifest) -> None:
        """Keep the progress of earlier leaders; members of this artifact go on meanwhile."""
        files = self._volume.environment.files
        for board in boards(files):
            keep_progress(files, board)
            if board != self._path(manifest):
                remove_board(files, board)

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
        others = max(1, board.members - 1)
        log.info("working on the volume together with %d other %s", others, "process" if others == 1 else "processes")
        while True:
            missing = [file for file in manifest.files if not self._member.is_done(file)]
            if missing:
                self._joined(missing)
                done = sum(file.size for file in manifest.files) - sum(file.size for file in missing)
                self._meter.recount()
                self._meter.add_reused(done)
                outcome = Outcome.of(manifest, places=self._places)
                outcome.fetched = self._fetched  # of which the process that this helper belongs to has to know
                super()._fetch_missing(missing, outcome)
                self._meter.enter(Phase.WAITING, "waiting for another process to publish the artifact")
            stopped.sleep(pause_of(board.members))
            board.refresh()
