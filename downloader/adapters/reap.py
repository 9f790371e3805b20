"""Removes folders of services that no longer exist, and what killed Jobs have left."""

from __future__ import annotations

import logging
import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from downloader.adapters.paths import ASIDE, STAGING, UNLOADED
from downloader.adapters.trash import GONE, erase, remove_empty
from downloader.config.adapters import is_name
from downloader.deadlines import TRASH_GRACE
from downloader.errors import Cancelled, DownloadError
from downloader.filesystem import AlreadyThere, Kind, NotThere

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from downloader.filesystem import Disk

log = logging.getLogger(__name__)


class Reaper:
    """One pass over the adapter disk.

    What changed within the last `min_age` seconds is left alone, since the list of services may be older than the
    change; 0 turns this protection off. `wall_clock` returns seconds since 1970. `sleep` is called with seconds, also
    0, and may raise to end the pass.
    """

    def __init__(
        self,
        disk: Disk,
        keep: Collection[str],
        min_age: float,
        *,
        wall_clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._disk = disk
        self._keep = keep
        self._min_age = min_age
        self._sleep = sleep
        self._now = min(wall_clock(), _volume_time(disk, wall_clock))

    def run(self) -> None:
        """Remove what may be removed. Raises VolumeError if the disk cannot be listed; other errors are warnings."""
        self._services()
        self._control_folders()
        self._trash()
        for control in (STAGING, ASIDE, UNLOADED):
            remove_empty(self._disk, *(f"{control}/{service}" for service in self._folders(control)))

    def _services(self) -> None:
        for name in self._folders(""):
            if name.startswith(GONE):
                self._remove(name)
            elif is_name(name) and name not in self._keep:
                self._remove_service(name)

    def _control_folders(self) -> None:
        """Remove the folders of services that are not kept, and of no others: staging may take any time."""
        for control in (STAGING, ASIDE):
            for name in self._disk.scan(control):
                if name not in self._keep:
                    self._remove_if_old(f"{control}/{name}")

    def _trash(self) -> None:
        services = [f"{UNLOADED}/{service}" for service in self._folders(UNLOADED)]
        entries = [f"{service}/{name}" for service in services for name in self._disk.scan(service)]
        old = [entry for entry in entries if not self._is_young(entry)]
        if old and self._min_age < TRASH_GRACE:
            self._sleep(TRASH_GRACE)
        for entry in old:
            self._remove(entry)

    def _remove_service(self, service: str) -> None:
        """Remove what is in a service's folder, and then the folder unless an adapter was promoted meanwhile."""
        with self._warning(service):
            # Listed before its age is read: an adapter that is promoted after that makes the folder young.
            names = self._disk.scan(service)
            if self._is_young(service):
                return
            log.info("reaping the folder of service %s", service)
            for name in names:
                self._remove(f"{service}/{name}")
            with suppress(AlreadyThere):
                self._disk.remove_folder(service)

    def _remove_if_old(self, path: str) -> None:
        if not self._is_young(path):
            self._remove(path)

    def _remove(self, path: str) -> None:
        with self._warning(path):
            erase(self._disk, path)
            log.info("removed %s/%s", self._disk.name, path)

    @contextmanager
    def _warning(self, path: str) -> Iterator[None]:
        """Log an error of one path and continue: nothing depends on it, and the next pass tries again."""
        self._sleep(0)
        try:
            yield
        except NotThere:
            log.debug("%s is gone already", path)
        except Cancelled:
            raise
        except DownloadError as error:
            log.warning("failed to remove %s/%s: %s; a later reaper will retry", self._disk.name, path, error)

    def _folders(self, folder: str) -> list[str]:
        return [name for name, kind in self._disk.scan(folder).items() if kind is Kind.FOLDER]

    def _is_young(self, path: str) -> bool:
        found = self._disk.stat(path)
        if found is None or not self._is_younger(found.mtime_ns, self._min_age):
            return False
        log.info("kept %s/%s: it was changed recently", self._disk.name, path)
        return True

    def _is_younger(self, mtime_ns: int, seconds: float) -> bool:
        return seconds > 0 and self._now - mtime_ns / 1e9 < seconds


def _volume_time(disk: Disk, wall_clock: Callable[[], float]) -> float:
    """Return the time by the clock that dates new files on the disk: the node's clock may differ from it."""
    probe = f"{GONE}{secrets.token_hex(8)}"
    try:
        disk.make_folder(probe)
        found = disk.stat(probe)
        disk.remove_folder(probe)
    except DownloadError as error:  # a full volume has to be reaped, too
        log.debug("the disk does not tell the time: %s", error)
        return wall_clock()
    return found.mtime_ns / 1e9 if found is not None else wall_clock()
