"""The one retry policy, as a source around a source: nobody else loops.

Passing trouble is tried again with growing, jittered pauses until there was silence for too long; what counts is the
time since bytes last arrived, not the number of tries. A server's `Retry-After` makes one pause for all threads.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Never, TypeVar

import tenacity

from downloader.artifact import Span
from downloader.errors import (
    DownloadError,
    ProtocolFailed,
    RangeIgnored,
    SourceChanged,
    SourceSilent,
    Stalled,
    Throttled,
    UnknownHost,
    Verdict,
)
from downloader.integrity import may_combine
from downloader.meter import Wait
from downloader.sources.around import Around
from downloader.words import seconds_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from downloader.artifact import Manifest, RemoteFile
    from downloader.cancellation import Cancellation
    from downloader.meter import Meter
    from downloader.sources import Body, Source
    from downloader.sources.pause import SharedPause

T = TypeVar("T")
FIRST_PAUSE = 0.3
LONGEST_PAUSE = 15.0
LONGEST_RETRY_AFTER = 600.0
THROTTLED_PATIENCE = 900.0
MOST_REFUSALS = 3
"""How often a server may answer with another range in a row."""
PIECE = 1 << 18
REAL_PROGRESS = 1 << 16
"""Bytes after which a connection counts as having worked; fewer do not reset the clock of silence."""

UNKNOWN_HOST_PATIENCE = 3.0
"""Seconds for which a name that nobody knows is tried before anything was heard: a pod's DNS may be late by that."""
WORTH_TELLING = 5.0
"""Seconds of trouble after which its end is told, too."""
NUMBERS = re.compile(r"\d+")

_BACKOFF = tenacity.wait_random_exponential(FIRST_PAUSE, LONGEST_PAUSE)

log = logging.getLogger(__name__)


@dataclass
class Patience:
    """How long trouble is borne, shared by all threads of a run.

    `silence` is in seconds: trouble that lasts longer without a byte is raised. Pauses that a server asked for do
    not count, but altogether they may not exceed a quarter of an hour without progress either.
    """

    silence: float
    meter: Meter
    cancellation: Cancellation
    shared: SharedPause
    """The pause that servers asked for, which outlasts a protocol."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _troubles: dict[Effort, Wait] = field(default_factory=dict, init=False)
    _told: set[str] = field(default_factory=set, init=False)
    _troubled_since: float = field(default=0.0, init=False)

    def obey(self, error: Throttled) -> None:
        """Take note of a pause that a server asks for. Raises the error if it is too long to be waited for."""
        if error.retry_after is None:
            return
        if error.retry_after > LONGEST_RETRY_AFTER:
            hint = f"more than the {LONGEST_RETRY_AFTER:.0f} s that are waited; try again later"
            raise ProtocolFailed(error.message, hint=hint) from error
        if self.shared.extend(error, error.retry_after):
            log.info("%s: nothing is asked for meanwhile", error.message)

    def pause(self) -> float:
        """Sit the common pause out; returns the seconds that it took."""
        taken = 0.0
        while left := self.shared.left:
            with self.meter.resting(self.shared.reason, left):
                self.cancellation.sleep(left)
            taken += left
        return taken

    def endure(self, effort: Effort, what: str, error: DownloadError, left: float) -> None:
        """Take note of trouble that is borne for `left` more seconds; the same of many threads is told once."""
        now = self.meter.clock()
        trouble = Wait(f"{error.message}; trying again", now, now + left)
        kind = NUMBERS.sub("#", error.message)
        with self._lock:
            if not self._troubles:
                self._troubled_since = now
            before = self._troubles.get(effort)
            self._troubles[effort] = trouble
            told = kind in self._told or (isinstance(error, Throttled) and error.retry_after is not None)
            self._told.add(kind)
        if before is not None:
            self.meter.relieved(before)
        self.meter.troubled(trouble)
        if not told:
            log.info("%s: %s; trying again for %s at most", what, error, seconds_text(left))

    def relieve(self, effort: Effort, *, worked: bool) -> None:
        """Take note that this effort's trouble is over, if it had any, and whether it worked in the end."""
        with self._lock:
            trouble = self._troubles.pop(effort, None)
            over = trouble is not None and not self._troubles
            if over:
                self._told.clear()
        if trouble is None:
            return
        self.meter.relieved(trouble)
        lasted = self.meter.clock() - self._troubled_since
        if over and worked and lasted >= WORTH_TELLING:
            log.info("that trouble is over after %s", seconds_text(lasted))


class Effort:
    """One thing that is tried until it works: a listing, or the reading of a span.

    Silence is time in which somebody waited for an answer: what the caller does between `rest` and `resume` does not
    count, and neither does the first try of an action, since a long listing may work for minutes before it fails.
    """

    def __init__(self, patience: Patience, what: str) -> None:
        self._patience = patience
        self._what = what
        self._clock = patience.meter.clock
        self._fresh = 0
        self.progressed()
        self.rest()

    def rest(self) -> None:
        """Stop the clock of silence until `resume`."""
        self._resting_since = self._clock()

    def resume(self) -> None:
        """Let the clock of silence go on."""
        self._alive += self._clock() - self._resting_since

    def progressed(self) -> None:
        """Start the clock of silence anew."""
        self._alive = self._clock()
        self._paused = 0.0

    def received(self, count: int) -> None:
        """Count bytes; enough of them are progress."""
        self._fresh += count
        if self._fresh >= REAL_PROGRESS:
            self._fresh = 0
            self.progressed()

    def sit_out(self) -> None:
        """Wait for the end of the pause that a server asked for, if there is one."""
        self._paused += self._patience.pause()

    def run(self, action: Callable[[], T], earlier: DownloadError | None = None) -> T:
        """Return what `action` returns, trying again after passing trouble. Raises our errors.

        `earlier` is trouble that has happened already: it counts as the first try.
        """
        first = True

        def once() -> T:
            nonlocal first
            if first and earlier is not None:
                first = False
                return self._fail(earlier)
            self.sit_out()
            self._patience.cancellation.check()
            began = self._clock()
            try:
                return action()
            except Throttled as error:
                return self._fail(error)
            finally:
                self._alive += self._clock() - began if first else 0.0
                first = False

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_passing),
            wait=self._pause,
            stop=self._too_long,
            sleep=self._patience.cancellation.sleep,
            before_sleep=self._tell,
            reraise=True,
        )
        worked = False
        try:
            result = retrying(once)
            worked = True
        except SourceSilent as error:
            raise Stalled(f"{error.message}: nothing came for {self._patience.silence:.0f} s") from error
        finally:
            self._patience.relieve(self, worked=worked)
        return result

    def _fail(self, error: DownloadError) -> Never:
        """Raise an error as it comes: a pause that it asks for begins before anybody waits for anything."""
        if isinstance(error, Throttled):
            self._patience.obey(error)
        raise error

    def _pause(self, state: tenacity.RetryCallState) -> float:
        """Wait longer each time, but never beyond the end of patience."""
        return min(_BACKOFF(state), self._left(state))

    def _left(self, state: tenacity.RetryCallState) -> float:
        """Return the seconds for which this trouble will be borne."""
        return max(0.0, self._silence(state) - (self._clock() - self._alive - self._paused))

    def _too_long(self, state: tenacity.RetryCallState) -> bool:
        elapsed = self._clock() - self._alive
        return elapsed - self._paused >= self._silence(state) or elapsed >= THROTTLED_PATIENCE

    def _silence(self, state: tenacity.RetryCallState) -> float:
        """Return how long this trouble is borne: a wrong address is the likeliest reason why nothing ever came."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, UnknownHost) and not self._patience.meter.has_heard:
            return min(UNKNOWN_HOST_PATIENCE, self._patience.silence)
        return self._patience.silence

    def _tell(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, DownloadError):
            self._patience.endure(self, self._what, error, self._left(state))


def _passing(error: BaseException) -> bool:
    return isinstance(error, DownloadError) and error.verdict is Verdict.AGAIN


class PersistentSource(Around):
    """A source that does not give up at the first trouble."""

    def __init__(self, source: Source, patience: Patience, *, counted: bool = True) -> None:
        """Count what is read as brought by the network, unless it is not to be `counted` since somebody else does."""
        super().__init__(source)
        self._counted = counted
        self._patience = patience

    def version(self) -> str | None:
        """Return the source's version."""
        return Effort(self._patience, "listing").run(self._source.version)

    def manifest(self) -> Manifest:
        """Return the source's manifest."""
        return Effort(self._patience, "listing").run(self._source.manifest)

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Return a body that goes on at the next byte after passing trouble."""
        return PersistentBody(self._source, file, span, self._patience, counted=self._counted)

    def announce(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Pass on what will be opened next, unless nothing is to be asked for now."""
        if not pieces or not self._patience.shared.left:
            self._source.announce(pieces)


class PersistentBody:
    """A span that is opened when first read, and again, from the next byte on, after passing trouble.

    So is it where an answer held less of the span than was asked for. Where the rest cannot be had alone, a whole file
    is read again from its first byte: since the server answers with other ranges, or since nothing would tell whether
    the rest is of the same version. Then what has been read before must come again.
    """

    def __init__(self, source: Source, file: RemoteFile, span: Span, patience: Patience, *, counted: bool) -> None:
        self._source = source
        self._counted = counted
        self._file = file
        self._start = self._position = span.start
        self._stop = span.stop
        self._is_whole = span == file.span
        self._from_start = self._is_whole and not (file.sized and may_combine(file))
        self._so_far = hashlib.sha256() if self._is_whole and not may_combine(file) else None
        """Of all that was read, where it may be needed."""
        self._refusals = 0
        self._meter = patience.meter
        self._effort = Effort(patience, file.path)
        self._body: Body | None = None

    def readinto(self, view: memoryview, /) -> int:
        """Put the next bytes into `view`, 0 at the end."""
        if self._position == self._stop:
            return self._see_the_end(view)
        self._effort.resume()
        try:
            count = self._read(view)
        except DownloadError as error:
            self._drop()
            if not _passing(error):
                raise
            count = self._effort.run(lambda: self._reread(view), error)
        finally:
            self._effort.rest()
        self._position += count
        if self._so_far is not None:
            self._so_far.update(view[:count])
        self._effort.received(count)
        if self._counted:
            self._meter.received(count)
        return count

    def _see_the_end(self, view: memoryview) -> int:
        """Let the answer end, so that its connection can be kept; trouble after the last byte is none."""
        try:
            return self._body.readinto(view) if self._body is not None else 0
        except DownloadError as error:
            self._drop()
            if not _passing(error):
                raise
            return 0

    def _read(self, view: memoryview) -> int:
        while True:
            body = self._body = self._body or self._opened()
            count = body.readinto(view)
            if count or not self._file.sized:
                return count
            self._drop()  # it held the first bytes of the span, and there is nothing wrong with that

    def _opened(self) -> Body:
        """Ask for what is missing. Other nodes of a server may know ranges where one does not."""
        while True:
            self._effort.sit_out()
            again = self._from_start and self._position > self._start
            try:
                body = self._source.open(self._file, Span(self._start if again else self._position, self._stop))
            except RangeIgnored:
                self._refusals += 1
                if self._refusals >= MOST_REFUSALS:
                    if self._from_start or not self._is_whole:
                        raise
                    self._from_start = True
                continue
            self._refusals = 0
            if again:
                self._body = body  # so that it can be interrupted, and is closed whatever happens
                self._pass_over(body)
            return body

    def _pass_over(self, body: Body) -> None:
        """Read again what was read before. Raises SourceChanged where that is known to be something else now."""
        left, again = self._position - self._start, hashlib.sha256()
        view = memoryview(bytearray(min(PIECE, left)))
        # Neither progress nor silence: else a stream that always breaks at the same place would be read for ever.
        self._effort.rest()
        try:
            while left:
                count = body.readinto(view[:left])
                if not count:
                    raise ProtocolFailed(f"{self._file.path}: an answer ended before it came to what is missing")
                left -= count
                again.update(view[:count])
                if self._counted:
                    self._meter.received(count)
        finally:
            self._effort.resume()
        if self._so_far is not None and self._so_far.digest() != again.digest():
            raise SourceChanged(f"{self._file.path} changed while it was being read")

    def _reread(self, view: memoryview) -> int:
        try:
            return self._read(view)
        except DownloadError:
            self._drop()
            raise

    def _drop(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.close()

    def interrupt(self) -> None:
        """Wake a reader that is blocked in another thread."""
        body = self._body
        if body is not None:
            body.interrupt()

    def close(self) -> None:
        """Give the connection back or up."""
        self._drop()
