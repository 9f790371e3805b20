"""What a web server says of a file before it is read: by HEAD where that will do, else by GET, whose word counts."""

from __future__ import annotations

import contextlib
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from downloader.artifact import RemoteFile, Validator, shown_url
from downloader.errors import SourceSilent, SourceUnavailable, Throttled
from downloader.integrity import of_nothing
from downloader.network import can_decode, content_length, is_compressed, is_encoded, total_length
from downloader.sources.http_digests import published
from downloader.sources.http_errors import map_status_error

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from downloader.artifact import Digest
    from downloader.network import HttpClient, Response

FIRST_BYTE = {"range": "bytes=0-0"}
OK, PARTIAL_CONTENT = int(HTTPStatus.OK), int(HTTPStatus.PARTIAL_CONTENT)
MAX_HEAD_FAILURES = 3
"""After so many, or after one that cost a whole time limit, HEAD is not asked any more."""
HINT = "give credentials with AIM_HTTP_TOKEN, AIM_HTTP_HEADERS or ~/.netrc"

log = logging.getLogger(__name__)


class WebProbe:
    """Asks for sizes and validators. For many threads.

    Many servers answer HEAD by other code than GET: they refuse it, fail, or say that a file is empty.
    """

    def __init__(self, http: HttpClient, headers: Mapping[str, str]) -> None:
        self._http = http
        self._headers = headers
        self._distrusted: set[str] = set()
        """Of these files something else came than had been told."""
        self._head_failures = 0
        """How often HEAD failed where GET did not."""

    def distrust(self, url: str) -> None:
        """Ask with GET from now on: what was said of this file did not agree with what came.

        It was replaced, or the server says one thing with HEAD and another with GET, or on one node and the next.
        """
        self._distrusted.add(url)

    def is_distrusted(self, url: str) -> bool:
        """Tell whether another answer of the server may say something else of this file; after two files of any."""
        return self._head_fails or url in self._distrusted or len(self._distrusted) > 1

    def describe(self, url: str, digest: Digest | None) -> tuple[Response, int | None]:
        """Return the answer that tells the most of a file, without its body, and the file's size in bytes.

        The size is None where GET does not tell it either.
        """
        head: Response | SourceUnavailable | None = None
        if not self.is_distrusted(url):
            try:
                head = self._http.fetch(url, method="HEAD", headers=self._headers, limit=0)
            except SourceUnavailable as error:
                head = error
        return self._describe_after(url, digest, head)

    def describe_all(self, urls: Sequence[str], digests: Sequence[Digest]) -> Generator[tuple[Response, int | None]]:
        """Do that for many files, asking for many of them ahead."""
        with contextlib.closing(self._http.heads(urls, self._headers)) as heads:
            for url, digest in zip(urls, digests, strict=True):
                if self._head_fails:
                    heads.close()
                yield self._describe_after(url, digest, next(heads, None))

    def file(self, reply: Response, size: int | None, url: str, path: str, digest: Digest | None) -> RemoteFile:
        """Return what a response says about the file at `url`, which goes to `path`.

        A `digest` that is known already counts more than those that the server tells.
        """
        # What is published of an answer that will be decoded is of its encoded bytes.
        encoded = size is None and is_encoded(reply.headers)
        told = () if encoded or digest is not None else published(reply.headers, whole=reply.status == OK)
        digests = (digest,) if digest is not None else told
        validator = None if self.is_distrusted(url) else validator_of(reply)
        return RemoteFile(path, size or 0, digests, validator, url, sized=size is not None)

    def _describe_after(
        self, url: str, digest: Digest | None, head: Response | SourceUnavailable | None
    ) -> tuple[Response, int | None]:
        if isinstance(head, Throttled) and head.retry_after is not None:
            raise head
        if head is not None and not isinstance(head, SourceUnavailable) and not self.is_distrusted(url):
            size = _size_of_file(url, head)
            # Nothing is read of an empty file, so a wrong zero would never be noticed.
            if size or (size == 0 and digest is not None and of_nothing((digest,))):
                return head, size
        reply, size = self._ask_for_a_byte(url)
        if isinstance(head, SourceUnavailable):
            self._count_failure(head)
        if size == 0 and not (digest is not None and of_nothing((digest,))):
            self._require_empty(url, head)
        return reply, size

    def _require_empty(self, url: str, head: Response | SourceUnavailable | None) -> None:
        """Raise SourceUnavailable if HEAD says of a file that GET calls empty that it has bytes.

        A server sends nothing, with success, where what is behind it fails, and nothing is read of an empty file.
        """
        if head is None and not self._head_fails:
            with contextlib.suppress(SourceUnavailable):
                head = self._http.fetch(url, method="HEAD", headers=self._headers, limit=0)
        told = _size_of_file(url, head) if head is not None and not isinstance(head, SourceUnavailable) else None
        if told:
            raise SourceUnavailable(f"{shown_url(url)} has {told} bytes by HEAD, and none by GET")

    def _count_failure(self, error: SourceUnavailable) -> None:
        """Count a HEAD that failed where GET did not: waiting again for each of ten thousand files would take hours."""
        if self._head_fails:
            return
        self._head_failures += MAX_HEAD_FAILURES if isinstance(error, SourceSilent) else 1
        if self._head_failures >= MAX_HEAD_FAILURES:
            log.info("HEAD fails; using GET for file metadata: %s", error.message)

    @property
    def _head_fails(self) -> bool:
        return self._head_failures >= MAX_HEAD_FAILURES

    def _ask_for_a_byte(self, url: str) -> tuple[Response, int | None]:
        reply = self._http.fetch(url, headers=self._headers, public_headers=FIRST_BYTE, limit=0)
        size = _size_of_file(url, reply)
        if reply.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            # Some servers refuse any range like that, and name a wrong total or none.
            reply = self._http.fetch(url, headers=self._headers, limit=0)
            size = _size_of_file(url, reply)
        if reply.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT) and size is None:
            error = reply.status_error()
            raise map_status_error(error, shown_url(url), hint=redirect_hint(url, reply.url) or HINT, asked=url)
        return reply, size


def redirect_hint(asked: str, answered: str) -> str:
    """Return what to do about an answer that is not the file: it came from where redirects led; empty without any."""
    if answered == asked:
        return ""
    if urlsplit(answered).path == f"{urlsplit(asked).path}/":
        return f"it is a folder: write {shown_url(asked)}/"
    return f"it redirects to {shown_url(answered)}; if that is a login, {HINT}"


def validator_of(reply: Response) -> Validator | None:
    """Return what tells one version of a file from the next: its entity tag, or the date of its last change.

    A date is of whole seconds, so one of the very second of the answer may be that of two versions.
    """
    tag, modified = reply.headers.get("etag"), reply.headers.get("last-modified")
    if tag or not modified or modified == reply.headers.get("date"):
        return Validator.of(tag)
    return Validator(modified, is_date=True)


def _size_of_file(url: str, reply: Response) -> int | None:
    """Return the size of the file that a response is about; None if it does not tell."""
    if reply.status == PARTIAL_CONTENT:
        return total_length(reply.headers)
    if reply.status != OK:
        return None
    if is_encoded(reply.headers):
        # A packed file is kept as it is; of anything else the length is not that of what it will be unpacked to.
        return content_length(reply.headers) if can_decode(reply.headers) and is_compressed(shown_url(url)) else None
    return content_length(reply.headers)
