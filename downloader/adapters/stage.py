"""Staging: a Job's folder on the adapter disk, in which a download becomes complete before readers see it.

The contract asks for two things that seem to contradict each other: staging is emptied at the start and removed on
every exit, and yet a retry of the Job resumes where the last pod stopped. Both hold:

- The folder `<adapter>.<job>` in `.staging` contains a lease and one download.
- If a pod fails with an error that a retry may resolve, it parks the download in a trash entry, from where the next pod
  of the same Job takes it. If no retry comes, the reaper removes it there, also while the service exists.
- Any other failure removes the download. After SIGKILL it is still in staging, and the retry resumes there.

None of this is trusted: the download verifies what it finds, and `sanitize_tree` removes what the artifact does not
contain.

The lease serializes the pods of one Job, up to the end of the promotion. Its holder keeps the download under a name
that no other process uses. A process that was frozen and has lost the lease finds nothing under that name any more, so
it cannot promote anything.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from downloader.adapters.contention import StepUndone, repeated
from downloader.adapters.paths import DOWNLOAD, PARKED_DOWNLOAD, STAGING, UNLOADED
from downloader.adapters.promote import promote, require_one_file_system, restore, sanitize_tree
from downloader.adapters.trash import GONE, discard, erase, make_folders, remove_empty
from downloader.deadlines import CONTENTION_PAUSE, TRASH_GRACE
from downloader.errors import Cancelled, DownloadError, Verdict
from downloader.filesystem import Kind, NotThere
from downloader.lease import WORK, is_lease
from downloader.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from downloader.adapters.paths import AdapterPaths
    from downloader.artifact import Manifest
    from downloader.filesystem import Disk


log = logging.getLogger(__name__)


class Staging:
    """Stages one adapter for one Job. `ttl` (seconds), `waiting` and `sleep` are those of the lease."""

    def __init__(
        self,
        disk: Disk,
        paths: AdapterPaths,
        *,
        ttl: float,
        waiting: Callable[[str, float], None],
        sleep: Callable[[float], None],
    ) -> None:
        self._disk = disk
        self._paths = paths
        self._ttl = ttl
        self._waiting = waiting
        self._sleep = sleep

    @contextmanager
    def held(self, uri: str) -> Iterator[None]:
        """Hold the staging folder, with the download of an earlier pod of this Job if there is one.

        At the end of the context what is left is removed, or parked if a retry may resolve the error that ended it.
        Raises VolumeError if the folder cannot be leased, or if a rename cannot lead from it to the service's folder.
        """
        with repeated(lambda: self._acquired(uri), f"{self._disk.name}/{self._paths.staging} cannot be leased"):
            try:
                self._prepare()
                yield
            except BaseException as error:
                self._park_or_remove(error)
                raise

    def promote(self, manifest: Manifest) -> None:
        """Make the complete download the live adapter. Raises VolumeError if it is not what the manifest lists."""
        sanitize_tree(self._disk, self._paths.download, manifest)
        promote(self._disk, self._paths, pause=lambda: self._sleep(TRASH_GRACE))

    def _acquired(self, uri: str) -> ExitStack:
        """Return the context that holds the lease. Raises StepUndone if the folder was moved or removed meanwhile."""
        disk, staging = self._disk, self._paths.staging
        with ExitStack() as stack, suppress(NotThere):
            make_folders(disk, staging)
            opened = disk.inside(staging)
            volume = stack.enter_context(Volume(Path(opened.name), files=opened, ttl=self._ttl))
            stack.callback(self._tidy)
            stack.enter_context(volume.lease(uri, waiting=self._waiting, sleep=self._sleep))
            if disk.is_at(staging, opened):
                return stack.pop_all()
        self._sleep(CONTENTION_PAUSE)
        raise StepUndone

    def _prepare(self) -> None:
        """Take over the download of an earlier pod, if there is one, and remove everything else."""
        disk, paths = self._disk, self._paths
        require_one_file_system(disk, paths)
        restore(disk, paths)
        for name, kind in disk.scan(paths.staging).items():
            path = f"{paths.staging}/{name}"
            if kind is Kind.FOLDER and name.startswith(DOWNLOAD) and disk.stat(self._paths.download) is None:
                disk.rename(path, self._paths.download)
            elif name != WORK:
                discard(disk, [path], paths.service, paths.adapter)
        if disk.stat(self._paths.download) is None:
            self._take_parked()
        if disk.make_folder(self._paths.download):
            return
        log.info("resuming the download of an earlier pod")
        for name in disk.scan(f"{self._paths.download}/{WORK}"):
            if is_lease(name):  # of a process that cannot be alive: this one holds the lease of the whole folder
                erase(disk, f"{self._paths.download}/{WORK}/{name}")

    def _take_parked(self) -> None:
        parked = f"{self._paths.parked}/{PARKED_DOWNLOAD}"
        found = self._disk.stat(parked)
        if found is not None and found.kind is Kind.FOLDER:
            with suppress(NotThere):  # the reaper has removed it
                self._disk.rename(parked, self._paths.download)

    def _park_or_remove(self, error: BaseException) -> None:
        """Leave nothing in staging. After a lost lease nothing is under our name, so nothing happens."""
        paths = self._paths
        if _may_succeed_later(error) and self._disk.scan(self._paths.download):
            try:
                self._park()
            except DownloadError as parking_error:
                log.debug("the partial download cannot be kept: %s", parking_error)
            else:
                return
        discard(self._disk, [paths.download], paths.service, paths.adapter)

    def _park(self) -> None:
        paths = self._paths
        parked = f"{paths.parked}/{PARKED_DOWNLOAD}"
        discard(self._disk, [parked], paths.service, paths.adapter)
        make_folders(self._disk, paths.parked)
        self._disk.rename(self._paths.download, parked)
        log.info("kept the partial download for the Job's next pod")

    def _tidy(self) -> None:
        service = self._paths.service
        for name in self._disk.scan(f"{STAGING}/{service}"):
            # A removal was killed, and the reaper leaves staging of existing services alone.
            if name.startswith(GONE):
                with suppress(DownloadError):
                    erase(self._disk, f"{STAGING}/{service}/{name}")
        remove_empty(self._disk, self._paths.staging, f"{STAGING}/{service}")
        remove_empty(self._disk, self._paths.parked, f"{UNLOADED}/{service}")


def _may_succeed_later(error: BaseException) -> bool:
    """Tell whether the next pod of the Job may get further than this one."""
    return isinstance(error, Cancelled) or (isinstance(error, DownloadError) and error.verdict is not Verdict.FAIL)
