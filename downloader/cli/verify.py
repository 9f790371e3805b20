"""Checking a finished volume, offline."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from downloader.artifact import Phase
from downloader.cli.runner import Runner
from downloader.cli.wiring import selection_of
from downloader.errors import IntegrityError
from downloader.formatting import single_line
from downloader.integrity import ContentCheck, proofs_text
from downloader.progress import Ticker
from downloader.volume import Volume

if TYPE_CHECKING:
    from downloader.cli.context import CommandContext
    from downloader.config import Settings
    from downloader.volume import Verification

log = logging.getLogger(__name__)


def list_checksums(settings: Settings, invocation: CommandContext) -> None:
    """Write the list of checksums to stdout. Raises IntegrityError if there is none, OutputError if nobody reads it."""
    session = Runner(settings.job.deadline)

    def work() -> bytes:
        with Volume(settings.job.target, create=False) as volume:
            return volume.checksums()

    invocation.write(session.run(work).decode())


def verify_target(settings: Settings, invocation: CommandContext) -> None:
    """Hash what the target's `.artifact.sha256` lists; write a line to stdout for each file that is damaged.

    Raises IntegrityError if there is one, or no list, and OutputError if nobody can be told.
    """
    session = Runner(settings.job.deadline)
    meter, target = session.meter, settings.job.target

    def progress(count: int) -> None:
        session.cancellation.check()
        meter.landed(count)

    def work() -> Verification:
        with Volume(target, create=False) as volume:
            content = ContentCheck(settings.job.accept_any, listed=True)
            return volume.verify(
                expect=meter.expect, progress=progress, selected=selection_of(settings).wants, content=content
            )

    console = invocation.console(settings)
    meter.enter(Phase.HASHING)
    ticker = Ticker(meter, [console.report])
    ticker.start()
    try:
        found = session.run(work)
    finally:
        ticker.stop()
        console.clear()
        invocation.abandoned = session.abandoned
    lines = [f"damaged {damage}" for damage in found.damaged] + [f"unlisted {path}" for path in found.unlisted]
    invocation.write("".join(single_line(line) + "\n" for line in lines))
    if found.damaged:
        hint = "run the download again: it fetches only these"
        if any(damage.believed for damage in found.damaged):
            hint = "remove these as somebody who may write there, then run the download again: it fetches only these"
        raise IntegrityError(
            f"{len(found.damaged)} of {found.checked + len(found.damaged)} files in {target} are damaged", hint=hint
        )
    where, revision = (found.checked, target), f" at {found.revision}" if found.revision else ""
    if not found.source:
        log.info("all %d files in %s match a list that was not written here: their source is unknown", *where)
        return
    log.info("all %d files in %s match their checksums (source %s%s)", *where, found.source, revision)
    log.info("when they were downloaded: %s", proofs_text(found.proofs))
    for path, proof in found.proofs.items():
        log.debug("%s: %s", path, proof)
