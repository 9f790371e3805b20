"""A repository of the Hub's API at an address of its own: `hf+https://[login@]host[:port]/org/name[@revision][/path]`."""

from __future__ import annotations

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


def endpoint_and_uri(text: str) -> tuple[Endpoint, str]:
    """Return the endpoint that an `hf+http(s)://` URI names, and the `hf://` URI there. Raises UsageError."""
    scheme, _, rest = text.removeprefix(PREFIX).partition("://")
    authority, _, path = rest.partition("/")
    try:
        endpoint = web_endpoint(f"{scheme}://{authority}")
    except Malformed as error:
        what = f"{shown_url(text)!r} names no Hub by {error}"
        raise UsageError(what, hint="write hf+https://host/org/name") from None
    if not path:
        raise UsageError(f"{shown_url(text)!r} names no repository", hint="write hf+https://host/org/name")
    return endpoint, f"{HUB_URI}{path}"


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
