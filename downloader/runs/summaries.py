"""What a run leaves for programs when it ends: a report, a file of metrics, metrics at a Pushgateway. Best effort."""

from __future__ import annotations

import logging
import threading
import time
from http.client import HTTPException
from typing import TYPE_CHECKING, Final

from downloader.formatting import reason
from downloader.redaction import Redactor
from downloader.reporters.run_report import FETCHED, MISSING, REUSED, FileReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from downloader.config import ReportingSettings
    from downloader.engine import Outcome
    from downloader.reporters.run_report import RunReport

LIMIT, LIMIT_AT_ONCE = 30.0, 3.0
"""Seconds that all of it may take; after a signal, which must end the process within ten."""
PUSH_LIMIT: Final = 5.0
"""Seconds that the Pushgateway may take to connect or to answer."""

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
        yield FileReport(file.path, size, sha256, outcome.proofs.get(file.path) if there else None, state)


def write_summaries(report: RunReport, settings: ReportingSettings, redactor: Redactor | None = None) -> None:
    """Write what the settings ask for. What cannot be written is a warning: the result of the run stays as it is.

    Each has a thread of its own, which is left behind if it takes too long: a volume or a server may hang.
    """
    cancelled = report.error is not None and report.error.exit_status > 128  # noqa: PLR2004 - by a signal
    limit = LIMIT_AT_ONCE if cancelled else LIMIT
    tasks = [_Task(what, do) for what, do in _tasks(report, settings, redactor or Redactor(), min(limit, PUSH_LIMIT))]
    deadline = time.monotonic() + limit
    for task in tasks:
        task.start()
    for task in tasks:
        task.join(max(0.0, deadline - time.monotonic()))
        if why := task.problem(limit):
            log.warning("%s: %s", task.what, why)


def _tasks(
    report: RunReport, settings: ReportingSettings, redactor: Redactor, push_limit: float
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield each task, and what is logged if it fails."""
    if (path := settings.report) is not None:

        def write() -> None:
            from downloader.reporters.report_file import write_report  # noqa: PLC0415 - only where it is used

            write_report(report, path, redactor)

        yield f"the report {path} was not written", write
    if (textfile := settings.metrics_file) is not None:

        def export() -> None:
            from downloader.reporters.metrics import write_metrics  # noqa: PLC0415 - as above

            write_metrics(report, textfile, redactor)

        yield f"the metrics {textfile} were not written", export
    if (gateway := settings.pushgateway) is not None:

        def push() -> None:
            from downloader.reporters.metrics import push_metrics  # noqa: PLC0415 - as above

            push_metrics(report, gateway.url, gateway.authorization, redactor, timeout=push_limit)

        yield f"the metrics were not sent to {gateway}", push


class _Task(threading.Thread):
    """A thread that keeps the reason why it failed."""

    def __init__(self, what: str, do: Callable[[], None]) -> None:
        super().__init__(name="summary", daemon=True)
        self.what = what
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

    def problem(self, limit: float) -> str:
        """Return why it has not been done, if so."""
        if self.is_alive():
            return f"it took longer than {limit:g} s"
        return reason(self._error) if self._error is not None else ""
