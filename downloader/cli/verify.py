"""The commands `verify`, `checksums` and `digest`: what a finished volume holds, as lines and log records."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from downloader.api import digest, verify
from downloader.cli.context import is_closed
from downloader.errors import IntegrityError, OutputError
from downloader.formatting import format_count, single_line
from downloader.integrity import proofs_text
from downloader.runs.verify import read_checksums

if TYPE_CHECKING:
    from downloader.cli.context import CommandContext
    from downloader.config import Settings

log = logging.getLogger(__name__)


def print_checksums(settings: Settings, context: CommandContext) -> None:
    """Write the checksums of the target to stdout. Raises IntegrityError without any, OutputError."""
    context.write(read_checksums(settings, context.runner(settings.job.deadline)).decode())


def print_digest(settings: Settings, context: CommandContext, revision: str | None) -> None:
    """Write the artifact digest of the target to stdout. Raises IntegrityError without a mark, OutputError."""
    runner = context.runner(settings.job.deadline)
    context.write(digest(revision=revision, settings=settings, runner=runner) + "\n")


def verify_target(settings: Settings, context: CommandContext, revision: str | None) -> None:
    """Hash what the target's checksums list; write a line to stdout for each file that is damaged.

    Raises IntegrityError if there is one, or no checksums, and OutputError if the lines cannot be written; a caller
    that has closed standard output does not want them.
    """
    target = settings.job.target
    console = context.console(settings)
    try:
        runner = context.runner(settings.job.deadline)
        found = verify(revision=revision, settings=settings, runner=runner, on_progress=console.report)
    finally:
        console.clear()
    lines = [f"damaged {damage}" for damage in found.damaged] + [f"unlisted {path}" for path in found.unlisted]
    try:
        context.write("".join(single_line(line) + "\n" for line in lines))
    except OutputError as error:
        # Elsewhere a list that is cut off would be taken for the whole one.
        if not (found.damaged and is_closed(error.__cause__)):
            raise
    if found.damaged:
        hint = "run the download again: it fetches only these"
        if any(damage.believed for damage in found.damaged):
            hint = "remove these as a user who may write there, then run the download again: it fetches only these"
        raise IntegrityError(
            f"{len(found.damaged)} of {format_count(found.checked + len(found.damaged), 'file')} in {target} damaged",
            hint=hint,
        )
    where, revision = (format_count(found.checked, "file"), target), f" at {found.revision}" if found.revision else ""
    if not found.source:
        log.info("verified %s in %s by a foreign checksum file: their source is unknown", *where)
    else:
        log.info("verified %s in %s (source %s%s)", *where, found.source, revision)
        log.info("at the download: %s", proofs_text(found.proofs))
        for path, proof in found.proofs.items():
            log.debug("%s: %s", path, proof)
    if found.digest:
        log.info("digest %s", found.digest)
