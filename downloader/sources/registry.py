"""The one list of schemes: what each is called, which protocols fit it, and how its source is made.

Sources are imported where they are made, so that a run pays only for the libraries of its own scheme.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from downloader.artifact import TransferProtocol, shown_url
from downloader.errors import UsageError
from downloader.loading import LOADING

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.config import Settings
    from downloader.filters import FileFilter
    from downloader.network import HttpClient
    from downloader.sources.base import Source


@dataclass(frozen=True, slots=True)
class Scheme:
    """What can be fetched with URIs of one scheme."""

    default: tuple[TransferProtocol, ...]
    """The protocols in force when the environment names none that fits."""
    fitting: frozenset[TransferProtocol]
    make: Callable[[str, Settings, HttpClient, FileFilter], Source]
    lists: bool = True
    """It lists what it holds: a web server may answer for any address with anything."""


def _hub(uri: str, settings: Settings, web: HttpClient, selection: FileFilter) -> Source:
    with LOADING:
        from downloader.sources.huggingface import HubSource

    hub = settings.hub
    return HubSource(
        uri,
        web,
        endpoint=hub.endpoint.url,
        token=hub.token,
        token_places=hub.token_places,
        login=hub.endpoint.authorization,
        offline=hub.offline,
        selection=selection,
    )


def _s3(uri: str, settings: Settings, web: HttpClient, selection: FileFilter) -> Source:
    with LOADING:
        from downloader.sources.s3 import S3Source

    bundles = [settings.web.ca_bundle] if settings.web.ca_bundle else []
    return S3Source(uri, settings.s3, web, bundles, selection, skip_unsafe=settings.skips_unsafe_names)


def _http(uri: str, settings: Settings, web: HttpClient, selection: FileFilter) -> Source:
    from downloader.integrity import ContentCheck
    from downloader.sources.http import HttpAddress, HttpSource

    host = urlsplit(HttpAddress.parse(uri).url).hostname or ""
    headers = {name.lower(): value for name, value in (settings.web.headers or {}).items()}
    headers |= settings.kserve.headers_for(host)
    if settings.web.token:
        headers.setdefault("authorization", f"Bearer {settings.web.token}")
    content = ContentCheck(settings.job.accept_any)
    return HttpSource(uri, web, headers, settings.web.netrc, content, selection=selection)


_WEB = Scheme(
    (TransferProtocol.RANGES, TransferProtocol.HTTP),
    frozenset({TransferProtocol.RANGES, TransferProtocol.HTTP}),
    _http,
    lists=False,
)

SCHEMES = {
    "hf": Scheme(
        (TransferProtocol.XET, TransferProtocol.HF_TRANSFER, TransferProtocol.HTTP),
        frozenset({TransferProtocol.XET, TransferProtocol.HF_TRANSFER, TransferProtocol.RANGES, TransferProtocol.HTTP}),
        _hub,
    ),
    "s3": Scheme(
        (TransferProtocol.S3, TransferProtocol.HTTP), frozenset({TransferProtocol.S3, TransferProtocol.HTTP}), _s3
    ),
    "http": _WEB,
    "https": _WEB,
}


def _hidden(character: str) -> bool:
    """Tell whether a character means nothing in a name: all but those that can be seen, and spaces of any width."""
    return not character.isprintable() and unicodedata.category(character) != "Zs"


def canonical(uri: str) -> str:
    """Return a URI with its scheme in lower case: that is the one part that means the same either way."""
    scheme, separator, rest = uri.partition("://")
    return scheme.lower() + separator + rest


def scheme_of(uri: str) -> Scheme:
    """Return the scheme of a URI. Raises UsageError for one that is not known."""
    name, separator, _ = uri.partition("://")
    known = ", ".join(f"{name}://" for name in SCHEMES)
    if any(map(_hidden, uri)) or uri != uri.strip():
        hint = "it has a character that cannot be shown, or begins or ends with a space"
        raise UsageError(f"{shown_url(uri)[:120]!r} is not an artifact URI", hint=hint)
    if not separator:
        raise UsageError(f"{shown_url(uri)[:120]!r} is not an artifact URI", hint=f"it begins with one of {known}")
    if name not in SCHEMES:
        raise UsageError(f"the scheme {name[:40]!r} is not known", hint=f"use one of {known}")
    return SCHEMES[name]
