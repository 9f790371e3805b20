"""The pages of a listing, up to the one that says that it is the last (ADR 54).

botocore's paginator stops at a page without a continuation token, also if it says `IsTruncated`: files would be
missing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from downloader.errors import ProtocolFailed
from downloader.sources.s3.address import uri_of
from downloader.sources.s3.answers import ErrorResponse
from downloader.sources.s3.errors import UNSUPPORTED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from types_boto3_s3.type_defs import ObjectTypeDef

    from downloader.sources.s3.client import S3ApiClient
    from downloader.sources.s3.page import Page

MAX_PAGES = 10_000

log = logging.getLogger(__name__)


class Pages:
    """The pages of one listing.

    Some servers truncate a page and name no continuation token, or answer `list-type=2` in the form of ListObjects.
    From these, the objects after the last key are requested, first with `marker`, then with `start-after`.
    """

    def __init__(self, client: S3ApiClient, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._newer = True
        self._begun: set[str | None] = set()

    def __iter__(self) -> Iterator[list[ObjectTypeDef]]:
        """Yield the objects of each page. Raises ProtocolFailed unless the listing comes to its end."""
        page, asked = self._first(), set[str]()
        said_so = False
        for _ in range(MAX_PAGES):
            # The server ignored the parameter that says where the page begins.
            if page.first_key in self._begun:
                if said_so:
                    return
                break
            self._begun |= {page.first_key} - {None}
            yield page.objects
            if page.is_last:
                return
            # Some servers name the last key as the next place although they say that nothing follows it.
            said_so = page.truncated is False
            place = "".join(page.following.values())
            if page.following and place not in asked:
                asked.add(place)
                page = self._ask(page.following)
            elif said_so:
                return
            else:
                page = self._after(page.last_key)
        raise self._endless()

    def _first(self) -> Page:
        try:
            return self._ask({})
        except ClientError as error:
            if not _unsupported(error):
                raise
        log.info("the server supports only version 1 of the S3 listing")
        self._newer = False
        return self._ask({})

    def _after(self, key: str) -> Page:
        """Return the page after a key, from a server that has named no continuation."""
        ways = [(False, "Marker"), (True, "StartAfter")]
        for newer, parameter in ways if key else ():
            self._newer = newer
            try:
                page = self._ask({parameter: key})
            except ClientError as error:
                if not _unsupported(error):
                    raise
                continue
            if page.first_key not in self._begun:
                return page
        raise self._endless()

    def _ask(self, place: Mapping[str, str]) -> Page:
        return self._client.page(self._bucket, self._prefix, place, newer=self._newer)

    def _endless(self) -> ProtocolFailed:
        return ProtocolFailed(
            f"the S3 server's listing of {uri_of(self._bucket, self._prefix)} does not come to an end",
            hint="it says that more follows, and does not send it",
        )


def _unsupported(error: ClientError) -> bool:
    answer = ErrorResponse.of(error)
    return answer.code in UNSUPPORTED or str(answer.status) in UNSUPPORTED
