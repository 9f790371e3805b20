"""How a failed command ends: one last line, a termination message, and a status that no earlier pod's is left in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.cli.status import status_reporter
from downloader.config.env import read
from downloader.config.job import ClusterSettings, JobSettings
from downloader.operator_log import last_line, plain_line
from downloader.progress import Phase, Snapshot
from downloader.reporters.termination import TerminationMessage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from downloader.errors import DownloadError
    from downloader.redaction import Redactor

WITH_STATUS = ("download", "kserve")
"""The commands whose runs are shown in the status of an AIMArtifact."""
OPERATOR_COMMANDS = ("check-size", "adapter-stage", "adapter-reap", "adapter-sync")
"""The commands that only the operator gives; its Jobs for them name no AIMArtifact."""
COMMANDS = (*WITH_STATUS, *OPERATOR_COMMANDS, "size", "verify")


@dataclass(frozen=True)
class Audience:
    """Who is told of a failure: known from the first moment on, whatever else cannot be understood."""

    for_operator: bool
    """The operator looks for words in the log of a failed pod."""
    with_status: bool
    """The run is one that shows itself in the status, or would be if the command line could be understood."""

    @classmethod
    def of(cls, arguments: Iterable[str], environ: Mapping[str, str]) -> Audience:
        """Find out from what a process was started with."""
        command = next((argument for argument in arguments if argument in COMMANDS), "")
        named = bool(environ.get("ARTIFACT_NAME", "").strip())
        return cls(named or command in OPERATOR_COMMANDS, command in (*WITH_STATUS, ""))


def final_line(error: DownloadError, audience: Audience, redactor: Redactor) -> str:
    """Return the last line of the log."""
    return (last_line if audience.for_operator else plain_line)(error, redactor)


def report_early_end(error: DownloadError, audience: Audience, environ: Mapping[str, str], redactor: Redactor) -> None:
    """Tell Kubernetes that a run ended before it began, as where the environment is malformed.

    What an earlier pod left in the status would be read as this one's: 100 % and a failed pod are a failed
    verification to the operator. So all of it goes. Only what that needs is read here, each variable by itself.
    """
    job = read(JobSettings, environ, [])
    TerminationMessage(redactor, job.termination_log).write(f"failed (exit status {error.exit_status}): {error}")
    if not audience.with_status:
        return
    reporter = status_reporter(read(ClusterSettings, environ, []), redactor, job.progress_interval)
    if reporter is not None:
        reporter.close(Snapshot(phase=Phase.FAILED, message=str(error)))
