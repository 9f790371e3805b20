"""The main job: one artifact onto one volume, shown to whoever watches."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from downloader.artifact import Phase
from downloader.cgroups import memory_limit
from downloader.cli.runner import Runner
from downloader.cli.simulation import simulation_of, slow_looks_of
from downloader.cli.wiring import (
    make_shape,
    make_simulated_verification,
    make_source,
    make_volume,
    make_web,
    selection_of,
    sequence_for,
)
from downloader.engine import Engine, Outcome, Plan
from downloader.errors import DownloadError, UnexpectedContent
from downloader.filters import FileFilter
from downloader.formatting import format_duration, single_line
from downloader.integrity import ContentCheck, proofs_text
from downloader.progress import StallWatchdog, Ticker
from downloader.reporters.fanout import FanOut
from downloader.reporters.termination import TerminationMessage, sentence
from downloader.sources import Recalling
from downloader.sources.bandwidth import Bandwidth
from downloader.sources.retry import RetryPolicy
from downloader.sources.retrying import RetryingSource
from downloader.transfer import TransportFactory, XetSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from downloader.artifact import TransferProtocol
    from downloader.cancellation import Cancellation
    from downloader.config import Settings
    from downloader.engine import Finalizer
    from downloader.redaction import Redactor
    from downloader.reporters import Reporter
    from downloader.sources import Source
    from downloader.sources.registry import ArtifactUri
    from downloader.transfer import Transport
    from downloader.volume import Volume

log = logging.getLogger(__name__)


class Download:
    """One run of the `download` command."""

    def __init__(
        self,
        uri: ArtifactUri,
        settings: Settings,
        environ: Mapping[str, str],
        reporters: list[Reporter],
        redactor: Redactor,
        *,
        finalizer: Finalizer | None = None,
        for_operator: bool = True,
    ) -> None:
        """Prepare a run; `finalizer` works on its verified files before they are published.

        With `for_operator` the completion mark is where the operator wants it, provided that a run has one.
        """
        self._finalizer = finalizer
        self._for_operator = for_operator and bool(settings.cluster.artifact_name)
        self._uri = uri
        self._settings = settings
        self._environ = environ
        self._session = Runner(settings.job.deadline)
        self._reporters = FanOut(reporters)
        self._termination = TerminationMessage(redactor, settings.job.termination_log)
        self._volume: Volume | None = None
        self._slow_looks = slow_looks_of(settings)
        self._started = time.monotonic()

    @property
    def abandoned(self) -> bool:
        """A thread still hangs: leave the process without waiting for it."""
        return self._session.abandoned

    def run(self) -> Outcome:
        """Download. Raises one of our errors, after everybody who watches has been told."""
        meter = self._session.meter
        watchdog = StallWatchdog(meter, self._settings.deadlines.stall)
        ticker = Ticker(meter, [watchdog.look, self._reporters.report], stuck_volume=self._stuck_volume)
        ticker.start()
        try:
            outcome = self._session.run(lambda: self._bring(watchdog))
        except DownloadError as error:
            ticker.stop()
            self._finish(error)
            raise
        ticker.stop()
        self._tell(outcome)
        self._finish(None)
        return outcome

    def _bring(self, watchdog: StallWatchdog) -> Outcome:
        """Do the work, in the engine's thread."""
        settings, session = self._settings, self._session
        job = settings.job
        if job.expected_size:
            session.meter.expect(job.expected_size, 0)
        simulation = simulation_of(self._uri, settings, session.meter)
        if simulation is not None:
            plan = self._plan(FileFilter(), simulation.sequence)
            return self._run_engine(simulation.source, simulation.make, plan, watchdog, simulated=True)
        web = make_web(self._uri, settings, session.meter)
        source = make_source(self._uri, settings, web)
        bandwidth = Bandwidth(job.bandwidth, session.meter) if job.bandwidth else None
        trusted = self._uri.scheme.trust(settings).bundles
        memory = memory_limit()
        tuning = XetSettings(memory, settings.deadlines, self._environ, settings.hub.home, trusted)
        shape = make_shape(self._uri, settings, memory)
        transport_factory = TransportFactory(
            source, session.meter, shape, settings.deadlines, tuning, web.interrupt, session.pause, bandwidth
        )
        plan = self._plan(selection_of(settings), sequence_for(self._uri, settings))
        try:
            with session.cancellation.waking(web.abort):
                return self._run_engine(source, transport_factory.make, plan, watchdog)
        finally:
            source.close()
            web.close()

    def _plan(self, selection: FileFilter, sequence: tuple[TransferProtocol, ...]) -> Plan:
        settings = self._settings
        return Plan(
            selection,
            sequence,
            settings.deadlines.last_retry,
            require_digest=settings.job.require_digest,
            content=ContentCheck(settings.job.accept_any, self._uri.scheme.lists),
            replace=settings.job.replace,
            make_room=settings.job.replace or bool(settings.cluster.artifact_name),
            keep_corrupt=settings.job.keep_metadata_on_failure,
        )

    def _run_engine(
        self,
        source: Source,
        transports: Callable[[TransferProtocol, Cancellation], Transport],
        plan: Plan,
        watchdog: StallWatchdog,
        *,
        simulated: bool = False,
    ) -> Outcome:
        settings, session = self._settings, self._session
        patience = RetryPolicy(settings.deadlines.retry_budget, session.meter, session.cancellation, session.pause)
        self._volume = volume = make_volume(self._uri, settings, for_operator=self._for_operator, simulated=simulated)
        finalizer = make_simulated_verification(settings, session.cancellation) if simulated else self._finalizer
        try:
            if settings.hub.offline:
                self._recall(source, volume)
            engine = Engine(
                RetryingSource(source, patience),
                volume,
                transports,
                plan,
                meter=session.meter,
                watchdog=watchdog,
                cancellation=session.cancellation,
                lease=lambda: volume.lease(self._uri.shown, waiting=self._wait_for, sleep=session.cancellation.sleep),
                finalizer=finalizer,
            )
            return engine.run()
        finally:
            volume.close()

    def _recall(self, source: Source, volume: Volume) -> None:
        """Tell the source what a finished volume holds of it: nobody else may be asked."""
        completed = volume.completed()
        if completed is None or not isinstance(source, Recalling):
            return
        manifest = completed.manifest
        if manifest.revision and manifest.uri == single_line(self._uri.shown):
            source.recall(manifest.revision)

    def _wait_for(self, holder: str, _unseen: float) -> None:
        self._session.meter.enter(Phase.WAITING, f"waiting for {holder} to finish with the volume")

    def _stuck_volume(self) -> str:
        waiting = [
            self._volume.oldest_operation() if self._volume is not None else None,
            self._slow_looks.oldest() if self._slow_looks is not None else None,
        ]
        doing, seconds = max(filter(None, waiting), key=lambda operation: operation[1], default=("", 0.0))
        if seconds < self._settings.job.volume_timeout:
            return ""
        return f"the volume has not answered for {format_duration(seconds)}: {doing}"

    def _tell(self, outcome: Outcome) -> None:
        """Say by what the files were proved to be right, and of which that cannot be said."""
        skipped = outcome.manifest.skipped
        also = f"; {skipped} unsafe {'name' if skipped == 1 else 'names'} passed over" if skipped else ""
        log.info("%s: %s%s", self._uri.shown, proofs_text(outcome.proofs), also)

    def _advise(self, error: DownloadError, before: str, *, listed: bool) -> None:
        """Say what else is to be known of a failure: of a log people are often shown no more than its last lines."""
        advice = "the next run fetches only what is missing" if listed else "the next run lists the source again"
        if isinstance(error, UnexpectedContent):
            advice = "another run finds the same until the source has changed"
        if error.lasting:
            advice = "another run fails the same way until that is changed"
        earlier = f"; before that, {before}" if before else ""
        log.info(
            "%s to %s: exit status %d, %s%s",
            self._uri.shown, self._settings.job.target, error.exit_status, advice, earlier,
        )  # fmt: skip

    def _finish(self, error: DownloadError | None) -> None:
        """Tell the reporters and Kubernetes how it ended."""
        last = self._session.meter.snapshot(self._stuck_volume())
        status = error.exit_status if error else 0
        final = replace(
            last, phase=Phase.FAILED if error else Phase.DONE, message=str(error) if error else last.message
        )
        self._reporters.close(final)
        if error is not None:
            self._advise(error, last.message, listed=last.total_files > 0)
        seconds = time.monotonic() - self._started
        reason = str(error) if error else ""
        self._termination.write(sentence(self._uri.shown, final, seconds=seconds, exit_status=status, reason=reason))
