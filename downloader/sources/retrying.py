"""A source around a source that does not give up at the first trouble, and goes on where an answer ended."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from downloader.artifact import Span
from downloader.errors import DownloadError, ProtocolFailed, RangeIgnored, SourceChanged
from downloader.integrity import may_combine
from downloader.sources.base import SourceWrapper
from downloader.sources.retry import Retrier, is_passing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from downloader.artifact import Manifest, RemoteFile
    from downloader.sources.base import Body, Source
    from downloader.sources.retry import RetryPolicy

MAX_IGNORED_RANGES = 3
"""How often a server may answer with another range in a row."""
PIECE = 1 << 18


class RetryingSource(SourceWrapper):
    """A source that does not give up at the first trouble."""

    def __init__(self, source: Source, patience: RetryPolicy, *, counted: bool = True) -> None:
        """Count what is read as brought by the network, unless it is not to be `counted` since somebody else does."""
        super().__init__(source)
        self._counted = counted
        self._patience = patience

    def version(self) -> str | None:
        """Return the source's version."""
        return Retrier(self._patience, "listing").run(self._source.version)

    def manifest(self) -> Manifest:
        """Return the source's manifest."""
        return Retrier(self._patience, "listing").run(self._source.manifest)

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Return a body that goes on at the next byte after passing trouble."""
        return RetryingBody(self._source, file, span, self._patience, counted=self._counted)

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Pass on what will be opened next, unless nothing is to be asked for now."""
        if not pieces or not self._patience.shared.left:
            self._source.prefetch(pieces)


class RetryingBody:
    """A span that is opened when first read, and again, from the next byte on, after passing trouble.

    So is it where an answer held less of the span than was asked for. Where the rest cannot be had alone, a whole file
    is read again from its first byte: since the server answers with other ranges, or since nothing would tell whether
    the rest is of the same version. Then what has been read before must come again.
    """

    def __init__(self, source: Source, file: RemoteFile, span: Span, patience: RetryPolicy, *, counted: bool) -> None:
        self._source = source
        self._counted = counted
        self._file = file
        self._start = self._position = span.start
        self._stop = span.stop
        self._is_whole = span == file.span
        self._from_start = self._is_whole and not (file.sized and may_combine(file))
        self._so_far = hashlib.sha256() if self._is_whole and not may_combine(file) else None
        """Of all that was read, where it may be needed."""
        self._ignored_ranges = 0
        self._meter = patience.meter
        self._retrier = Retrier(patience, file.path)
        self._body: Body | None = None

    def readinto(self, view: memoryview, /) -> int:
        """Put the next bytes into `view`, 0 at the end."""
        if self._position == self._stop:
            return self._see_the_end(view)
        self._retrier.resume()
        try:
            count = self._read(view)
        except DownloadError as error:
            self._drop()
            if not is_passing(error):
                raise
            count = self._retrier.run(lambda: self._reread(view), error)
        finally:
            self._retrier.rest()
        self._position += count
        if self._so_far is not None:
            self._so_far.update(view[:count])
        self._retrier.received(count)
        if self._counted:
            self._meter.add_received(count)
        return count

    def _see_the_end(self, view: memoryview) -> int:
        """Let the answer end, so that its connection can be kept; trouble after the last byte is none."""
        try:
            return self._body.readinto(view) if self._body is not None else 0
        except DownloadError as error:
            self._drop()
            if not is_passing(error):
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
            self._retrier.sit_out()
            again = self._from_start and self._position > self._start
            try:
                body = self._source.open(self._file, Span(self._start if again else self._position, self._stop))
            except RangeIgnored:
                self._ignored_ranges += 1
                if self._ignored_ranges >= MAX_IGNORED_RANGES:
                    if self._from_start or not self._is_whole:
                        raise
                    self._from_start = True
                continue
            self._ignored_ranges = 0
            if again:
                self._body = body  # so that it can be interrupted, and is closed whatever happens
                self._pass_over(body)
            return body

    def _pass_over(self, body: Body) -> None:
        """Read again what was read before. Raises SourceChanged where that is known to be something else now."""
        left, again = self._position - self._start, hashlib.sha256()
        view = memoryview(bytearray(min(PIECE, left)))
        # Neither progress nor silence: else a stream that always breaks at the same place would be read for ever.
        self._retrier.rest()
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
            self._retrier.resume()
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
