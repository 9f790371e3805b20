"""The one list of schemes: all that differs between hf://, s3://, http(s):// and file:// outside of their sources.

A new scheme is a source and an entry in `SCHEMES`; `docs/contributing/adding-a-source.md` goes through the steps.
Sources are imported where they are made, so that a run pays only for the libraries of its own scheme.
"""

from __future__ import annotations

import contextlib
import logging
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from downloader.artifact import Completion, TransferProtocol, shown_url
from downloader.config.hub import HubSettings
from downloader.config.s3 import S3Settings
from downloader.errors import UsageError
from downloader.loading import LOADING
from downloader.sources import mirror_settings
from downloader.sources.pasted import canonical

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from downloader.config import Section, Settings
    from downloader.filters import FileFilter
    from downloader.network import HttpClient
    from downloader.sources.base import Source


S3_LOGGERS = "downloader.sources.s3"


@dataclass(frozen=True, slots=True)
class SourceTrust:
    """Whose certificates the clients of a source take."""

    bundles: tuple[Path, ...] = ()
    """PEM files with CAs, besides the usual ones."""
    verify: bool = True
    """Certificates are checked at all."""
    missing: Path | None = None
    """A bundle that the environment names and that is not there."""


@dataclass(frozen=True, slots=True)
class TransferDefaults:
    """The numbers of a ranged transfer that differ from `TransferConfig`'s own; None for one that does not."""

    connections: int | None = None
    """At once, all files together."""
    files: int | None = None
    """Files at once."""
    per_file: int | None = None
    """Connections that one file has, at most."""
    request: int | None = None
    """Bytes that are asked for at once."""
    stream: int | None = None
    """Bytes that are asked for at once while there are as many files as connections."""


def usual_trust(settings: Settings) -> SourceTrust:
    """Return the trust in any web server: the user's bundle, and the one that KServe mounts if it is there.

    KServe sets its bundle for every source of a service account, though its secret may mean S3 only.
    """
    given = settings.web.bundles
    mounted = settings.s3.mounted_bundle
    with contextlib.suppress(OSError):  # of a folder that is closed to us
        if mounted and mounted.is_file():
            return SourceTrust((*given, mounted))
    return SourceTrust(given, missing=None if mounted in given else mounted)


def _s3_trust(settings: Settings) -> SourceTrust:
    return SourceTrust((*settings.web.bundles, *settings.s3.trusted), verify=settings.s3.verify)


def _s3_transfer(settings: Settings) -> TransferDefaults:
    s3 = settings.s3
    if s3.connections is None:
        return TransferDefaults(request=s3.span_size, stream=s3.stream_size)
    return TransferDefaults(s3.connections, s3.max_workers, s3.max_concurrency, s3.span_size, s3.stream_size)


@dataclass(frozen=True, slots=True)
class Scheme:
    """All that the program knows of the URIs of one scheme."""

    form: str
    """What its URIs look like, for `--help`."""
    default: tuple[TransferProtocol, ...]
    """The protocols in force when the environment names none that fits."""
    fitting: frozenset[TransferProtocol]
    """The protocols that can bring its files."""
    make: Callable[[str, Settings, HttpClient, FileFilter], Source]
    """Return the source of a URI, which is closed after the run. Raises UsageError for one that names nothing."""
    lists: bool = True
    """It lists what it holds: a web server may answer for any address with anything."""
    section: type[Section] | None = None
    """The settings that are its own: errors in their variables end only runs with this scheme."""
    trust: Callable[[Settings], SourceTrust] = usual_trust
    transfer: Callable[[Settings], TransferDefaults] = lambda _: TransferDefaults()
    operator_mark: Completion = Completion.FILE
    """Where an artifact on a volume of the operator's is marked as complete, unless AIM_COMPLETION says it."""
    has_cache: bool = False
    """Its own tools keep a cache, which can be filled in place of a plain folder."""
    as_mirror: Callable[[str, Settings], tuple[str, Settings]] = lambda uri, settings: (uri, settings)
    """Return the URI of a mirror without what it says of its service, and the settings of a run that asks only there.

    What the environment has for the place of the artifact must not reach another one. Raises UsageError.
    """
    simulates_hub: bool = False
    """The debug switches AIM_DEBUG_SIMULATE_HF_* stand in for it."""


def _hub(uri: str, settings: Settings, http: HttpClient, file_filter: FileFilter) -> Source:
    with LOADING:
        from downloader.sources.huggingface import HubSource

    hub = settings.hub
    return HubSource(
        uri,
        http,
        endpoint=hub.endpoint.url,
        token=hub.token,
        token_places=hub.token_places,
        login=hub.endpoint.authorization,
        offline=hub.offline,
        file_filter=file_filter,
    )


def _hub_at(uri: str, settings: Settings, http: HttpClient, file_filter: FileFilter) -> Source:
    from downloader.sources.hub_place import at_endpoint

    return _hub(*at_endpoint(uri, settings), http, file_filter)


def _s3(uri: str, settings: Settings, http: HttpClient, file_filter: FileFilter) -> Source:
    with LOADING:
        from downloader.sources.s3 import S3Source

    if settings.s3.log_level:
        logging.getLogger(S3_LOGGERS).setLevel(settings.s3.log_level)
    bundles = settings.web.bundles
    s3 = settings.s3
    if s3.only_profile:
        from downloader.sources.s3.session import of_profile

        s3 = of_profile(s3)
    return S3Source(uri, s3, http, bundles, file_filter, skip_unsafe=settings.skips_unsafe_names)


def _http(uri: str, settings: Settings, http: HttpClient, file_filter: FileFilter) -> Source:
    from downloader.integrity import ContentCheck
    from downloader.sources.http import HttpSource
    from downloader.sources.http_address import HttpAddress

    host = urlsplit(HttpAddress.parse(uri).url).hostname or ""
    headers = {name.lower(): value for name, value in (settings.web.headers or {}).items()}
    headers |= settings.kserve.headers_for(host)
    if settings.web.token:
        headers.setdefault("authorization", f"Bearer {settings.web.token}")
    content = ContentCheck(settings.job.accept_any)
    return HttpSource(uri, http, headers, settings.web.netrc, content, file_filter=file_filter)


def _file(uri: str, settings: Settings, _: HttpClient, file_filter: FileFilter) -> Source:
    with LOADING:
        from downloader.sources.file import FileSource

    return FileSource(uri, file_filter=file_filter, skip_unsafe=settings.skips_unsafe_names)


_WEB = Scheme(
    "http(s)://host/file",
    (TransferProtocol.RANGES, TransferProtocol.HTTP),
    frozenset({TransferProtocol.RANGES, TransferProtocol.HTTP}),
    _http,
    lists=False,
    as_mirror=mirror_settings.of_web,
)
_HUB_AT = Scheme(
    "hf+https://host[/path/]/org/name",
    (TransferProtocol.XET, TransferProtocol.HF_TRANSFER, TransferProtocol.HTTP),
    frozenset({TransferProtocol.XET, TransferProtocol.HF_TRANSFER, TransferProtocol.RANGES, TransferProtocol.HTTP}),
    _hub_at,
    section=HubSettings,
    as_mirror=mirror_settings.of_hub,
)

SCHEMES = {
    "hf": Scheme(
        "hf://org/name[@revision][/path]",
        (TransferProtocol.XET, TransferProtocol.HF_TRANSFER, TransferProtocol.HTTP),
        frozenset({TransferProtocol.XET, TransferProtocol.HF_TRANSFER, TransferProtocol.RANGES, TransferProtocol.HTTP}),
        _hub,
        section=HubSettings,
        simulates_hub=True,
        has_cache=True,
    ),
    "s3": Scheme(
        "s3://bucket/prefix-or-key",
        (TransferProtocol.S3, TransferProtocol.HTTP),
        frozenset({TransferProtocol.S3, TransferProtocol.HTTP}),
        _s3,
        section=S3Settings,
        as_mirror=mirror_settings.of_s3,
        trust=_s3_trust,
        transfer=_s3_transfer,
        operator_mark=Completion.XATTR,  # beside the bucket's files there must be no others
    ),
    "hf+https": _HUB_AT,
    "hf+http": _HUB_AT,
    "http": _WEB,
    "https": _WEB,
    "file": Scheme("file:///folder-or-file", (TransferProtocol.FILE,), frozenset({TransferProtocol.FILE}), _file),
}


def forms() -> str:
    """Return what URIs look like, as a list in a sentence."""
    *others, last = dict.fromkeys(scheme.form for scheme in SCHEMES.values())
    return f"{', '.join(others)}, or {last}"


@dataclass(frozen=True, slots=True)
class ArtifactUri:
    """The name of an artifact as the command line gives it, and its scheme. Made by `parse`, once, where argv is read.

    What stands behind the scheme is the source's own to read.
    """

    SHOWN: ClassVar[int] = 120
    """Characters of a URI that a message quotes."""

    text: str
    """With the scheme in lower case: that is the one part that means the same either way. May hold secrets."""
    scheme: Scheme

    @classmethod
    def parse(cls, given: str) -> ArtifactUri:
        """Return the URI that a text means. Raises UsageError for a scheme that is not known, and for other texts."""
        given = canonical(given)
        name, separator, rest = given.partition("://")
        name = name.lower()
        known = ", ".join(f"{name}://" for name in SCHEMES)
        quoted = repr(shown_url(name + separator + rest)[: cls.SHOWN])
        if any(map(_hidden, given)):
            raise UsageError(f"{quoted} is not an artifact URI", hint="it has a character that cannot be shown")
        if not separator:
            raise UsageError(f"{quoted} is not an artifact URI", hint=f"it begins with one of {known}")
        if name not in SCHEMES:
            raise UsageError(f"the scheme {name[:40]!r} is not known", hint=f"use one of {known}")
        return cls(name + separator + rest, SCHEMES[name])

    @property
    def prefix(self) -> str:
        """The scheme as the URI begins with it: `s3://`."""
        return self.text.partition("://")[0] + "://"

    @property
    def shown(self) -> str:
        """The URI as it may be shown: without a login and a query."""
        return shown_url(self.text)

    @property
    def web_origin(self) -> str:
        """Scheme, host and port of a plain web server, which share their credentials; empty for another scheme."""
        if self.scheme is not _WEB:
            return ""
        from downloader.sources.http_address import HttpAddress

        parts = urlsplit(HttpAddress.parse(self.text).url)
        return f"{parts.scheme}://{parts.hostname}:{parts.port}"

    def at_mirror(self, settings: Settings) -> tuple[ArtifactUri, Settings]:
        """Return what is asked at a mirror, with settings that hold nothing that belongs to another place.

        Raises UsageError for a URI that cannot be understood, ConfigurationError for settings that it needs.
        """
        text, own = self.scheme.as_mirror(self.text, settings)
        return ArtifactUri(text, self.scheme), own

    def source(self, settings: Settings, http: HttpClient, file_filter: FileFilter) -> Source:
        """Return the source that this names. Raises UsageError for a URI that cannot be understood."""
        return self.scheme.make(self.text, settings, http, file_filter)


def _hidden(character: str) -> bool:
    """Tell whether a character means nothing in a name: all but those that can be seen, and spaces of any width."""
    return not character.isprintable() and unicodedata.category(character) != "Zs"
