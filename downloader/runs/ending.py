"""How a download ends: an `Ending` for the caller, a report for programs, the last snapshot for reporters."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from downloader.progress import Phase
from downloader.redaction import Redactor
from downloader.reporters.fanout import FanOut
from downloader.reporters.run_report import RunReport
from downloader.runs.signing import misplaced
from downloader.runs.summaries import files_of, write_summaries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from downloader.artifact import ModelCard
    from downloader.config import Settings
    from downloader.engine import Outcome
    from downloader.errors import DownloadError
    from downloader.formats import Risk
    from downloader.progress import Snapshot
    from downloader.reporters import Reporter
    from downloader.runs.runner import Runner


@dataclass(frozen=True, slots=True)
class Ending:
    """How a download ended."""

    uri: str
    """The URI of the artifact, without a login."""
    target: Path
    snapshot: Snapshot
    """The final one: its phase is DONE or FAILED."""
    message: str
    """What the run was doing last."""
    seconds: float
    """Duration of the run."""
    error: DownloadError | None = None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run has found out of its artifact, as far as it came."""

    outcome: Outcome | None
    signer: str = ""
    """Who has signed it, in words; empty if no signature was verified."""
    card: ModelCard | None = None
    """What its owners say of it; None if they were not asked."""
    risks: tuple[Risk, ...] | None = None
    """What was said against its formats; None if they were not judged."""


class Reporting:
    """Reports the progress of one run, and once how it has ended. Make it when the run begins."""

    def __init__(
        self,
        uri: str,
        settings: Settings,
        runner: Runner,
        reporters: Iterable[Reporter],
        *,
        ended: Callable[[Ending], None],
        on_report: Callable[[RunReport], None] | None,
    ) -> None:
        """Prepare. `uri` is without a login.

        The report and the metrics that the settings ask for are written first, then the reporters are closed; then
        `ended` is called, and `on_report` last.
        """
        self._uri = uri
        self._settings = settings
        self._runner = runner
        self._reporters = FanOut(reporters)
        self._ended = ended
        self._on_report = on_report
        self._started = time.monotonic()
        self._started_at = time.time()

    def report(self, snapshot: Snapshot) -> None:
        """Pass a snapshot on to the reporters."""
        self._reporters.report(snapshot)

    def finish(
        self,
        error: DownloadError | None,
        *,
        digest: str,
        stuck_volume: str,
        leads: bool,
        facts: Callable[[], RunFacts],
    ) -> None:
        """End the reports of a run that has failed with `error`, or published an artifact with this digest.

        `leads`: no other pod can be reporting. `facts` is called only if there is a report.
        """
        last = self._runner.meter.snapshot(stuck_volume)
        phase, message = (Phase.FAILED, str(error)) if error else (Phase.DONE, last.message)
        final = replace(last, phase=phase, message=message, digest=digest, leads=leads or last.leads)
        seconds = time.monotonic() - self._started
        ending = Ending(self._uri, self._settings.job.target, final, last.message, seconds, error)
        report = self._summarized(ending, facts)
        self._reporters.close(final)
        self._ended(ending)
        if report is not None and self._on_report is not None:
            self._on_report(report)

    def _summarized(self, ending: Ending, facts: Callable[[], RunFacts]) -> RunReport | None:
        """Write what the settings ask for, and return the report; None if neither they nor the caller want one."""
        settings = self._settings
        wanted = settings.reporting
        if misplaced(settings) is not None:
            wanted = replace(wanted, report=None, bom=None, metrics_file=None)
        if not wanted.wanted and self._on_report is None:
            return None
        report = self._report(ending, facts())
        left = partial(self._runner.left, share=0.5)
        write_summaries(report, wanted, Redactor(*settings.secrets()), left=left, bundles=settings.web.bundles)
        return report

    def _report(self, ending: Ending, found: RunFacts) -> RunReport:
        outcome = found.outcome
        return RunReport(
            started=self._started_at,
            seconds=ending.seconds,
            uri=ending.uri,
            revision=outcome.manifest.revision if outcome else None,
            digest=ending.snapshot.digest or None,
            signer=found.signer or None,
            card=found.card,
            risks=found.risks,
            target=ending.target,
            error=ending.error,
            snapshot=ending.snapshot,
            files=lambda: files_of(outcome),
        )
