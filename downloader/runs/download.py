"""Downloads one artifact to one volume, and reports the progress."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from downloader.engine import Engine, Outcome, Previewer, only_routes
from downloader.errors import DownloadError
from downloader.events import RunStarted, Verified
from downloader.filters import FileFilter
from downloader.integrity import proofs_text
from downloader.progress import Phase, StallWatchdog
from downloader.runs.elsewhere import listed_elsewhere
from downloader.runs.ending import Reporting, RunFacts
from downloader.runs.expectation import read_expectation
from downloader.runs.places import Places, Shared
from downloader.runs.provenance import model_card, require_bom
from downloader.runs.requirements import Requirements
from downloader.runs.shared_work import SharedWork
from downloader.runs.signing import require_apart, require_real, trusted_signer, verifying
from downloader.runs.target import TargetFolder
from downloader.runs.wiring import (
    make_bandwidth,
    make_client,
    make_engine,
    make_plan,
    make_processes,
    make_retrying,
    make_simulated_verification,
    make_source,
    sequence_for,
)
from downloader.simulation import simulation_of
from downloader.sources import Local, ability
from downloader.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from downloader.artifact import ModelCard
    from downloader.config import Settings
    from downloader.config.sharing import Shard
    from downloader.engine import Finalizer, Plan, Preview, Route
    from downloader.hub_cache import CachedRepository
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
        for_operator = for_operator and bool(settings.cluster.artifact_name)
        self._folder = TargetFolder(uri, settings, finalizer, for_operator=for_operator)
        if cache is not None:
            from downloader.runs.hub_cache import CachedFolder  # noqa: PLC0415 - paid for only where a cache is filled

            self._folder = CachedFolder(uri, settings, cache)
        self._reporting = Reporting(uri.shown, settings, runner, reporters, ended=ended, on_report=on_report)
        self._watchdog = StallWatchdog(runner.meter, settings.deadlines.stall)
        self._engine: Engine | None = None
        self._signer = ""
        self._card: ModelCard | None = None
        self._requirements: Requirements | None = None
        self._verifying: VerifyingProcess | None = None
        bandwidth = make_bandwidth(settings, runner.meter)
        processes = make_processes(uri, settings)
        shared = Shared(settings, runner, environment, bandwidth, processes, self._folder.locate)
        self._places = Places(uri, shared)
        self._shared_work = SharedWork(
            uri,
            settings,
            runner,
            environment,
            processes=processes,
            bandwidth=bandwidth,
            cached=self._folder.is_cached,
            converts=self._folder.converts,
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
            outcome = self._runner.run(work or self.transfer, observers=observers, stuck_volume=self._folder.stuck)
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
        return self._runner.run(work, observers=[self._watchdog.check, observer], stuck_volume=self._folder.stuck)

    def _connected(self, work: Callable[[Source, Sequence[Route], Plan, bool], T]) -> T:
        """Return what `work` does with the source, the routes and the plan, and whether these are simulated."""
        uri, settings, runner = self._uri, self._settings, self._runner
        trusted_signer(settings)  # an unusable signer is reported before anything else
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
        source, plan = self._folder.wrap(make_source(uri, settings, client), make_plan(uri, settings, expectation))
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

    def _run_engine(self, source: Source, routes: Sequence[Route], plan: Plan, simulated: bool) -> Outcome:  # noqa: FBT001
        settings, runner, folder = self._settings, self._runner, self._folder
        retrying = make_retrying(source, settings, runner)
        folder.prepare(retrying)
        volume = folder.open(simulated=simulated)
        try:
            self._requirements = requirements = Requirements(
                self._uri, settings, runner, self._watchdog, verifier=self._verifying, source=retrying, folder=folder
            )
            finalizer = requirements.finalizer()
            if simulated:
                finalizer = make_simulated_verification(settings, runner.cancellation)
            if settings.hub.offline:
                folder.recall(source, volume)
            sharing = None if simulated else self._shared_work.of_run(judged_early=requirements.early is not None)
            if sharing is None:  # what other processes bring may be a mirror's
                plan = replace(plan, early=requirements.early)
            self._engine = self._make_engine(retrying, routes, plan, volume, finalizer=finalizer, sharing=sharing)
            outcome = folder.outcome(self._engine.run())
            self._signer, self._card = requirements.signer, model_card(source, settings)
        except DownloadError as error:
            folder.name(error)
            raise
        else:
            self._shared_work.end(done=True)
            return outcome
        finally:
            self._shared_work.end(done=False)
            volume.tidy()  # also where it fails: another run may have left the folder to this one
            volume.close()

    def help(self, shard: Shard, observer: Callable[[Snapshot], None]) -> None:
        """Work as a further process of another run, in place of `run`, until that run has published."""
        work = partial(self._connected, partial(self._help, shard))
        self._runner.run(work, observers=[self._watchdog.check, observer], stuck_volume=self._folder.stuck)

    def divide(self, left: int) -> None:
        """Divide what the processes of one run share among those that are left."""
        self._shared_work.divide(left)

    def _help(self, shard: Shard, source: Source, routes: Sequence[Route], plan: Plan, _simulated: bool) -> None:  # noqa: FBT001
        from downloader.engine.shared import SharedEngine  # noqa: PLC0415 -- most runs work alone

        volume = self._folder.open(simulated=False)
        try:
            retrying = make_retrying(source, self._settings, self._runner)
            sharing = self._shared_work.as_helper(shard)
            engine = self._make_engine(retrying, routes, plan, volume, finalizer=None, sharing=sharing)
            if isinstance(engine, SharedEngine):
                engine.help_only()
        except DownloadError as error:
            self._folder.name(error)
            raise
        finally:
            volume.close()

    def _preview(self, source: Source, routes: Sequence[Route], plan: Plan, _simulated: bool) -> Preview:  # noqa: FBT001
        settings, sleep = self._settings, self._runner.cancellation.sleep
        volume, disk = self._folder.look()
        try:
            if settings.hub.offline:
                self._folder.recall(source, volume)
            previewer = Previewer(volume, disk, plan, routes, sleep)
            retrying = make_retrying(source, settings, self._runner)
            engine = self._make_engine(retrying, routes, plan, volume, finalizer=self._folder.step)
            return self._folder.preview(engine.preview(previewer))
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
        run, watchdog = self._runner.cancellation, self._watchdog
        return make_engine(
            listed_elsewhere(source, self._uri, self._places, volume=volume, plan=plan, run=run, watchdog=watchdog),
            volume,
            routes,
            plan,
            uri=self._uri.shown,
            runner=self._runner,
            watchdog=watchdog,
            finalizer=finalizer,
            waiting=self.show_waiting,
            sharing=sharing,
        )

    def _finish(self, error: DownloadError | None, outcome: Outcome | None = None) -> None:
        self._reporting.finish(
            error,
            digest=outcome.digest if outcome else "",
            stuck_volume=self._folder.stuck(),
            # A run that has not begun does not know whether another pod reports: what an earlier one has said must go.
            leads=self._engine is None,
            facts=partial(self._facts, outcome),
        )

    def _facts(self, outcome: Outcome | None) -> RunFacts:
        """Return what is known of a run with this outcome, or of one that has failed."""
        if outcome is None and self._engine is not None:
            outcome = self._engine.outcome and self._folder.outcome(self._engine.outcome)
        met = self._requirements
        return RunFacts(outcome, self._signer, self._card, risks=met.risks if met is not None else None)
