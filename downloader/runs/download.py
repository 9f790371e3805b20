"""Downloads one artifact to one volume, and reports the progress. It is long because a run is put together here."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from downloader.engine import Engine, Outcome, Previewer, only_routes
from downloader.errors import DownloadError
from downloader.events import RunStarted, Verified
from downloader.filesystem import is_folder
from downloader.filters import FileFilter
from downloader.formatting import format_duration
from downloader.integrity import proofs_text
from downloader.progress import Phase, StallWatchdog
from downloader.runs.elsewhere import listed_elsewhere
from downloader.runs.ending import Findings, Reporting
from downloader.runs.expectation import read_expectation
from downloader.runs.places import Places, Shared
from downloader.runs.processes import Processes
from downloader.runs.provenance import model_card, require_bom
from downloader.runs.requirements import Requirements
from downloader.runs.shared_work import SharedWork
from downloader.runs.signing import require_apart, require_real, trusted_signer, verifying
from downloader.runs.wiring import (
    given_connections,
    make_bandwidth,
    make_client,
    make_engine,
    make_plan,
    make_retrying,
    make_simulated_verification,
    make_source,
    make_volume,
    make_volume_to_look_at,
    recall,
    sequence_for,
)
from downloader.simulation import simulation_of, slow_looks_of
from downloader.sources import Local, ability
from downloader.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import ModuleType

    from downloader.artifact import Manifest, ModelCard, RemoteFile
    from downloader.config import Settings
    from downloader.config.sharing import Shard
    from downloader.engine import Finalizer, Plan, Preview, Route
    from downloader.hub_cache import CachedRepository, CachedRevision
    from downloader.progress import Snapshot
    from downloader.reporters import Reporter
    from downloader.reporters.run_report import RunReport
    from downloader.runs.ending import Ending
    from downloader.runs.runner import Runner
    from downloader.runs.wiring import Sharing
    from downloader.signing import VerifyingProcess
    from downloader.sources import Source
    from downloader.sources.registry import ArtifactUri
    from downloader.sources.retrying import RetryingSource
    from downloader.volume import Volume

T = TypeVar("T")

log = logging.getLogger(__name__)


class Download:
    """The download of one artifact to one volume: lists, transfers, verifies and publishes it."""

    def __init__(
        self,
        uri: ArtifactUri,
        settings: Settings,
        runner: Runner,
        reporters: Iterable[Reporter] = (),
        *,
        environment: Mapping[str, str],
        finalizer: Finalizer | None = None,
        cache: CachedRepository | None = None,
        for_operator: bool = True,
        ended: Callable[[Ending], None] = lambda _: None,
        on_report: Callable[[RunReport], None] | None = None,
    ) -> None:
        """Prepare a download; nothing happens before `run`. Raises UsageError for a mirror that cannot be understood.

        Child processes get their variables from `environment`. `finalizer` works on the verified files before they are
        published. With a `cache`, the artifact goes there. With `for_operator`, the completion mark of a run with an
        AIMArtifact is where the operator wants it. `ended` is called once, after the reporters have been closed, then
        `on_report`. The report and the metrics that the settings ask for are written before.
        """
        self._uri = uri
        self._settings = settings
        self._runner = runner
        self._environment = environment
        self._finalizer = finalizer if cache is None else cache
        self._cache = cache
        self._for_operator = for_operator and bool(settings.cluster.artifact_name)
        self._reporting = Reporting(uri.shown, settings, runner, reporters, ended=ended, on_report=on_report)
        self._watchdog = StallWatchdog(runner.meter, settings.deadlines.stall)
        self._volume: Volume | None = None
        self._engine: Engine | None = None
        self._signer = ""
        self._card: ModelCard | None = None
        self._requirements: Requirements | None = None
        self._verifying: VerifyingProcess | None = None
        self._slow_looks = slow_looks_of(settings)
        bandwidth = make_bandwidth(settings, runner.meter)
        processes = Processes(
            settings,
            protocols=sequence_for(uri, settings),
            connections=given_connections(uri, settings),
            possible=not settings.job.mirrors,
        )
        shared = Shared(settings, runner, environment, bandwidth, processes, self._named)
        self._places = Places(uri, shared)
        self._shared_work = SharedWork(
            uri,
            settings,
            runner,
            environment,
            processes=processes,
            bandwidth=bandwidth,
            cached=cache is not None,
            converts=cache is None and finalizer is not None,
        )

    def run(self, work: Callable[[], Outcome] | None = None) -> Outcome:
        """Download the artifact. Raises one of our errors, after the reporters have been closed.

        `work` is for a run that does more than download: it is executed in place of `transfer`, which it calls.
        """
        uri, target = self._uri.shown, self._settings.job.target
        begun = RunStarted(uri=uri, target=str(target), version=__version__)
        log.info("downloading %s to %s", uri, target, extra=begun.extra())
        observers = [self._watchdog.check, self._reporting.report]
        if self._settings.sharing.pod is not None:  # before a snapshot is taken: another pod may be reporting
            self._runner.meter.share(leads=False)
        try:
            outcome = self._runner.run(work or self.transfer, observers=observers, stuck_volume=self._stuck_volume)
        except DownloadError as error:
            self._finish(error)
            raise
        except BaseException:  # Ctrl-C in a program that uses the API
            self._finish(self._runner.cancellation.reason)
            raise
        skipped = outcome.manifest.skipped
        also = f"; {skipped} unsafe {'name' if skipped == 1 else 'names'} passed over" if skipped else ""
        found = outcome.manifest
        done = Verified(
            uri=uri, revision=found.revision, files=len(found.files), bytes=found.size, digest=outcome.digest or None
        )
        log.info("%s: %s%s", uri, proofs_text(outcome.proofs), also, extra=done.extra())
        self._finish(None, outcome)
        return outcome

    def transfer(self) -> Outcome:
        """Transfer the artifact to the volume. This is the work of the run, in its own thread."""
        with verifying(self._settings, self._environment) as self._verifying:
            return self._connected(self._run_engine)

    def preview(self, observer: Callable[[Snapshot], None]) -> Preview:
        """Return what `run` would do, in place of it. `observer` gets snapshots meanwhile. Raises one of our errors."""
        work = partial(self._connected, self._preview)
        return self._runner.run(work, observers=[self._watchdog.check, observer], stuck_volume=self._stuck_volume)

    def _connected(self, work: Callable[[Source, Sequence[Route], Plan, bool], T]) -> T:
        """Return what `work` does with the source, the routes and the plan, and whether these are simulated."""
        uri, settings, runner = self._uri, self._settings, self._runner
        trusted_signer(settings)  # what cannot be used is told before anything else
        require_bom(settings)
        require_apart(settings)
        if settings.job.expected_size:
            runner.meter.expect(settings.job.expected_size, 0)
        sequence = sequence_for(uri, settings)
        expectation = read_expectation(settings, runner, uri)
        simulation = simulation_of(uri, settings, sequence, runner.meter)
        if simulation is not None:
            require_real(settings)
            routes = only_routes(simulation.sequence, simulation.make, settings.deadlines.last_retry)
            return work(simulation.source, routes, make_plan(uri, settings, expectation, FileFilter()), True)
        client = make_client(uri, settings, runner.meter)
        source = make_source(uri, settings, client)
        plan = make_plan(uri, settings, expectation)
        if self._cache is not None:
            source = self._cache.wrap(source, plan.file_filter, expectation)
            compared = replace(expectation, compared=True)
            plan = replace(plan, file_filter=FileFilter(), expectation=compared, keeps_revisions=True)
        try:
            if (local := ability(source, Local)) is not None:
                local.require_apart(settings.job.target)
            with runner.cancellation.waking(client.abort):
                return work(source, self._places.routes(sequence, client, source), plan, False)
        finally:
            self._places.close()
            source.close()
            client.close()

    def show_waiting(self, holder: str, _seconds: float) -> None:
        """Report that the run waits for another process, the `holder` of the lease."""
        self._runner.meter.enter(Phase.WAITING, f"waiting for {holder} to finish with the volume")

    @property
    def _revision(self) -> CachedRevision | None:
        """What has been listed for a cache, whose volume has other names for the files; None for a plain folder."""
        return self._cache.listed if self._cache is not None else None

    def _named(
        self, manifest: Manifest, ask: Callable[[Manifest], Mapping[str, RemoteFile]]
    ) -> Mapping[str, RemoteFile]:
        revision = self._revision
        if revision is None:
            return ask(manifest)
        return {revision.blobs[path]: file for path, file in ask(revision.manifest).items() if path in revision.blobs}

    def _run_engine(self, source: Source, routes: Sequence[Route], plan: Plan, simulated: bool) -> Outcome:  # noqa: FBT001
        settings, runner = self._settings, self._runner
        retrying = make_retrying(source, settings, runner)
        if self._cache is not None and not settings.hub.offline and not is_folder(self._cache.folder):
            retrying.version()  # a repository that the Hub does not have leaves nothing in the cache
        volume = self._open_volume(for_operator=self._for_operator, simulated=simulated)
        self._volume = volume
        try:
            requirements = Requirements(
                self._uri,
                settings,
                runner,
                self._watchdog,
                verifier=self._verifying,
                source=retrying,
                cache=self._cache,
            )
            self._requirements = requirements
            finalizer = requirements.before(self._finalizer)
            if simulated:
                finalizer = make_simulated_verification(settings, runner.cancellation)
            if settings.hub.offline:
                self._recall(source, volume)
            sharing = None if simulated else self._shared_work.of_run(judged_early=requirements.early is not None)
            if sharing is None:  # what other processes bring may be a mirror's
                plan = replace(plan, early=requirements.early)
            self._engine = self._make_engine(retrying, routes, plan, volume, finalizer=finalizer, sharing=sharing)
            outcome = self._by_name(self._engine.run())
            self._signer, self._card = requirements.signer, model_card(source, settings)
        except DownloadError as error:
            self._name(error)
            raise
        else:
            self._shared_work.end(done=True)
            return outcome
        finally:
            self._shared_work.end(done=False)
            volume.close()

    def _open_volume(self, *, for_operator: bool, simulated: bool) -> Volume:
        files = None
        if self._cache is not None:
            files = self._cache.open()
            files.keeps_pages = self._settings.job.keep_pages
        return make_volume(self._uri, self._settings, for_operator=for_operator, simulated=simulated, files=files)

    def help(self, shard: Shard, observer: Callable[[Snapshot], None]) -> None:
        """Work as a further process of another run, in place of `run`, until that run has published."""
        work = partial(self._connected, partial(self._help, shard))
        self._runner.run(work, observers=[self._watchdog.check, observer], stuck_volume=self._stuck_volume)

    def divide(self, left: int) -> None:
        """Divide what the processes of one run share among those that are left."""
        self._shared_work.divide(left)

    def _help(self, shard: Shard, source: Source, routes: Sequence[Route], plan: Plan, _simulated: bool) -> None:  # noqa: FBT001
        from downloader.engine.shared import SharedEngine  # noqa: PLC0415 -- most runs work alone

        volume = self._open_volume(for_operator=False, simulated=False)
        self._volume = volume
        try:
            retrying = make_retrying(source, self._settings, self._runner)
            sharing = self._shared_work.as_helper(shard)
            engine = self._make_engine(retrying, routes, plan, volume, finalizer=None, sharing=sharing)
            if isinstance(engine, SharedEngine):
                engine.help_only()
        except DownloadError as error:
            self._name(error)
            raise
        finally:
            volume.close()

    def _preview(self, source: Source, routes: Sequence[Route], plan: Plan, _simulated: bool) -> Preview:  # noqa: FBT001
        settings, sleep = self._settings, self._runner.cancellation.sleep
        cached = None if self._cache is None else self._cache.look()
        volume, disk = make_volume_to_look_at(self._uri, settings, cached, for_operator=self._for_operator)
        self._volume = volume
        try:
            if settings.hub.offline:
                self._recall(source, volume)
            previewer = Previewer(volume, disk, plan, routes, sleep)
            retrying = make_retrying(source, settings, self._runner)
            preview = self._make_engine(retrying, routes, plan, volume, finalizer=self._finalizer).preview(previewer)
            return preview if self._cache is None else _hub_cache().preview_by_name(self._cache, preview)
        finally:
            volume.close()

    def _make_engine(
        self,
        source: RetryingSource,
        routes: Sequence[Route],
        plan: Plan,
        volume: Volume,
        *,
        finalizer: Finalizer | None,
        sharing: Sharing | None = None,
    ) -> Engine:
        return make_engine(
            listed_elsewhere(
                source,
                self._uri,
                self._places,
                volume=volume,
                plan=plan,
                run=self._runner.cancellation,
                watchdog=self._watchdog,
            ),
            volume,
            routes,
            plan,
            uri=self._uri.shown,
            runner=self._runner,
            watchdog=self._watchdog,
            finalizer=finalizer,
            waiting=self.show_waiting,
            sharing=sharing,
        )

    def _recall(self, source: Source, volume: Volume) -> None:
        """Give the source the manifest of a complete volume: offline, no server may be asked for it."""
        if self._cache is not None:
            _hub_cache().recall_cached(self._cache, source)
        else:
            recall(self._uri, source, volume)

    def _stuck_volume(self) -> str:
        waiting = [
            self._volume.oldest_operation() if self._volume is not None else None,
            self._slow_looks.oldest() if self._slow_looks is not None else None,
        ]
        doing, seconds = max(filter(None, waiting), key=lambda operation: operation[1], default=("", 0.0))
        if seconds < self._settings.job.volume_timeout:
            return ""
        return f"the volume has not answered for {format_duration(seconds)}: {doing}"

    def _finish(self, error: DownloadError | None, outcome: Outcome | None = None) -> None:
        self._reporting.finish(
            error,
            digest=outcome.digest if outcome else "",
            stuck_volume=self._stuck_volume(),
            # A run that has not begun does not know whether another pod reports: what an earlier one has said must go.
            leads=self._engine is None,
            findings=partial(self._findings, outcome),
        )

    def _findings(self, outcome: Outcome | None) -> Findings:
        """Return what is known of a run with this outcome, or of one that has failed."""
        if outcome is None and self._engine is not None:
            outcome = self._engine.outcome and self._by_name(self._engine.outcome)
        met = self._requirements
        return Findings(outcome, self._signer, self._card, risks=met.risks if met is not None else None)

    def _name(self, error: DownloadError) -> None:
        """Let an error speak of files by the names that the artifact has for them."""
        if self._cache is not None:
            error.message = self._cache.named(error.message)

    def _by_name(self, outcome: Outcome) -> Outcome:
        return outcome if self._cache is None else _hub_cache().outcome_by_name(self._cache, outcome)


def _hub_cache() -> ModuleType:
    from downloader.runs import hub_cache  # noqa: PLC0415 - paid for only where a cache is filled

    return hub_cache
