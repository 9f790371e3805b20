"""Checks a finished volume, without network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.integrity import ContentCheck
from downloader.progress import Phase
from downloader.runs.wiring import make_filter
from downloader.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.config import Settings
    from downloader.progress import Snapshot
    from downloader.runs.runner import Runner
    from downloader.volume import Verification


def read_checksums(settings: Settings, runner: Runner) -> bytes:
    """Return the checksums of the artifact in the target, as `sha256sum -c` reads them.

    Raises IntegrityError if the target has none.
    """

    def reading() -> bytes:
        with Volume(settings.job.target, create=False) as volume:
            return volume.checksums()

    return runner.run(reading)


def verify_volume(settings: Settings, runner: Runner, observer: Callable[[Snapshot], None]) -> Verification:
    """Hash the files that the target's checksums list, and return what differs from them.

    Raises IntegrityError if the target has no checksums.
    """
    meter = runner.meter

    def progress(count: int) -> None:
        runner.cancellation.check()
        meter.add_written(count)

    def verifying() -> Verification:
        with Volume(settings.job.target, create=False) as volume:
            content = ContentCheck(settings.job.accept_any, listed=True)
            choose = make_filter(settings).choose
            return volume.verify(expect=meter.expect, progress=progress, choose=choose, content=content)

    meter.enter(Phase.HASHING)
    return runner.run(verifying, observers=[observer])
