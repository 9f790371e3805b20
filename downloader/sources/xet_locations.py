"""Where Xet's storage keeps the bytes of a file. hf_xet asks for that by itself; this is for the doctor."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from downloader.errors import ProtocolDown
from downloader.network import host_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.network import HttpClient
    from downloader.sources.base import XetAccess

VERSIONS = ("v2", "v1")
"""Of the API, the newest first: what hf_xet does where a server does not know it."""
UNKNOWN = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.NOT_IMPLEMENTED})
MAX_ANSWER = 1 << 20
MAX_DEEP = 6
"""Levels of the JSON: it is another server's."""


def xet_locations(http: HttpClient, access: XetAccess, xet_hash: str) -> list[str]:
    """Return the URLs of the first bytes of a file. Raises ProtocolDown where the storage does not name them."""
    # Headers of the URL's own origin: the token must not follow a redirect. One byte is asked for, so one URL comes.
    headers = {"authorization": f"Bearer {access.token}", "range": "bytes=0-0"}
    for version in VERSIONS:
        url = f"{access.endpoint.rstrip('/')}/{version}/reconstructions/{xet_hash}"
        reply = http.fetch(url, headers=headers, limit=MAX_ANSWER)
        if reply.status not in UNKNOWN:
            break
    if reply.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise ProtocolDown(f"{host_of(reply.url)} does not say where a file is (HTTP {reply.status})")
    try:
        return list(dict.fromkeys(_urls(json.loads(reply.body), MAX_DEEP)))
    except (ValueError, RecursionError) as error:
        raise ProtocolDown(f"{host_of(reply.url)} says where a file is in a form that makes no sense") from error


def _urls(value: Any, deep: int) -> Iterator[str]:  # noqa: ANN401 - JSON
    if not deep:
        return
    if isinstance(value, dict):
        if isinstance(value.get("url"), str):
            yield value["url"]
        value = list(value.values())
    if isinstance(value, list):
        for member in value:
            yield from _urls(member, deep - 1)
