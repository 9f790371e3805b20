"""The places of a run and the routes over them. A mirror is connected when it is first asked, and most never are.

Each place has an HTTP client, settings and a pause of its own: what belongs to one must not reach another.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from downloader.config.mirrors import ORIGIN
from downloader.engine import Place, Route
from downloader.errors import UsageError
from downloader.runs.wiring import make_client, make_source, make_transports, sequence_for, unfiltered
from downloader.sources import Local, ability, located
from downloader.sources.pause import SharedPause
from downloader.sources.registry import ArtifactUri
from downloader.sources.retry import Retrier, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from downloader.artifact import Manifest, RemoteFile, TransferProtocol
    from downloader.cancellation import Cancellation
    from downloader.config import Settings
    from downloader.network import HttpClient
    from downloader.runs.processes import Processes
    from downloader.runs.runner import Runner
    from downloader.sources import Source
    from downloader.sources.bandwidth import Bandwidth
    from downloader.transfer import Transport, TransportFactory


@dataclass(frozen=True, slots=True)
class Shared:
    """What all places of a run share."""

    settings: Settings
    runner: Runner
    environment: Mapping[str, str]
    """What child processes get."""
    bandwidth: Bandwidth | None
    """All places together may take so much."""
    processes: Processes
    """How many processes share the work: decided before the first attempt."""
    named: Callable[[Manifest, Callable[[Manifest], Mapping[str, RemoteFile]]], Mapping[str, RemoteFile]]
    """Asks a mirror for files by the names that the artifact has for them: in a cache, the volume has others."""


class Mirror:
    """One mirror of a run."""

    def __init__(self, uri: ArtifactUri, shared: Shared) -> None:
        """Prepare; `locate` or `make` send the first request. Raises UsageError for a URI that cannot be understood."""
        self._shared = shared
        self.uri, self._settings = uri.at_mirror(shared.settings)
        self.name = self.uri.shown
        self.place = Place(self.name, self.locate)
        self._lock = threading.Lock()
        self._deadlines = self._settings.deadlines.impatient()
        self._pause = SharedPause(shared.runner.meter.clock, self._deadlines.longest_pause)
        self._connection: tuple[HttpClient, Source, TransportFactory] | None = None
        self._cleanups = contextlib.ExitStack()

    @classmethod
    def parse(cls, text: str, shared: Shared) -> Mirror:
        """Return the mirror that a URI of the settings names. Raises UsageError, which says so."""
        try:
            return cls(ArtifactUri.parse(text), shared)
        except UsageError as error:
            raise UsageError(f"a mirror (--mirror, AIM_MIRRORS): {error.message}", hint=error.hint) from error

    @property
    def sequence(self) -> tuple[TransferProtocol, ...]:
        """The protocols in force there."""
        return sequence_for(self.uri, self._settings)

    def routes(self) -> list[Route]:
        """Return the routes over it."""
        last_retry = self._deadlines.last_retry
        return [Route(self.place, protocol, self.make, last_retry, is_last_resort=False) for protocol in self.sequence]

    def locate(self, manifest: Manifest, attempt: Cancellation) -> Mapping[str, RemoteFile]:
        """Ask what it has of a manifest: see `Locate`."""
        client, source, _ = self._connected()

        def ask(named: Manifest) -> Mapping[str, RemoteFile]:
            return self._retrier(attempt).run(lambda: located(source, named))

        with attempt.waking(client.interrupt), self._shared.runner.meter.waiting_for_network():
            return self._shared.named(manifest, ask)

    def listing(self, asking: Cancellation) -> Manifest:
        """Return what it lists, filters aside, for a run whose origin does not.

        Raises a DownloadError; `asking` ends the wait for an answer.
        """
        client, _, _ = self._connected()
        meter = self._shared.runner.meter
        source = make_source(self.uri, unfiltered(self._settings), client)
        with contextlib.closing(source), asking.waking(client.interrupt), meter.waiting_for_network():
            return self._retrier(asking).run(source.manifest)

    def make(self, protocol: TransferProtocol, attempt: Cancellation) -> Transport:
        """Return the transport of one attempt."""
        return self._connected()[2].make(protocol, attempt)

    def _retrier(self, cancellation: Cancellation) -> Retrier:
        limits, meter = self._deadlines, self._shared.runner.meter
        policy = RetryPolicy(limits.retry_budget, meter, cancellation, self._pause, limits.without_progress)
        return Retrier(policy, self.name)

    def close(self) -> None:
        """Close its connections."""
        self._cleanups.close()

    def _connected(self) -> tuple[HttpClient, Source, TransportFactory]:
        with self._lock:
            if self._connection is None:
                self._connection = self._connect()
            return self._connection

    def _connect(self) -> tuple[HttpClient, Source, TransportFactory]:
        shared, settings = self._shared, self._settings
        client = make_client(self.uri, settings, shared.runner.meter, self._deadlines)
        self._cleanups.callback(client.close)
        self._cleanups.callback(shared.runner.cancellation.on_cancel(client.abort))
        source = make_source(self.uri, settings, client)
        self._cleanups.callback(source.close)
        if (local := ability(source, Local)) is not None:
            local.require_apart(settings.job.target)
        transports = make_transports(
            self.uri,
            settings,
            shared.runner,
            client=client,
            source=source,
            environment=shared.environment,
            bandwidth=shared.bandwidth,
            processes=shared.processes,
            deadlines=self._deadlines,
            pause=self._pause,
            elsewhere=True,
            refetch=False,
        )
        return client, source, transports


class Places:
    """All places of a run, in the order in which they are asked for bytes."""

    def __init__(self, uri: ArtifactUri, shared: Shared) -> None:
        """Prepare the mirrors of the settings. Raises UsageError for one that cannot be understood."""
        self._uri = uri
        self._shared = shared
        job = shared.settings.job
        order = job.mirrors.ordered(first=job.mirror_first) if job.mirrors else (ORIGIN,)
        self._order = [None if text == ORIGIN else Mirror.parse(text, shared) for text in order]
        self._origin = Place(uri.shown if len(order) > 1 else "")
        self.interrupt_origin: Callable[[], None] = lambda: None
        """Wakes threads that wait for the origin. It has no connections before there are routes."""

    @property
    def mirrors(self) -> list[Mirror]:
        """The mirrors, in order."""
        return [mirror for mirror in self._order if mirror is not None]

    def abandon_origin(self) -> None:
        """Ask the origin for nothing more: it has not listed the files."""
        self._origin.is_abandoned = True
        for mirror in self.mirrors:
            mirror.place.is_needed = True

    def routes(self, sequence: tuple[TransferProtocol, ...], client: HttpClient, source: Source) -> list[Route]:
        """Return the routes, where the origin has this source and the protocols of this sequence.

        The origin is the last resort: it is asked once more behind the mirrors, with the limits of a run that has no
        mirrors, for what these did not have.
        """
        self.interrupt_origin = client.interrupt
        over_origin = partial(self._over_origin, sequence, client, source)
        routes: list[Route] = []
        for position, mirror in enumerate(self._order, start=1):
            last = position == len(self._order)
            routes += over_origin(last=last) if mirror is None else mirror.routes()
        return routes if self._order[-1] is None else routes + over_origin(last=True)

    def _over_origin(
        self, sequence: tuple[TransferProtocol, ...], client: HttpClient, source: Source, *, last: bool
    ) -> list[Route]:
        settings, runner, processes = self._shared.settings, self._shared.runner, self._shared.processes
        deadlines = settings.deadlines if last else settings.deadlines.impatient()
        pause = runner.pause if last else SharedPause(runner.meter.clock, deadlines.longest_pause)

        @cache  # made by the first attempt: only then it is known which part of the work each process has
        def transports() -> TransportFactory:
            return make_transports(
                self._uri,
                settings,
                runner,
                client=client,
                source=source,
                environment=self._shared.environment,
                bandwidth=self._shared.bandwidth,
                processes=processes,
                deadlines=deadlines,
                pause=pause,
                elsewhere=not last,
                refetch=last or not processes.several,  # else each process would fetch a damaged file again
            )

        def make(protocol: TransferProtocol, attempt: Cancellation) -> Transport:
            return transports().make(protocol, attempt)

        return [Route(self._origin, protocol, make, deadlines.last_retry, is_last_resort=last) for protocol in sequence]

    def close(self) -> None:
        """Close the connections of the mirrors."""
        for mirror in self._order:
            if mirror is not None:
                mirror.close()
