"""What every command is given."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from downloader.cli.status import status_reporter
from downloader.config import Settings
from downloader.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.log import Log
    from downloader.redaction import Redactor
    from downloader.reporters import Reporter
    from downloader.reporters.console import Console
    from downloader.sources.registry import ArtifactUri

log = logging.getLogger(__name__)


@dataclass
class CommandContext:
    """What every command is given: the environment, where to write, and what the group's options said."""

    environ: Mapping[str, str]
    stdout: TextIO
    stderr: TextIO
    redactor: Redactor
    logs: Log
    quiet: bool = False
    for_operator: bool = False
    """The operator has started the command."""
    drawing: bool = False
    """What is shown on stderr may be drawn over: it is a terminal that can move its cursor."""
    abandoned: bool = False
    told: bool = False
    """A run has shown how it ended: in the status and in the termination message."""

    def settings(self, uri: ArtifactUri | None = None) -> Settings:
        """Read the environment for a run with this URI, or one that needs no source."""
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
        """Return what shows a run to whoever looks at it."""
        from downloader.reporters.console import Console

        return Console(self.stderr, interval=settings.job.progress_interval, quiet=self.quiet, drawing=self.drawing)

    def watchers(self, settings: Settings) -> list[Reporter]:
        """Return whoever is shown a run with these settings."""
        status = status_reporter(settings.cluster, self.redactor, settings.job.progress_interval)
        return [*([status] if status is not None else []), self.console(settings)]


def output_error(error: OSError | ValueError) -> OutputError:
    """Return our error for one that came while something was written to standard output."""
    why = (error.strerror if isinstance(error, OSError) else "") or str(error)
    return OutputError(f"the result cannot be written to standard output: {why}", hint="look where it is sent to")
