"""The adapter doors that only tidy up: settings become an adapter disk and one of two duties."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from downloader.adapters.disk import AdapterDisk
from downloader.adapters.reap import Reaper
from downloader.adapters.sync import sync
from downloader.cli.session import Session
from downloader.config.adapters import AdapterReapSettings, AdapterSyncSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.cli.context import Invocation

log = logging.getLogger(__name__)


def reap_adapters(invocation: Invocation) -> None:
    """Remove what no service needs any more."""
    door = AdapterReapSettings.from_environment(invocation.environ)
    session = Session()

    def work() -> None:
        with AdapterDisk(door.root) as disk:
            Reaper(disk, door.keep, door.min_age, wall_clock=time.time, sleep=session.cancellation.sleep).run()
            log.info("reaped %s, keeping %d services", door.root, len(door.keep))

    _run(session, work, invocation)


def sync_adapters(invocation: Invocation) -> None:
    """Take the adapters away that a service no longer declares."""
    door = AdapterSyncSettings.from_environment(invocation.environ)
    session = Session()

    def work() -> None:
        with AdapterDisk(door.root) as disk:
            sync(disk, door.service, door.keep, sleep=session.cancellation.sleep)
            log.info("synced %s/%s, keeping %d adapters", door.root, door.service, len(door.keep))

    _run(session, work, invocation)


def _run(session: Session, work: Callable[[], None], invocation: Invocation) -> None:
    try:
        session.run(work)
    finally:
        invocation.abandoned = session.abandoned
