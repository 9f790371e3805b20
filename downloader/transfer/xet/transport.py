"""The transport for `XET`: what is stored in Xet comes from the child, everything else over plain HTTP."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from downloader.errors import (
    ProtocolDown,
    ProtocolFailed,
    ProtocolUntrusted,
    SourceUnavailable,
    Stalled,
    UntrustedServer,
)
from downloader.sources import XetSource, ability
from downloader.sources.base import SourceWrapper
from downloader.sources.retry import Retrier, RetryPolicy
from downloader.sources.retrying import RetryingSource
from downloader.transfer.ranged import Ranged
from downloader.transfer.xet.config import SPAN
from downloader.transfer.xet.errors import Unreachable
from downloader.transfer.xet.process import XetProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from downloader.artifact import RemoteFile, Span
    from downloader.cancellation import Cancellation
    from downloader.errors import DownloadError, IntegrityError
    from downloader.progress import ProgressMeter
    from downloader.sources import Body, Source, XetAccess
    from downloader.sources.concurrency import ConcurrencyController
    from downloader.sources.pause import SharedPause
    from downloader.transfer.base import CompletedFile, Feed, FileSink
    from downloader.transfer.config import TransferConfig
    from downloader.transfer.xet.config import XetSettings
    from downloader.volume import Partial

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Xet:
    """One attempt over Xet. `plain` reads what is not stored there."""

    source: Source
    plain: Source
    meter: ProgressMeter
    cancellation: Cancellation
    config: TransferConfig
    settings: XetSettings
    pause: SharedPause
    concurrency: ConcurrencyController
    """Controls the requests of `plain`. hf_xet adapts its own connections to its storage, and does not report them."""
    limit: Callable[[Source], Source] | None = None
    """Applies the bandwidth limit to a source; None without a limit."""

    def fetch(self, files: Sequence[RemoteFile], sink: FileSink, feed: Feed | None = None) -> None:
        """Transfer every file; raise ProtocolDown at once if Xet does not work at all."""
        stored = [file for file in files if file.xet_hash]
        source = ability(self.source, XetSource)
        if not stored or source is None:
            log.info("the files are not stored in Xet; using plain HTTP")
            Ranged(self.plain, self.meter, self.cancellation, self.config, self.concurrency).fetch(files, sink, feed)
            return
        access = self._ask_for_access(source)
        self.meter.add_host(urlsplit(access.endpoint).netloc)  # this process does not see the requests of the child
        with self.settings.scratch() as environment:
            process = XetProcess(
                self.settings.child_config(access),
                environment,
                channels=min(self.settings.streams, sum(-(-file.size // SPAN) for file in stored)),
                received=self.meter.add_received if self.limit is None else _ignore,
                down=self.cancellation.cancel,
            )
            try:
                either = _Either(self._reader(process), self.plain)
                # Workers may wait for the child in many places: its end wakes them all.
                with self.cancellation.waking(process.kill_nowait):
                    Ranged(either, self.meter, self.cancellation, self._ranged_config(), self.concurrency).fetch(
                        files, _Watched(sink, process, source, access.endpoint), feed
                    )
            finally:
                process.kill()

    def _reader(self, process: XetProcess) -> Source:
        """Return the source that reads from the child, with retries and the bandwidth limit."""
        # hf_xet has tried three times before it reports an error: our own retries can be few.
        policy = RetryPolicy(self.settings.deadlines.xet_retry_budget, self.meter, self.cancellation, self.pause)
        # The child counts what it receives. With a bandwidth limit it is far ahead of us, so we count instead.
        spans = process if self.limit is None else self.limit(process)
        return RetryingSource(spans, policy, counted=self.limit is not None)

    def _ranged_config(self) -> TransferConfig:
        """Return a configuration with a worker for each stream of the child, and room for all spans under way."""
        workers = max(self.config.initial_connections, self.settings.streams)
        # So many buffers that no span has to be read back to be hashed.
        window = (self.settings.streams + 1) * SPAN // self.config.buffer_size
        return replace(
            self.config,
            initial_connections=workers,
            max_connections=workers,
            request_size=self._request_size,
            buffers=max(self.config.buffers, window),
            prefetch=False,
            stream_size=0,
        )

    def _request_size(self, file: RemoteFile) -> int:
        return SPAN if file.xet_hash else self.config.buffer_size

    def _ask_for_access(self, source: XetSource) -> XetAccess:
        policy = RetryPolicy(self.settings.deadlines.xet_token, self.meter, self.cancellation, self.pause)
        try:
            return Retrier(policy, "Xet token").run(source.xet_access)
        except (SourceUnavailable, Stalled) as error:
            raise ProtocolDown(f"no Xet token could be had: {error.message}") from error


def _ignore(_count: int) -> None:
    """Count nothing."""


class _Either(SourceWrapper):
    """A source that reads from the child or over HTTP, file by file."""

    def __init__(self, stored: Source, plain: Source) -> None:
        super().__init__(plain)
        self._stored = stored

    def open(self, file: RemoteFile, span: Span) -> Body:
        return self._stored.open(file, span) if file.xet_hash else super().open(file, span)

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        super().prefetch([(file, span) for file, span in pieces if not file.xet_hash])

    def close(self) -> None:
        """Nothing to release: both belong to others."""


class _Watched:
    """A sink that ends the attempt when Xet has delivered nothing since the last failure."""

    def __init__(self, sink: FileSink, process: XetProcess, source: XetSource, endpoint: str) -> None:
        """`source` is asked whether the storage at `endpoint` can be trusted."""
        self._sink = sink
        self._source = source
        self._endpoint = endpoint
        self._process = process
        self._delivered_before = 0

    def begin(self, file: RemoteFile) -> Partial:
        return self._sink.begin(file)

    def inspect(self, file: RemoteFile, head: bytes, hashed: int) -> int:
        return self._sink.inspect(file, head, hashed)

    def commit(self, completed_files: Sequence[CompletedFile]) -> Mapping[str, IntegrityError]:
        return self._sink.commit(completed_files)

    def fail(self, file: RemoteFile, error: DownloadError) -> None:
        if file.xet_hash and isinstance(error, ProtocolFailed | SourceUnavailable):
            delivered, before = self._process.delivered, self._delivered_before
            self._delivered_before = delivered
            if delivered == before:
                error = self._untrusted(error) or ProtocolDown(error.message, hint=error.hint)
        self._sink.fail(file, error)

    def _untrusted(self, error: DownloadError) -> ProtocolDown | None:
        """Return the error if a certificate is the reason: hf_xet does not say so, nor always which server it was."""
        for origin in dict.fromkeys((self._endpoint, error.origin if isinstance(error, Unreachable) else "")):
            if not origin.startswith("https://"):
                continue
            try:
                self._source.require_trust(origin)
            except UntrustedServer as untrusted:
                return ProtocolUntrusted(untrusted.message, hint=untrusted.hint)
        return None
