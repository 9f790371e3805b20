"""What the heads of a repository's files say: by HEAD, and by a GET of the first byte where that does not tell enough.

The Hub names size and digest of a file in fields of its own. A mirror may redirect to a server that knows neither, or
answer as any web server does.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

from downloader.errors import SourceUnavailable, Throttled
from downloader.network import Response, content_length, is_encoded, total_length
from downloader.sources.hub_answers import error_code

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from downloader.artifact import RemoteFile
    from downloader.network import HttpClient
    from downloader.sources.hub_entries import Entries

MAX_PROBE = 1 << 16
"""Bytes that are read of a file to learn its size, where the server ignores ranges."""


class HubHeads:
    """Describes files of one repository, each by a request for itself."""

    def __init__(self, http: HttpClient, headers: Mapping[str, str], entries: Entries) -> None:
        """`headers` are for the endpoint alone: no redirect takes them to another host."""
        self._http = http
        self._headers = headers
        self._entries = entries

    def single(self, root: str, path: str) -> RemoteFile | None:
        """Return the file at a path by one request; None if it does not exist, or its head does not tell all of it.

        Raises HttpStatusError where the Hub says that it is the repository or the revision that is missing.
        """
        url = root + quote(path)
        try:
            reply = self._http.fetch(url, method="HEAD", headers=self._headers, limit=0, follow=False)
        except Throttled:
            raise
        except SourceUnavailable:
            return None  # a listing may still work
        if reply.status < HTTPStatus.BAD_REQUEST:
            return self._entries.linked(path, reply.headers)
        error = reply.status_error()
        if error_code(error) not in ("", "EntryNotFound"):
            raise error
        return None

    def describe(self, root: str, commit: str, paths: list[str]) -> Iterator[RemoteFile]:
        """Yield the files at these paths of a commit. Raises HttpStatusError for one that cannot be read.

        `root` is what the addresses of all files begin with.
        """
        urls = [root + quote(path) for path in paths]
        replies = self._http.heads(urls, self._headers, follow=False)
        for path, url, reply in zip(paths, urls, replies, strict=True):
            head = reply.headers if isinstance(reply, Response) and reply.status < HTTPStatus.BAD_REQUEST else {}
            file = self._entries.linked(path, head)
            if (
                file is None
                and isinstance(reply, Response)
                and HTTPStatus.MULTIPLE_CHOICES <= reply.status < HTTPStatus.BAD_REQUEST
            ):
                reply = self._http.fetch(url, method="HEAD", headers=self._headers, limit=0)  # noqa: PLW2901 - the same one
                head = reply.headers if reply.status < HTTPStatus.BAD_REQUEST else {}
            if file is None:
                size = None if is_encoded(head) else content_length(head)
                # Many a server answers HEAD with a length of 0, so that an empty file must be seen to be empty.
                file = self._entries.served(path, commit, head, size or self._measured(url))
            yield file

    def _measured(self, url: str) -> int | None:
        """Return the size of a file by its first byte, None if that does not tell."""
        reply = self._fetch_start(url, {"range": "bytes=0-0"})
        if reply.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            # Some servers so refuse any range, of files that have bytes, too.
            reply = self._fetch_start(url, {})
        if reply.status >= HTTPStatus.BAD_REQUEST:
            raise reply.status_error()
        if reply.status != HTTPStatus.OK:
            return total_length(reply.headers)
        if is_encoded(reply.headers):
            return None
        size = content_length(reply.headers)
        return len(reply.body) if size is None and reply.complete and not reply.truncated else size

    def _fetch_start(self, url: str, public_headers: Mapping[str, str]) -> Response:
        """Return an answer with no more of its body than tells its size."""
        return self._http.fetch(
            url, headers=self._headers, public_headers=public_headers, limit=MAX_PROBE, truncate=True
        )
