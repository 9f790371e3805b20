"""Staging: one Job's folder on the adapter disk, in which a download becomes whole before anybody sees it.

The contract asks for two things that pull apart: staging is wiped at the start and removed on every exit, and yet a
retry of the Job goes on where the last pod stopped. Both are true. The folder `<adapter>.<job>` in `.staging` holds a
lease and one download. A pod that fails in a way that a retry may mend moves the download into a slot of `.unload-tmp`,
and the next pod of the same Job takes it back; whatever else ends a pod removes it. In a slot the reaper finds it if no
retry comes, also while the service lives. After SIGKILL the download is still in staging, and the retry goes on there.
Nothing of this is trusted: the download checks what it finds, and `sanitize_tree` removes all that the
artifact does not have.

The lease makes two pods of one Job take turns, to the end of the promotion. Its holder has the download under a name of
its own: one that was frozen and has lost the lease finds nothing under that name any more, so it can promote nothing.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from downloader.adapters.contention import Undone, repeated
from downloader.adapters.paths import DOWNLOAD, SLOT_PARTIAL, STAGING, UNLOADED
from downloader.adapters.promote import promote, require_one_file_system, restore, sanitize_tree
from downloader.adapters.trash import GONE, GRACE, discard, erase, make_folders, remove_empty
from downloader.errors import Cancelled, DownloadError, Verdict
from downloader.filesystem import Kind, NotThere
from downloader.lease import WORK, is_lease
from downloader.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from downloader.adapters.paths import AdapterPaths
    from downloader.artifact import Manifest
    from downloader.filesystem import Disk

_PAUSE: Final = 0.05
"""Seconds between two attempts to get a folder that others move away."""

log = logging.getLogger(__name__)


class Staging:
    """One Job's work on one adapter. `ttl` is the lease's, in seconds; `waiting` and `sleep` are those of a lease."""

    def __init__(
        self,
        disk: Disk,
        place: AdapterPaths,
        *,
        ttl: float,
        waiting: Callable[[str, float], None],
        sleep: Callable[[float], None],
    ) -> None:
        self._disk = disk
        self._place = place
        self._ttl = ttl
        self._waiting = waiting
        self._sleep = sleep

    @contextmanager
    def held(self, uri: str) -> Iterator[None]:
        """Hold the staging folder; the download of an earlier pod of this Job is in it if there was one.

        What is left when the context ends is removed, or parked if the error that ends it is one that a retry may mend.
        """
        with repeated(lambda: self._acquired(uri), f"{self._disk.name}/{self._place.staging} cannot be leased"):
            try:
                self._prepare()
                yield
            except BaseException as error:
                self._put_away(error)
                raise

    def promote(self, manifest: Manifest) -> None:
        """Make the download the live adapter. It must be complete; raises VolumeError if it is not as it must be."""
        sanitize_tree(self._disk, self._place.download, manifest)
        promote(self._disk, self._place, pause=lambda: self._sleep(GRACE))

    def _acquired(self, uri: str) -> ExitStack:
        """Return the context that holds the lease. Raises Undone if the folder was moved or removed meanwhile."""
        disk, staging = self._disk, self._place.staging
        with ExitStack() as stack, suppress(NotThere):
            make_folders(disk, staging)
            opened = disk.inside(staging)
            volume = stack.enter_context(Volume(Path(opened.name), files=opened, ttl=self._ttl))
            stack.callback(self._tidy)
            stack.enter_context(volume.lease(uri, waiting=self._waiting, sleep=self._sleep))
            if disk.is_at(staging, opened):
                return stack.pop_all()
        self._sleep(_PAUSE)
        raise Undone

    def _prepare(self) -> None:
        """Take over what an earlier pod has left, if there is something, and nothing else."""
        disk, place = self._disk, self._place
        require_one_file_system(disk, place)
        restore(disk, place)
        for name, kind in disk.scan(place.staging).items():
            path = f"{place.staging}/{name}"
            if kind is Kind.FOLDER and name.startswith(DOWNLOAD) and disk.stat(self._place.download) is None:
                disk.rename(path, self._place.download)
            elif name != WORK:
                discard(disk, [path], place.service, place.adapter)
        if disk.stat(self._place.download) is None:
            self._take_back()
        if disk.make_folder(self._place.download):
            return
        log.info("resuming the download of an earlier pod")
        for name in disk.scan(f"{self._place.download}/{WORK}"):
            if is_lease(name):  # its holder cannot live: the lease on the whole folder is ours
                erase(disk, f"{self._place.download}/{WORK}/{name}")

    def _take_back(self) -> None:
        parked = f"{self._place.parked}/{SLOT_PARTIAL}"
        found = self._disk.stat(parked)
        if found is not None and found.kind is Kind.FOLDER:
            with suppress(NotThere):  # the reaper was faster
                self._disk.rename(parked, self._place.download)

    def _put_away(self, error: BaseException) -> None:
        """Leave nothing in staging. If the lease was lost, nothing is there under our name, and nothing happens."""
        place = self._place
        if _may_be_mended(error) and self._disk.scan(self._place.download):
            try:
                self._park()
            except DownloadError as trouble:
                log.debug("what has arrived cannot be kept: %s", trouble)
            else:
                return
        discard(self._disk, [place.download], place.service, place.adapter)

    def _park(self) -> None:
        place = self._place
        parked = f"{place.parked}/{SLOT_PARTIAL}"
        discard(self._disk, [parked], place.service, place.adapter)
        make_folders(self._disk, place.parked)
        self._disk.rename(self._place.download, parked)
        log.info("kept the partial download for the Job's next pod")

    def _tidy(self) -> None:
        service = self._place.service
        for name in self._disk.scan(f"{STAGING}/{service}"):
            if name.startswith(GONE):  # a removal that was killed; the reaper leaves staging of living services alone
                with suppress(DownloadError):
                    erase(self._disk, f"{STAGING}/{service}/{name}")
        remove_empty(self._disk, self._place.staging, f"{STAGING}/{service}")
        remove_empty(self._disk, self._place.parked, f"{UNLOADED}/{service}")


def _may_be_mended(error: BaseException) -> bool:
    """Tell whether the next pod of the Job may get further than this one."""
    return isinstance(error, Cancelled) or (isinstance(error, DownloadError) and error.verdict is not Verdict.FAIL)
