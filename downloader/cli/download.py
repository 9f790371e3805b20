"""The command `download`: a run that is shown on the console and in Kubernetes, up to its termination message."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from downloader.api import download
from downloader.config.sharing import AUTOMATIC
from downloader.errors import UnexpectedArtifact, UnexpectedContent, explained
from downloader.reporters.termination import TerminationMessage, sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.cli.context import CommandContext
    from downloader.config import Settings
    from downloader.errors import DownloadError
    from downloader.runs.ending import Ending
    from downloader.sources.registry import ArtifactUri

log = logging.getLogger(__name__)


def download_artifact(uri: ArtifactUri, settings: Settings, context: CommandContext) -> None:
    """Download an artifact. Raises one of our errors, after reporting it to Kubernetes and in the log.

    The number of processes follows from the machine unless one was given. A program that calls the API has one process
    as long as it does not ask for more: it may not expect others.
    """
    if settings.sharing.processes is None:
        settings = settings.overridden(processes=AUTOMATIC)
    download(
        uri,
        settings=settings,
        runner=context.runner(settings.job.deadline),
        reporters=context.reporters(settings),
        environ=context.environ,
        ended=ending_for(settings, context),
    )


def ending_for(settings: Settings, context: CommandContext) -> Callable[[Ending], None]:
    """Return what is done when a run has ended: advice in the log after a failure, and the termination message."""
    termination = TerminationMessage(context.redactor, settings.job.termination_log)

    def ended(ending: Ending) -> None:
        context.ending_reported = True
        error = ending.error
        if error is not None:
            _advise(ending, error)
        status, reason = (error.exit_status, str(error)) if error else (0, "")
        text = sentence(ending.uri, ending.snapshot, seconds=ending.seconds, exit_status=status, reason=reason)
        termination.write(text)

    return ended


def _advise(ending: Ending, error: DownloadError) -> None:
    """Log what the last line does not say of a failure: people are often shown no more than the end of a log."""
    listed = ending.snapshot.total_files > 0
    advice = "the next run fetches only what is missing" if listed else "the next run lists the source again"
    if isinstance(error, UnexpectedContent):
        advice = "another run finds the same until the source has changed"
    if isinstance(error, UnexpectedArtifact):
        advice = "another run finds the same until the source or what is expected has changed"
    if error.lasting:
        advice = "another run fails the same way until that is changed"
    earlier = f"; before that, {ending.message}" if ending.message else ""
    status = f"exit status {error.exit_status} ({explained(error.exit_status)})"
    log.info("%s to %s: %s, %s%s", ending.uri, ending.target, status, advice, earlier)
