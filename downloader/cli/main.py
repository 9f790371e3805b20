"""From the arguments of a process to its exit status: runs one command, and reports an error in one last line."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TextIO

import click

from downloader.cli import advice
from downloader.cli.commands import cli
from downloader.cli.context import CommandContext, output_error
from downloader.cli.failure import Audience, final_line, report_early_end
from downloader.config.job import LOG_LEVELS
from downloader.errors import DownloadError, UsageError, explained, unexpected
from downloader.log import set_up
from downloader.log_format import TEXT
from downloader.redaction import Redactor
from downloader.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)


def main(arguments: list[str], environ: Mapping[str, str], stdout: TextIO, stderr: TextIO) -> tuple[int, bool]:
    """Run one command. Return its exit status, and whether a thread hangs, so that the process must not wait for it."""
    redactor = Redactor()
    audience = Audience.of(arguments, environ)
    terminal = Terminal(stderr) if stderr.isatty() and audience.log_format == TEXT else None
    # Never restored: what other threads still log must not follow the last line.
    level = environ.get("AIM_LOG_LEVEL", "").strip().lower()
    level = level if level in LOG_LEVELS else "info"  # the settings warn about an unknown one
    logs = set_up(terminal or stderr, redactor, level, audience.log_format, for_operator=audience.for_operator)
    context = CommandContext(
        environ,
        stdout,
        stderr,
        redactor,
        logs,
        for_operator=audience.for_operator,
        terminal=terminal,
        text_log=audience.log_format == TEXT,
        last_line=lambda error: final_line(error, audience, redactor),
    )
    try:
        _invoke(arguments, context)
    except DownloadError as error:
        return _fail(error, context, audience, arguments), context.thread_hangs
    except Exception as error:  # a bug is reported in one line, too
        log.debug("a bug", exc_info=True)
        return _fail(unexpected(error), context, audience, arguments), context.thread_hangs
    return 0, context.thread_hangs


def _fail(error: DownloadError, context: CommandContext, audience: Audience, arguments: list[str]) -> int:
    """Report a failure in the last line of the log, which always says what to do; return the exit status."""
    error.hint = error.hint or error.remedy
    if not context.ending_reported:
        report_early_end(error, audience, context.environ, context.redactor, arguments=arguments, uri=context.uri)
        log.info("exit status %d: %s says more", error.exit_status, explained(error.exit_status))
    context.logs.end(final_line(error, audience, context.redactor))
    return error.exit_status


def _invoke(arguments: list[str], context: CommandContext) -> None:
    try:
        cli.main(arguments, prog_name="artifact-downloader", standalone_mode=False, obj=context)
    except click.exceptions.Exit:
        return
    except OSError as error:
        if {"-h", "--help", "--version"}.isdisjoint(arguments):
            raise
        raise output_error(error) from error
    except click.exceptions.NoArgsIsHelpError as error:
        if context.text_log:
            context.stderr.write(error.format_message() + "\n")
        raise UsageError("a command is missing") from error
    except click.ClickException as error:
        message, hint = advice.usage(error, arguments)
        raise UsageError(message, hint=hint) from error
