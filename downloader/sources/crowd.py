"""Fewer readers where a server asks for a pause: two thin sources that share a count of who reads.

The inner one, below the retry policy, notices each refusal; the outer one, above it, lets readers wait for their turn.
So nobody's patience runs out while it is somebody else's turn.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from downloader.errors import DownloadError, Throttled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from downloader.artifact import Manifest, RemoteFile, Span
    from downloader.cancellation import Cancellation
    from downloader.sources import Body, Source

NO_LIMIT = 1 << 16
SAME_BREATH = 1.0
"""Seconds within which several refusals count as one: they answer requests that were sent together."""
WAKE_UP = 0.2
"""Seconds between two looks for a cancellation."""

log = logging.getLogger(__name__)


class Crowd:
    """Those who read at one time: half as many after each refusal, one more each time all of them came to their end."""

    def __init__(self, cancellation: Cancellation, clock: Callable[[], float]) -> None:
        self._cancellation = cancellation
        self._clock = clock
        self._changed = threading.Condition()
        self._inside = 0
        self._limit = NO_LIMIT
        self._turns = 0
        self._shrunk = -SAME_BREATH

    @property
    def limit(self) -> int:
        """How many may read at one time."""
        return self._limit

    def enter(self) -> None:
        """Wait for a turn. Raises the reason of the cancellation."""
        with self._changed:
            while self._inside >= self._limit:
                self._changed.wait(WAKE_UP)
                self._cancellation.check()
            self._inside += 1

    def leave(self, *, went_well: bool = True) -> None:
        """End a turn."""
        with self._changed:
            self._inside -= 1
            self._turns += went_well
            if self._limit < NO_LIMIT and self._turns >= self._limit:
                self._turns = 0
                self._limit += 1
            self._changed.notify_all()

    def shrink(self) -> None:
        """Take a refusal to heart."""
        with self._changed:
            self._turns = 0
            if self._clock() - self._shrunk < SAME_BREATH:
                return
            self._shrunk = self._clock()
            self._limit = max(1, min(self._limit, self._inside) // 2)
        log.info("the server is asked by fewer connections now: %d", self._limit)


class NoticingSource:
    """A source that tells the crowd when it is throttled."""

    def __init__(self, source: Source, crowd: Crowd) -> None:
        self._source = source
        self._crowd = crowd

    def version(self) -> str | None:
        """Return the source's version."""
        return self._source.version()

    def manifest(self) -> Manifest:
        """Return the source's manifest."""
        return self._source.manifest()

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Start reading a span."""
        try:
            return self._source.open(file, span)
        except Throttled:
            self._crowd.shrink()
            raise

    def announce(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Pass on what will be opened next."""
        self._source.announce(pieces)

    def close(self) -> None:
        """Close the source."""
        self._source.close()


class QueueingSource:
    """A source that is read by no more at one time than the crowd allows."""

    def __init__(self, source: Source, crowd: Crowd) -> None:
        self._source = source
        self._crowd = crowd

    def version(self) -> str | None:
        """Return the source's version."""
        return self._source.version()

    def manifest(self) -> Manifest:
        """Return the source's manifest."""
        return self._source.manifest()

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Start reading a span when it is its turn; the turn ends when the body is closed."""
        self._crowd.enter()
        try:
            return _Turn(self._source.open(file, span), self._crowd)
        except DownloadError:
            self._crowd.leave(went_well=False)
            raise

    def announce(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Pass on what will be opened next, unless fewer requests were asked for."""
        if not pieces or self._crowd.limit == NO_LIMIT:
            self._source.announce(pieces)

    def close(self) -> None:
        """Close the source."""
        self._source.close()


class _Turn:
    """A body whose end lets the next reader in."""

    def __init__(self, body: Body, crowd: Crowd) -> None:
        self._body = body
        self._crowd: Crowd | None = crowd
        self._at_its_end = False

    def readinto(self, view: memoryview, /) -> int:
        """Put the next bytes into `view`."""
        count = self._body.readinto(view)
        self._at_its_end = count == 0
        return count

    def interrupt(self) -> None:
        """Wake a reader that is blocked in another thread."""
        self._body.interrupt()

    def close(self) -> None:
        """Close the body; may be called twice."""
        crowd, self._crowd = self._crowd, None
        if crowd is None:
            return
        try:
            self._body.close()
        finally:
            crowd.leave(went_well=self._at_its_end)
