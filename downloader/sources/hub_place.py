"""A repository of the Hub's API at an address of its own: `hf+https://[login@]host[:port][/path/]/org/name[@revision]`.

Repository managers serve the API below a path, such as `/artifactory/api/huggingfaceml/NAME`. Two slashes end it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

from downloader.artifact import shown_url
from downloader.config.addresses import Endpoint, web_endpoint
from downloader.config.env import Malformed
from downloader.errors import UsageError
from downloader.sources.hub_address import HUB_URI

if TYPE_CHECKING:
    from downloader.config import Settings

PREFIX = "hf+"
FORM = "write hf+https://host/org/name, or hf+https://host/path//org/name"
KINDS = frozenset({"models", "datasets", "spaces"})
REPOSITORY_PARTS = 2
REVISION = re.compile("[@:]")


def endpoint_and_uri(text: str) -> tuple[Endpoint, str]:
    """Return the endpoint that an `hf+http(s)://` URI names, and the `hf://` URI there. Raises UsageError."""
    scheme, _, rest = text.removeprefix(PREFIX).partition("://")
    authority, _, path = rest.partition("/")
    prefix, repository = _split(path, shown_url(text))
    try:
        endpoint = web_endpoint(f"{scheme}://{authority}/{prefix}")
    except Malformed as error:
        what = f"{shown_url(text)!r} names no Hub by {error}"
        raise UsageError(what, hint=FORM) from None
    if not repository:
        raise UsageError(f"{shown_url(text)!r} names no repository", hint=FORM)
    return endpoint, f"{HUB_URI}{repository}"


def _split(path: str, shown: str) -> tuple[str, str]:
    """Return the path of the endpoint, and what names a repository there.

    Two slashes end the path of the endpoint. Without them it has no path. Then `a/b/c` could be a folder of `a/b`, or a
    repository `b/c` behind a path: that is refused unless a revision shows where the name of the repository ends.
    """
    prefix, mark, repository = f"/{path}".partition("//")
    if mark:
        return prefix.strip("/"), repository
    parts = path.strip("/").split("/")
    names = parts[1:] if parts[0] in KINDS else parts
    if len(names) > REPOSITORY_PARTS and not any(REVISION.search(name) for name in names[:REPOSITORY_PARTS]):
        host = shown.removesuffix(f"/{path}")
        raise UsageError(
            f"{shown!r} can mean a folder of a repository, or a repository behind a path of the server",
            hint=f"write {host}//{path} for the folder, or {host}/path//org/name for the other",
        )
    return "", path


def at_endpoint(text: str, settings: Settings) -> tuple[str, Settings]:
    """Return the `hf://` URI of an `hf+http(s)://` URI, and settings with its endpoint and its login."""
    endpoint, uri = endpoint_and_uri(text)
    # The token of the environment is for the Hub that the environment names.
    token = settings.hub.token if endpoint.url == settings.hub.endpoint.url else ""
    if own := _token_of(text):
        endpoint = replace(endpoint, authorization=f"Bearer {own}")
    hub = replace(settings.hub, endpoint=endpoint, token=token, token_places=("its URI",))
    return uri, replace(settings, hub=hub)


def _token_of(text: str) -> str:
    """Return the token of a URI whose login is one word, empty for another login or none."""
    login, at, _ = text.partition("://")[2].partition("/")[0].rpartition("@")
    return unquote(login) if at and ":" not in login else ""
