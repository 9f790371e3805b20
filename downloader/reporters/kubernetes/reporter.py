"""The thread that shows a run in the status of its AIMArtifact."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from downloader.loading import LOADING
from downloader.progress import Phase
from downloader.redaction import Redactor
from downloader.reporters.kubernetes.access import Busy, NotWritten, Refused
from downloader.reporters.kubernetes.status import Status, status_of
from downloader.reporters.kubernetes.throttle import PatchThrottle

if TYPE_CHECKING:
    from downloader.progress import Snapshot
    from downloader.reporters.kubernetes.access import ClusterAccess
    from downloader.reporters.kubernetes.client import StatusClient

log = logging.getLogger(__name__)

PATIENCE: Final = 5.0
"""Seconds that a request may take, and then the final state with all its attempts."""
_LAST_PAUSE: Final = 0.125
"""Seconds, doubled before each time that the final state is sent again."""


class KubernetesReporter:
    """Patches the status with the newest snapshot. Whatever the API server does, the download does not notice."""

    def __init__(
        self,
        access: ClusterAccess,
        *,
        redactor: Redactor | None = None,
        cadence: PatchThrottle | None = None,
        patience: float = PATIENCE,
    ) -> None:
        """Nothing is sent, and no thread runs, before the first snapshot."""
        self._access = access
        self._redact = (redactor or Redactor()).redact
        self._cadence = cadence or PatchThrottle(access.interval)
        self._patience = patience
        self._changed = threading.Condition()
        self._newest: Snapshot | None = None
        self._complete = False
        self._deadline: float | None = None
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)

    def report(self, snapshot: Snapshot) -> None:
        """Take the newest snapshot; those that were not sent yet are forgotten."""
        with self._changed:
            self._take(snapshot)

    def close(self, final: Snapshot) -> None:
        """Send the final snapshot, and give up after a few seconds."""
        with self._changed:
            self._deadline = time.monotonic() + self._patience
            self._take(final)
        self._thread.join(self._patience)

    def _take(self, snapshot: Snapshot) -> None:
        self._complete = snapshot.complete or (snapshot.phase is Phase.FAILED and self._complete)
        if self._newest is None:
            self._thread.start()
        self._newest = snapshot
        self._changed.notify()

    def _run(self) -> None:
        try:
            # Its import takes time that neither the start of the run nor a command without a cluster should pay.
            with LOADING:
                from downloader.reporters.kubernetes.client import StatusClient  # noqa: PLC0415

            client = StatusClient(self._access)
            while (status := self._next_due()) is not None:
                self._send(client, status)
            self._finish(client)
        except Exception as error:
            # Not even a bug of ours may disturb the download.
            log.warning("the AIMArtifact status will not be updated any more: its reporter failed", exc_info=error)

    def _next_due(self) -> Status | None:
        """Wait until a status is due and return it; None when the run is over."""
        with self._changed:
            while self._deadline is None:
                status = self._status()
                pause = self._cadence.due(status) - time.monotonic()
                if pause <= 0:
                    return status
                self._changed.wait(pause)
            return None

    def _status(self) -> Status:
        if self._newest is None:
            raise ValueError("the thread runs before the first snapshot")
        return status_of(self._newest, self._cadence.written_status, complete=self._complete, redact=self._redact)

    def _send(self, client: StatusClient, status: Status) -> None:
        try:
            client.write(status.patch, timeout=self._patience)
        except Busy as busy:
            self._cadence.busy(time.monotonic(), busy.retry_after)
            self._tell(busy)
        except Refused as refused:
            self._cadence.refused(time.monotonic())
            self._tell(refused)
        else:
            self._cadence.written(status, time.monotonic())

    def _tell(self, trouble: NotWritten) -> None:
        """Say once what is wrong, in our own words."""
        if trouble.reason not in self._told:
            self._told.add(trouble.reason)
            log.warning("the AIMArtifact status is out of date: %s", trouble.reason)

    def _finish(self, client: StatusClient) -> None:
        """Send the final status whatever pause is in force, and again as long as there is time."""
        with self._changed:
            status, deadline = self._status(), self._deadline or 0.0
        pause = _LAST_PAUSE
        while (left := deadline - time.monotonic()) > 0:
            try:
                client.write(status.patch, timeout=left)
            except Busy as busy:
                self._tell(busy)
                pause = max(pause * 2, busy.retry_after or 0.0)
                if pause >= left:
                    return
                time.sleep(pause)
            except Refused as refused:
                self._tell(refused)
                return
            else:
                return
