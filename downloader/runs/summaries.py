"""What a run leaves for programs when it ends: a report, a file of metrics, metrics at a Pushgateway. Best effort."""

from __future__ import annotations

import logging
import threading
import time
from http.client import HTTPException
from typing import TYPE_CHECKING

from downloader.deadlines import SUMMARY_FILE, SUMMARY_LAST, SUMMARY_PUSH
from downloader.formatting import reason
from downloader.network import Trust
from downloader.redaction import Redactor
from downloader.reporters.run_report import FETCHED, MISSING, REUSED, FileReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from downloader.config import ReportingSettings
    from downloader.engine import Outcome
    from downloader.reporters.run_report import RunReport


log = logging.getLogger(__name__)


def files_of(outcome: Outcome | None) -> Iterator[FileReport]:
    """Yield what there is to say of each file of an outcome, also of a run that goes on in a thread that hangs."""
    if outcome is None:
        return
    # That thread may still add to the outcome: only the manifest, which never changes, is iterated.
    for file in outcome.manifest.files:
        sha256 = outcome.checksums.get(file.path)
        there = sha256 is not None
        state = MISSING if not there else FETCHED if file.path in outcome.fetched else REUSED
        size = file.size if file.sized or there else None
        proof = outcome.proofs.get(file.path) if there else None
        yield FileReport(file.path, size, sha256, proof, state, outcome.places.get(file.path))


def write_summaries(
    report: RunReport,
    settings: ReportingSettings,
    redactor: Redactor | None = None,
    *,
    left: Callable[[float], float] = float,
    bundles: Iterable[Path] = (),
) -> None:
    """Write what the settings ask for. What cannot be written is a warning: the result of the run stays as it is.

    Each has a thread of its own, which is left behind if it takes too long: a volume or a server may hang. `left`
    returns how many of the given seconds they may take; the CAs in `bundles` are trusted, too.
    """
    cancelled = report.error is not None and report.error.exit_status > 128  # noqa: PLR2004 - by a signal
    longest = left(SUMMARY_LAST if cancelled else SUMMARY_FILE)
    tasks = list(_tasks(report, settings, redactor or Redactor(), longest, bundles))
    began = time.monotonic()
    for task in tasks:
        task.start()
    for task in tasks:
        task.join(max(0.0, began + task.limit - time.monotonic()))
        if why := task.problem():
            log.warning("%s: %s", task.what, why)


def _tasks(
    report: RunReport, settings: ReportingSettings, redactor: Redactor, longest: float, bundles: Iterable[Path]
) -> Iterator[_Task]:
    """Yield a task for each setting, with what is logged if it fails; it may take `longest` seconds."""
    if (path := settings.report) is not None:

        def write() -> None:
            from downloader.reporters.report_file import write_report  # noqa: PLC0415 - only where it is used

            write_report(report, path, redactor)

        yield _Task(f"the report {path} was not written", write, longest)
    if (bom := settings.bom) is not None and report.error is None:

        def describe() -> None:
            from downloader.reporters.bom import write_bom  # noqa: PLC0415 - as above

            write_bom(report, bom, redactor)

        yield _Task(f"the bill of materials {bom} was not written", describe, longest)
    if (textfile := settings.metrics_file) is not None:

        def export() -> None:
            from downloader.reporters.metrics import write_metrics  # noqa: PLC0415 - as above

            write_metrics(report, textfile, redactor)

        yield _Task(f"the metrics {textfile} were not written", export, longest)
    if (gateway := settings.pushgateway) is not None:
        limit = min(longest, SUMMARY_PUSH)

        def push() -> None:
            from downloader.reporters.metrics import push_metrics  # noqa: PLC0415 - as above

            context = Trust(bundles).context if gateway.url.startswith("https:") else None
            push_metrics(report, gateway.url, gateway.authorization, redactor, timeout=limit, context=context)

        yield _Task(f"the metrics were not sent to {gateway}", push, limit)


class _Task(threading.Thread):
    """A thread that keeps the reason why it failed."""

    def __init__(self, what: str, do: Callable[[], None], limit: float) -> None:
        super().__init__(name="summary", daemon=True)
        self.what = what
        self.limit = limit
        self._do = do
        self._error: Exception | None = None

    def run(self) -> None:
        """Do it."""
        try:
            self._do()
        except (OSError, HTTPException) as error:
            self._error = error
        except Exception as error:  # a bug of ours may not fail a run that has succeeded
            log.debug("a bug", exc_info=True)
            self._error = error

    def problem(self) -> str:
        """Return why it has not been done, if so."""
        if self.is_alive():
            return f"it took longer than {self.limit:g} s"
        return reason(self._error) if self._error is not None else ""
