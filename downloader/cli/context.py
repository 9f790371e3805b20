"""What all commands share: settings, streams, redaction and the runs that they start."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TextIO

from downloader.cli.process import cancelled_by_signals
from downloader.cli.status import status_reporter
from downloader.config import Settings
from downloader.deadlines import RUN_GRACE
from downloader.errors import OutputError
from downloader.runs.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from downloader.errors import DownloadError
    from downloader.log import Log
    from downloader.redaction import Redactor
    from downloader.reporters import Reporter
    from downloader.reporters.console import Console
    from downloader.sources.registry import ArtifactUri

log = logging.getLogger(__name__)


@dataclass
class CommandContext:
    """What all commands share: the environment, the streams and the options of the group."""

    environ: Mapping[str, str]
    stdout: TextIO
    stderr: TextIO
    redactor: Redactor
    logs: Log
    quiet: bool = False
    for_operator: bool = False
    """The operator has started the command."""
    drawing: bool = False
    """A progress line may be drawn on stderr: it is a terminal that can move its cursor."""
    text_log: bool = True
    """The log on stderr is for people, and may hold lines that are no records."""
    last_line: Callable[[DownloadError], str] = str
    """Returns the last line of the log for an error."""
    uri: str | None = None
    """The artifact of the run, without secrets, as soon as its URI has been understood."""
    ending_reported: bool = False
    """A run has reported how it ended, in the status and in the termination message."""
    level_chosen: bool = False
    """The user has said which records of the log to show."""
    runners: list[Runner] = field(default_factory=list)

    @property
    def thread_hangs(self) -> bool:
        """A thread of a run hangs: leave the process without waiting for it."""
        return any(runner.thread_hangs for runner in self.runners)

    def runner(self, deadline: float | None = None, *, grace: float = RUN_GRACE) -> Runner:
        """Return the runner of a run that lasts at most `deadline` seconds, and that SIGTERM and SIGINT cancel."""
        signals = partial(cancelled_by_signals, last_line=self.last_line)
        runner = Runner(deadline, grace=grace, interruptible=signals)
        self.runners.append(runner)
        return runner

    def settings(self, uri: ArtifactUri | None = None) -> Settings:
        """Return the settings of a run with this URI, or of one without a source.

        Logs warnings, and teaches the redactor all secrets. Raises ConfigurationError.
        """
        self.uri = uri.shown if uri is not None else None
        settings = Settings.from_environment(
            self.environ, section=uri.scheme.section if uri else None, for_operator=self.for_operator
        )
        self.redactor.add(*settings.secrets())
        for warning in (*settings.warnings, *settings.hub.warnings):
            log.warning("%s", warning)
        return settings

    def write(self, text: str) -> None:
        """Write a part of the command's result to standard output. Raises OutputError."""
        try:
            self.stdout.write(text)
            self.stdout.flush()
        except (OSError, ValueError) as error:
            raise output_error(error) from error

    def console(self, settings: Settings) -> Console:
        """Return the reporter that shows a run on stderr."""
        from downloader.reporters.console import Console

        return Console(self.stderr, interval=settings.job.progress_interval, quiet=self.quiet, drawing=self.drawing)

    def reporters(self, settings: Settings) -> list[Reporter]:
        """Return the reporters for a run with these settings: the AIMArtifact, if there is one, and the console."""
        status = status_reporter(settings.cluster, self.redactor, settings.job.progress_interval)
        return [*([status] if status is not None else []), self.console(settings)]


def output_error(error: OSError | ValueError) -> OutputError:
    """Return our error for an error of writing to standard output."""
    why = (error.strerror if isinstance(error, OSError) else "") or str(error)
    return OutputError(f"the result cannot be written to standard output: {why}", hint="look where it is sent to")
