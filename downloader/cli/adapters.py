"""The adapter doors that only tidy up: settings become an adapter disk and one of two duties."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from downloader.adapters import AdapterDisk, Reaper, sync_service
from downloader.cli.runner import Runner
from downloader.config.adapters import AdapterReapSettings, AdapterSyncSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.cli.context import CommandContext

log = logging.getLogger(__name__)


def reap_adapters(invocation: CommandContext) -> None:
    """Remove what no service needs any more."""
    door = AdapterReapSettings.from_environment(invocation.environ)
    session = Runner()

    def work() -> None:
        with AdapterDisk(door.root) as disk:
            Reaper(disk, door.keep, door.min_age, wall_clock=time.time, sleep=session.cancellation.sleep).run()
            log.info("reaped %s, keeping %d services", door.root, len(door.keep))

    _run(session, work, invocation)


def sync_adapters(invocation: CommandContext) -> None:
    """Take the adapters away that a service no longer declares."""
    door = AdapterSyncSettings.from_environment(invocation.environ)
    session = Runner()

    def work() -> None:
        with AdapterDisk(door.root) as disk:
            sync_service(disk, door.service, door.keep, sleep=session.cancellation.sleep)
            log.info("synced %s/%s, keeping %d adapters", door.root, door.service, len(door.keep))

    _run(session, work, invocation)


def _run(session: Runner, work: Callable[[], None], invocation: CommandContext) -> None:
    try:
        session.run(work)
    finally:
        invocation.abandoned = session.abandoned
