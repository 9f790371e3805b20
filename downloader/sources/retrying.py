"""Wraps a source in the retry policy: listings are repeated, and a range continues at the byte where it broke off."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from downloader.artifact import Span
from downloader.errors import DownloadError, ProtocolFailed, RangeIgnored, SourceChanged
from downloader.integrity import may_combine
from downloader.sources.base import SourceWrapper
from downloader.sources.retry import Retrier, is_passing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from downloader.artifact import Manifest, RemoteFile
    from downloader.cancellation import Cancellation
    from downloader.sources.base import Body, Source
    from downloader.sources.retry import RetryPolicy

MAX_IGNORED_RANGES = 3
"""How often in a row a server may answer with another range: of several nodes behind one name, some may know ranges."""
REREAD_BUFFER = 1 << 18


class RetryingSource(SourceWrapper):
    """A source whose passing errors are retried."""

    def __init__(self, source: Source, policy: RetryPolicy, *, counted: bool = True) -> None:
        """Retry under `policy`; add what is read to the progress meter if it is `counted` here."""
        super().__init__(source)
        self._counted = counted
        self._policy = policy

    def until(self, ending: Cancellation) -> RetryingSource:
        """Return the same source, whose retries `ending` ends."""
        return RetryingSource(self._source, replace(self._policy, cancellation=ending), counted=self._counted)

    def version(self) -> str | None:
        """Return the source's version."""
        return Retrier(self._policy, "listing").run(self._source.version)

    def manifest(self) -> Manifest:
        """Return the source's manifest."""
        return Retrier(self._policy, "listing").run(self._source.manifest)

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Return a body that continues at the next byte after a passing error. Sends nothing yet."""
        return RetryingBody(self._source, file, span, self._policy, counted=self._counted)

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Pass on the hint, but not during a pause that a server has asked for."""
        if not pieces or not self._policy.shared_pause.left:
            self._source.prefetch(pieces)


class RetryingBody:
    """A range that is requested at the first read, and again from the next byte on after a passing error.

    A response that contains only the beginning of the range is continued in the same way: servers may cap ranges.

    Sometimes the rest cannot be requested alone: the server ignores ranges, or nothing would show whether the rest is
    of the same version (no validator, no version and no digest of the whole file). Then a whole file is read again from
    its first byte, and the bytes that were read before are compared by their hash and dropped.
    """

    def __init__(self, source: Source, file: RemoteFile, span: Span, policy: RetryPolicy, *, counted: bool) -> None:
        self._source = source
        self._counted = counted
        self._file = file
        self._start = self._position = span.start
        self._stop = span.stop
        self._is_whole = span == file.span
        combinable = may_combine(file)
        self._from_start = self._is_whole and not (file.sized and combinable)
        self._hash = hashlib.sha256() if self._is_whole and not combinable else None
        """The hash of all bytes read so far, if they may have to be compared."""
        self._ignored_ranges = 0
        """Responses with another range, in a row."""
        self._meter = policy.meter
        self._retrier = Retrier(policy, file.path)
        self._body: Body | None = None

    def readinto(self, view: memoryview, /) -> int:
        """Put the next bytes into `view` and return their number, 0 at the end.

        Raises the last error if the retry budget is exhausted, Stalled if that was silence, and errors that do not pass
        at once.
        """
        if self._position == self._stop:
            return self._read_end(view)
        self._retrier.resume_clock()
        try:
            count = self._read(view)
        except DownloadError as error:
            self._drop()
            if not is_passing(error):
                raise
            count = self._retrier.run(lambda: self._reread(view), error)
        finally:
            self._retrier.pause_clock()
        self._position += count
        if self._hash is not None:
            self._hash.update(view[:count])
        self._retrier.received(count)
        if self._counted:
            self._meter.add_received(count)
        return count

    def _read_end(self, view: memoryview) -> int:
        """Read the end of the response, so that its connection can be reused. A passing error there costs nothing."""
        try:
            return self._body.readinto(view) if self._body is not None else 0
        except DownloadError as error:
            self._drop()
            if not is_passing(error):
                raise
            return 0

    def _read(self, view: memoryview) -> int:
        while True:
            body = self._body = self._body or self._open()
            count = body.readinto(view)
            if count or not self._file.sized:
                return count
            self._drop()  # a response may end before the range does: request the rest

    def _open(self) -> Body:
        """Request the missing bytes. Raises RangeIgnored if the server repeatedly answers with another range."""
        while True:
            self._retrier.wait_for_pause()
            again = self._from_start and self._position > self._start
            try:
                body = self._source.open(self._file, Span(self._start if again else self._position, self._stop))
            except RangeIgnored:
                self._ignored_ranges += 1
                if self._ignored_ranges >= MAX_IGNORED_RANGES:
                    # From its first byte, a whole file can be read without a range.
                    if self._from_start or not self._is_whole:
                        raise
                    self._from_start = True
                continue
            self._ignored_ranges = 0
            if again:
                self._body = body  # before anything is read, so that `interrupt` finds it and `_drop` closes it
                self._reread_start(body)
            return body

    def _reread_start(self, body: Body) -> None:
        """Read the bytes again that have been read before. Raises SourceChanged if they are known to be others now."""
        left, again = self._position - self._start, hashlib.sha256()
        view = memoryview(bytearray(min(REREAD_BUFFER, left)))
        # These bytes are not progress: else a stream that always breaks at the same place would be read for ever. Nor
        # is reading them a time without progress: before the place of a large file is reached, the budget may be over.
        self._retrier.pause_clock()
        try:
            while left:
                count = body.readinto(view[:left])
                if not count:
                    raise ProtocolFailed(f"{self._file.path}: an answer ended before it came to what is missing")
                left -= count
                again.update(view[:count])
                if self._counted:
                    self._meter.add_received(count)
        finally:
            self._retrier.resume_clock()
        if self._hash is not None and self._hash.digest() != again.digest():
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
        """Wake the reader, which may be blocked in another thread."""
        body = self._body
        if body is not None:
            body.interrupt()

    def close(self) -> None:
        """Release the connection."""
        self._drop()
