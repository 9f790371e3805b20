"""The artifact: who asks for it, whether its source lists it, and whether its first bytes arrive."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from downloader.artifact import Span, TransferProtocol
from downloader.doctor.finding import note, ok, problem
from downloader.errors import DownloadError, ProtocolFailed, SourceSilent, Verdict
from downloader.formatting import format_count, format_size
from downloader.network import address
from downloader.runs.hub_cache import require_offline
from downloader.runs.target import recall
from downloader.runs.wiring import make_filter, make_source, sequence_for
from downloader.sources import Identified, Recalling, XetSource, ability
from downloader.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from downloader.artifact import Manifest, RemoteFile
    from downloader.config import Settings
    from downloader.doctor.finding import Finding
    from downloader.hub_cache import CachedRepository
    from downloader.network import HttpClient, Origin
    from downloader.sources import Source
    from downloader.sources.registry import ArtifactUri

    T = TypeVar("T")

TRIES = 2
"""How often a question is asked that has met a passing error: a run asks more often."""
PLAIN, XET = "bytes", "xet"
"""The ways on which bytes come: each has a check of its name."""


class SourceCheck:
    """Asks the source of a URI what a run would ask first. `manifest` is None until it is listed."""

    def __init__(
        self, uri: ArtifactUri, settings: Settings, client: HttpClient, cache: CachedRepository | None
    ) -> None:
        self._uri = uri
        self._settings = settings
        self._client = client
        self._cache = cache
        self._sequence = frozenset(sequence_for(uri, settings))
        self._ways: dict[str, set[Origin]] = {}
        """Check → the servers that only its way of transfer needs."""
        self._working: set[str] = set()
        self.manifest: Manifest | None = None

    def check(self) -> Iterator[Finding]:
        """Yield what the source says of us, of the artifact and of its bytes."""
        with closing(make_source(self._uri, self._settings, self._client)) as source:
            identified = ability(source, Identified)
            if identified is not None:
                yield ok("credentials", f"requests are sent {identified.identity()}")
            if self._settings.hub.offline and ability(source, Recalling) is not None:
                yield from self._check_offline(source)
                return
            manifest = self.manifest = make_filter(self._settings).of(_with_retry(source.manifest))
            at = f" at {manifest.revision}" if manifest.revision else ""
            yield ok(
                "source",
                f"{manifest.uri}{at}: {format_count(len(manifest.files), 'file')}, {format_size(manifest.size)}",
            )
            findings = list(self._check_bytes(source, manifest))
            # Where one way works, a run needs no other.
            yield from ((one.as_note() if self._working else one) for one in findings)

    def optional(self, origin: Origin) -> bool:
        """Tell whether a download can do without a server: it is on one way, and another way works."""
        ways = {way for way, origins in self._ways.items() if origin in origins}
        return bool(ways) and not self._working <= ways

    @property
    def servers(self) -> list[Origin]:
        """All servers that were asked, or that the artifact's bytes would come from."""
        return list(dict.fromkeys([*self._client.asked, *(one for way in self._ways.values() for one in way)]))

    def _check_bytes(self, source: Source, manifest: Manifest) -> Iterator[Finding]:
        if self._sequence - {TransferProtocol.XET}:
            file = max(manifest.files, key=lambda file: file.size)
            yield from self._check_way(PLAIN, lambda: self._read(source, file))
        xet = ability(source, XetSource)
        stored = next((file for file in manifest.files if file.xet_hash), None)
        if TransferProtocol.XET in self._sequence and xet is not None and stored is not None:
            yield from self._check_way(XET, lambda: self._ask_xet(xet, stored.xet_hash or ""))

    def _check_way(self, way: str, use: Callable[[], str]) -> Iterator[Finding]:
        before = set(self._client.asked)
        self._ways[way] = set()
        try:
            text = _with_retry(use)
        except DownloadError as error:
            yield problem(way, error)
        else:
            self._working.add(way)
            yield ok(way, text)
        self._ways[way] |= set(self._client.asked) - before

    def _read(self, source: Source, file: RemoteFile) -> str:
        span = Span(0, min(1, file.span.stop))
        if not len(span):
            return f"{file.path} is empty, so there is nothing to fetch"
        try:
            return self._read_byte(source, file, span if file.sized else file.span)
        except ProtocolFailed:
            # A run goes on with HTTP then, which asks for the whole file.
            if span == file.span or TransferProtocol.HTTP not in self._sequence:
                raise
        return f"{self._read_byte(source, file, file.span)}, of the whole file: it is not handed out in parts"

    def _read_byte(self, source: Source, file: RemoteFile, span: Span) -> str:
        with closing(source.open(file, span)) as body:
            if not body.readinto(memoryview(bytearray(1))):
                raise ProtocolFailed(f"no byte of {file.path} arrives")
        return f"the first byte of {file.path} arrived"

    def _ask_xet(self, xet: XetSource, xet_hash: str) -> str:
        access = xet.xet_access()
        self._ways[XET].add(address(access.endpoint).origin)
        locations = xet.xet_locations(access, xet_hash)
        self._ways[XET] |= {address(url).origin for url in locations}
        hosts = ", ".join(sorted({address(url).authority for url in locations}))
        return f"{address(access.endpoint).authority} gives out the places of the bytes, on {hosts}"

    def _check_offline(self, source: Source) -> Iterator[Finding]:
        if self._is_complete(source):
            yield note(
                "source",
                f"HF_HUB_OFFLINE is set: nothing is asked for, and {self._uri.shown} is complete on the volume",
                "unset it to find out whether there is something newer",
            )
        else:
            source.manifest()  # raises the error that a run ends with

    def _is_complete(self, source: Source) -> bool:
        if self._cache is not None:
            require_offline(self._cache, source, self._settings)
            return True
        with Volume(self._settings.job.target, create=False) as volume:
            return recall(self._uri, source, volume)


def _with_retry(ask: Callable[[], T]) -> T:
    for left in range(TRIES - 1, -1, -1):
        try:
            return ask()
        except DownloadError as error:
            # A server that is silent may be so again, for as long as all checks may take.
            if error.verdict is not Verdict.RETRY or isinstance(error, SourceSilent) or not left:
                raise
    raise AssertionError("unreachable")
