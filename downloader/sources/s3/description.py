"""What an object is: from a HEAD, and from a GET of the first byte where the HEAD is not reliable (ADR 55).

Gateways and proxies omit the length of a HEAD, answer 0, reject it or break the connection, while GET works. No byte is
ever read of an empty object, so its emptiness must be certain before.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from downloader.errors import SourceNotFound, SourceUnavailable, Throttled
from downloader.integrity import of_nothing
from downloader.sources.s3.address import uri_of
from downloader.sources.s3.answers import ErrorResponse
from downloader.sources.s3.errors import map_response
from downloader.sources.s3.object_info import ObjectInfo, published, size_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.network import Response
    from downloader.sources.s3.client import S3ApiClient

    Headers = Mapping[str, str]

REFUSED = (ClientError, ResponseParserError, ValueError)
"""What botocore raises for an error response to a HEAD, and for headers that it cannot parse."""
TELLING = frozenset({HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE})
"""Statuses of a GET of the first byte that describe the object: an empty one has no first byte."""
LENGTHS = frozenset({"content-length", "content-range"})

log = logging.getLogger(__name__)


class ObjectProbe:
    """Asks for size, entity tag, version and checksums of objects. For many threads."""

    def __init__(self, client: S3ApiClient, bucket: str, *, aws: bool) -> None:
        """`aws`: as for `published`."""
        self._client = client
        self._bucket = bucket
        self._aws = aws
        self._heads_work = True
        self._heads_distrusted = False

    def find(self, key: str) -> ObjectInfo | None:
        """Describe an object that may not exist; None for an error response, which has no reason after a HEAD."""
        if not self._heads_work:
            return self.find_by_get(key)
        try:
            head = self._client.head(self._bucket, key)
        except REFUSED:
            return None
        except SourceUnavailable as error:
            reply = self._get_after(error, key)
            return self._info_by_get(key, None, reply, None) if reply.status in TELLING else None
        return self._described(key, head, None)

    def find_by_get(self, key: str) -> ObjectInfo | None:
        """Describe an object by GET; None if it does not exist. Raises AccessDenied and the like, with the reason."""
        try:
            return self._described(key, None, None)
        except SourceNotFound:
            return None

    def describe(self, key: str, listed: int | None = None) -> ObjectInfo:
        """Describe an object that has `listed` bytes in a listing. Raises the error for one that cannot be read."""
        head = None
        if self._heads_work:
            try:
                head = self._client.head(self._bucket, key)
            except REFUSED:
                pass  # an error response to a HEAD has no body: the GET below gets the reason
            except SourceUnavailable as error:
                return self._info_by_get(key, None, self._get_after(error, key), listed)
        return self._described(key, head, listed)

    def distrust_heads(self) -> None:
        """Confirm each HEAD by GET from now on: the bytes of an object contradicted its HEAD."""
        self._heads_distrusted = True

    def _described(self, key: str, head: Headers | None, listed: int | None) -> ObjectInfo:
        if head is not None and self._is_enough(head, listed):
            return ObjectInfo.of(head, aws=self._aws)
        return self._info_by_get(key, head, self._client.first_byte(self._bucket, key), listed)

    def _is_enough(self, head: Headers, listed: int | None) -> bool:
        """Whether a HEAD is enough: its size agrees with the listing, and for an empty object also with a digest."""
        size = size_of(head)
        if size is None or listed not in (None, size) or self._heads_distrusted:
            return False
        return size > 0 or of_nothing(published(head, aws=self._aws))

    def _get_after(self, error: SourceUnavailable, key: str) -> Response:
        """Ask by GET after a HEAD has failed. Raises if that fails too, and at once if the server asked for a pause."""
        if isinstance(error, Throttled) and error.retry_after is not None:
            raise error
        reply = self._client.first_byte(self._bucket, key)
        if self._heads_work:
            self._heads_work = False
            log.info("HEAD fails; using GET for object metadata: %s", error.message)
        return reply

    def _info_by_get(self, key: str, head: Headers | None, reply: Response, listed: int | None) -> ObjectInfo:
        """Combine the response to a GET of the first byte with the HEAD, if both are of one version."""
        what = uri_of(self._bucket, key)
        if reply.status not in TELLING:
            raise map_response(ErrorResponse.read(reply.status, reply.body, reply.url), what, self._client.asker)
        size = _size_by_get(reply)
        if size is None:
            size = listed
        elsewhere = listed if listed is not None or head is None else size_of(head)
        if size == 0 and elsewhere:
            # A gateway sends nothing, with success, where what is behind it fails.
            raise SourceUnavailable(
                f"{what} has {elsewhere} bytes by {'HEAD' if listed is None else 'the listing'}, and none by GET"
            )
        told = {name: value for name, value in reply.headers.items() if name not in LENGTHS}
        if reply.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            told = {}  # these are the headers of an error response
        if head is not None and told.get("etag", head.get("etag")) == head.get("etag"):
            told = {**head, **told}
        told.pop("content-range", None)
        info = ObjectInfo.of({**told, "content-length": str(size or 0)}, aws=self._aws)
        return info if size is not None else replace(info, sized=False)


def _size_by_get(reply: Response) -> int | None:
    """Return the size of the whole object from a GET of its first byte; None if the response does not tell."""
    size = size_of(reply.headers)
    if reply.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and "content-range" not in reply.headers:
        return 0  # there is no first byte
    if size is None and reply.status == HTTPStatus.OK and not reply.truncated:
        return len(reply.body)  # that was all
    return size
