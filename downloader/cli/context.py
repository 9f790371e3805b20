"""What all commands share: settings, streams, redaction and the runs that they start."""

from __future__ import annotations

import errno
import logging
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, TextIO

from downloader.cli.process import cancelled_by_signals, erased_while_stopped
from downloader.cli.status import status_reporter
from downloader.config import Settings
from downloader.config.display import NONE
from downloader.deadlines import RUN_GRACE
from downloader.errors import OutputError
from downloader.runs.runner import Runner
from downloader.terminal import ERASE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from downloader.errors import DownloadError
    from downloader.log import Log
    from downloader.redaction import Redactor
    from downloader.reporters import Reporter
    from downloader.reporters.console import Console
    from downloader.sources.registry import ArtifactUri
    from downloader.terminal import Terminal

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
    terminal: Terminal | None = None
    """Where progress can be drawn: stderr, if it is a terminal and has a text log."""
    progress: str | None = None
    """How progress is shown, if the command line says so."""
    text_log: bool = True
    """The log on stderr is for people, and may hold lines that are not records."""
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
        """Return the runner of a run that lasts at most `deadline` seconds, and that signals cancel."""
        signals = partial(cancelled_by_signals, last_line=self.last_line, erase=ERASE if self.terminal else "")
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
        for warning in settings.warnings:
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
        from downloader.reporters.console import Console, Display

        wanted = replace(settings.display, progress=self.progress or settings.display.progress)
        display = None
        if self.terminal is not None and wanted.draws and not self.quiet:
            erased_while_stopped(self.terminal)
            display = Display(self.terminal, self.redactor.redact, colour=not wanted.no_color)
        interval = None if wanted.progress == NONE else settings.job.progress_interval
        return Console(interval=interval, quiet=self.quiet, display=display)

    def reporters(self, settings: Settings) -> list[Reporter]:
        """Return the reporters for the runner that was made last: the AIMArtifact, if there is one, and the console."""
        status = status_reporter(
            settings.cluster,
            self.redactor,
            settings.job.progress_interval,
            left=self.runners[-1].left,
        )
        return [*([status] if status is not None else []), self.console(settings)]


def is_closed(error: BaseException | None) -> bool:
    """Return whether a result cannot be written because the caller has closed standard output."""
    return isinstance(error, OSError) and error.errno == errno.EBADF


def output_error(error: OSError | ValueError) -> OutputError:
    """Return our error for an error of writing to standard output."""
    why = (error.strerror if isinstance(error, OSError) else "") or str(error)
    if is_closed(error):
        why = "it is closed"
    return OutputError(f"the result cannot be written to standard output: {why}", hint="look where it is sent to")
