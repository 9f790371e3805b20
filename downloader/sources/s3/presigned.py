"""Objects by presigned addresses, for the protocol `HTTP`: what reaches the server is a request like any other.

So it also passes where something on the way changes the headers that S3's own requests are signed with.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from downloader.errors import SourceUnavailable
from downloader.network import HttpStatusError
from downloader.sources.base import SourceWrapper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from downloader.artifact import RemoteFile, Span
    from downloader.sources.base import Body, Source

log = logging.getLogger(__name__)


class PresignedSource(SourceWrapper):
    """A source around the S3 source. A server that does not take presigned addresses is asked with signed headers.

    `open_presigned` starts to read a range at a presigned address. Raises HttpStatusError where the server refuses it.
    """

    def __init__(self, source: Source, open_presigned: Callable[[RemoteFile, Span], Body]) -> None:
        super().__init__(source)
        self._open_presigned = open_presigned
        self._taken: bool | None = None
        """None until the first answer: some servers answer 500 to what they do not understand."""

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Start reading a span."""
        if self._taken is not False:
            try:
                body = self._open_presigned(file, span)
            except (HttpStatusError, SourceUnavailable) as error:
                if isinstance(error, SourceUnavailable) and self._taken:
                    raise
                log.info("presigned URL rejected; using signed headers: %s", error)
                body = self._source.open(file, span)
                self._taken = False
            else:
                self._taken = True
            return body
        return self._source.open(file, span)

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Leave each request to its time: this is the way for servers that are particular about what they are asked."""
