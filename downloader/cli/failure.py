"""Reports a failed command: the last line of the log, the termination message and the status of the AIMArtifact."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.cli.status import status_reporter
from downloader.config import ReportingSettings
from downloader.config.cluster import ClusterSettings
from downloader.config.env import documented, read
from downloader.config.job import LOG_FORMATS, JobSettings
from downloader.config.secret_values import secrets_of
from downloader.config.web import WebSettings
from downloader.errors import kind_of
from downloader.events import Failed
from downloader.log_format import JSON, OURS, TEXT, head
from downloader.operator_log import json_last_line, json_text, last_line, plain_line
from downloader.progress import Phase, Snapshot
from downloader.reporters.termination import TerminationMessage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from downloader.errors import DownloadError
    from downloader.redaction import Redactor

WITH_STATUS = ("download", "kserve")
"""The commands whose runs are shown in the status of an AIMArtifact."""
STAGE = "adapter-stage"
OPERATOR_COMMANDS = ("check-size", STAGE, "adapter-reap", "adapter-sync")
"""The commands that only the operator runs. Its Jobs for them do not name an AIMArtifact."""
OTHERS = ("size", "list", "ls", "doctor", "verify", "checksums", "digest", "completion")
COMMANDS = (*WITH_STATUS, *OPERATOR_COMMANDS, *OTHERS)


@dataclass(frozen=True)
class Audience:
    """Who reads the report of a failure; known from the start, even if the rest of the command line is invalid."""

    for_operator: bool
    """The operator classifies the log."""
    with_status: bool
    """The command patches the status; assumed if the command is unknown."""
    with_report: bool
    """The command leaves a report and metrics; assumed as well."""
    log_format: str = TEXT

    @classmethod
    def of(cls, arguments: Sequence[str], environ: Mapping[str, str]) -> Audience:
        """Return the audience of a process with these arguments and variables."""
        command = next((argument for argument in arguments if argument in COMMANDS), "")
        named = bool(environ.get("ARTIFACT_NAME", "").strip())
        form = option_value(arguments, "--log-format") or environ.get("AIM_LOG_FORMAT", "").strip().lower()
        form = form if form in LOG_FORMATS else TEXT  # the settings warn about an unknown one
        with_status = command in (*WITH_STATUS, "") and "--dry-run" not in arguments
        return cls(named or command in OPERATOR_COMMANDS, with_status, with_status or command == STAGE, form)


def option_value(arguments: Sequence[str], name: str) -> str:
    """Return the value of an option in a command line that may not be valid; empty without it."""
    found = ""
    for argument, following in zip(arguments, (*arguments[1:], ""), strict=False):
        if argument == "--":
            break
        option, equals, value = argument.partition("=")
        if option == name:
            found = value if equals else following
    return found


def final_line(error: DownloadError, audience: Audience, redactor: Redactor) -> str:
    """Return the last line of the log."""
    if audience.log_format == JSON:
        event = Failed(exit_status=error.exit_status, error=kind_of(error))
        facts = {**head(time.time(), "error", OURS), "event": event.name, **event.facts()}
        if audience.for_operator:
            return json_last_line(facts, error, redactor)
        return json_text({**facts, "message": plain_line(error, redactor)})
    return (last_line if audience.for_operator else plain_line)(error, redactor)


def report_early_end(
    error: DownloadError,
    audience: Audience,
    environ: Mapping[str, str],
    redactor: Redactor,
    *,
    arguments: Sequence[str] = (),
    uri: str | None = None,
) -> None:
    """Report to Kubernetes, and in report and metrics, that a run ended before it began, as by an invalid variable.

    The status of an earlier pod would be taken for this one's: with 100 % the operator assumes that the verification
    failed. So all of it is overwritten. Only the variables that this needs are read, and their problems are ignored.
    """
    job = read(JobSettings, environ, [])
    TerminationMessage(redactor, job.termination_log).write(f"failed (exit status {error.exit_status}): {error}")
    if audience.with_report:
        _write_early_summaries(error, arguments, environ, redactor, uri)
    if not audience.with_status:
        return
    reporter = status_reporter(read(ClusterSettings, environ, []), redactor, job.progress_interval)
    if reporter is not None:
        reporter.close(Snapshot(phase=Phase.FAILED, message=str(error)))


def _write_early_summaries(
    error: DownloadError, arguments: Sequence[str], environ: Mapping[str, str], redactor: Redactor, uri: str | None
) -> None:
    given = {
        facts.names[0]: option_value(arguments, facts.option.partition(" ")[0])
        for _, facts in documented(ReportingSettings)
    }
    reporting = read(ReportingSettings, {**environ, **{name: value for name, value in given.items() if value}}, [])
    if not reporting.wanted:
        return
    from downloader.reporters.run_report import RunReport
    from downloader.runs.summaries import write_summaries

    redactor.add(*secrets_of(reporting))
    report = RunReport(started=time.time(), seconds=0.0, uri=uri, error=error)
    write_summaries(report, reporting, redactor, bundles=read(WebSettings, environ, []).bundles)
