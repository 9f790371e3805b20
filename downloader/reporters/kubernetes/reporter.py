"""Shows a run in the status of its AIMArtifact, from a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from downloader.deadlines import STATUS_LAST_PAUSE, STATUS_START, STATUS_TIMEOUT
from downloader.loading import LOADING
from downloader.progress import Phase
from downloader.redaction import Redactor
from downloader.reporters.kubernetes.access import Busy, NotWritten, Refused
from downloader.reporters.kubernetes.status import NOTHING, Figures, Status, status_of
from downloader.reporters.kubernetes.throttle import PatchThrottle

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.progress import Snapshot
    from downloader.reporters.kubernetes.access import ClusterAccess
    from downloader.reporters.kubernetes.client import StatusClient

log = logging.getLogger(__name__)


class KubernetesReporter:
    """Patches the status with the latest snapshot. No failure of the API server affects the download."""

    def __init__(
        self,
        access: ClusterAccess,
        *,
        redactor: Redactor | None = None,
        throttle: PatchThrottle | None = None,
        timeout: float = STATUS_TIMEOUT,
        left: Callable[[float], float] = float,
    ) -> None:
        """Prepare a reporter; it starts its thread and sends requests from the first snapshot on.

        `timeout` is the limit in seconds of a request, and of `close`, unless `left` returns less for it then.
        """
        self._access = access
        self._redact = (redactor or Redactor()).redact
        self._throttle = throttle or PatchThrottle(access.interval)
        self._timeout = timeout
        self._left = left
        self._changed = threading.Condition()
        self._latest: Snapshot | None = None
        self._complete = False
        self._silent = False
        """Another process of those that share the work reports the end."""
        self._deadline: float | None = None
        self._shown: Figures | None = None
        """What another process has shown, whose place this one has taken; None until the API server has said it."""
        self._imported = False
        self._reported: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)

    def report(self, snapshot: Snapshot) -> None:
        """Store the latest snapshot. Earlier ones that have not been sent are dropped.

        Of several processes that share the work, one writes the status: the one that leads.
        """
        if not snapshot.leads:
            return
        with self._changed:
            self._store(snapshot)

    def close(self, final: Snapshot) -> None:
        """Send the final snapshot, for at most `timeout` seconds; none if another process leads.

        A run that ends before the client is imported waits longer: what an earlier pod has reported must be reset.
        """
        with self._changed:
            limit = self._left(self._timeout if self._imported else STATUS_START + self._timeout)
            self._deadline = time.monotonic() + limit
            if final.leads:
                self._store(final)
            self._silent = not final.leads
            self._changed.notify()
        if self._latest is not None:
            self._thread.join(limit)

    def _store(self, snapshot: Snapshot) -> None:
        self._complete = snapshot.complete or (snapshot.phase is Phase.FAILED and self._complete)
        if self._latest is None:
            self._thread.start()
        self._latest = snapshot
        self._changed.notify()

    def _run(self) -> None:
        try:
            # The import takes a quarter of a second, which would delay the start of the run.
            with LOADING:
                from downloader.reporters.kubernetes.client import StatusClient  # noqa: PLC0415

            client = StatusClient(self._access)
            self._imported = True
            while (status := self._next_due()) is not None:
                self._send(client, status)
            self._finish(client)
        except Exception as error:
            # Not even a bug of ours may affect the download.
            log.warning("the AIMArtifact status will not be updated any more: its reporter failed", exc_info=error)

    def _next_due(self) -> Status | None:
        """Wait until a status is due and return it; None at the end of the run."""
        with self._changed:
            while self._deadline is None:
                status = self._status()
                pause = self._throttle.due(status) - time.monotonic()
                if pause <= 0:
                    return status
                self._changed.wait(pause)
            return None

    def _status(self) -> Status:
        if self._latest is None:
            raise ValueError("the thread was started before the first snapshot")
        shown = self._shown if self._latest.succeeds else NOTHING
        before = self._throttle.written_status
        return status_of(self._latest, before, complete=self._complete, redact=self._redact, shown=shown)

    def _write(self, client: StatusClient, status: Status, timeout: float) -> None:
        """Write a status; one without figures, to learn those of the process that has written before this one.

        A process that is killed has shown bytes that are lost with it, and can tell no other process so: whatever it
        notes, it may be killed between the note and the patch. The API server knows, and says it with each answer, so
        it takes neither a further request nor a right to read. What the killed one had still under way to the API
        server when that was asked, if it arrives at all, is not known.
        """
        answer = client.write(status.patch, timeout=timeout)
        if not status.has_figures:
            self._shown = Figures.of(answer)

    def _send(self, client: StatusClient, status: Status) -> None:
        try:
            self._write(client, status, self._timeout)
        except Busy as busy:
            self._throttle.busy(time.monotonic(), busy.retry_after)
            self._log_once(busy)
        except Refused as refused:
            self._throttle.refused(time.monotonic())
            self._log_once(refused)
        else:
            self._throttle.written(status, time.monotonic())

    def _log_once(self, failure: NotWritten) -> None:
        """Log the reason once. It is worded by us: the text of the server must not get into the log."""
        if failure.reason not in self._reported:
            self._reported.add(failure.reason)
            log.warning("the AIMArtifact status is out of date: %s", failure.reason)

    def _finish(self, client: StatusClient) -> None:
        """Send the final status regardless of pauses, and retry as long as there is time."""
        with self._changed:
            deadline = 0.0 if self._silent else self._deadline or 0.0
        deadline = min(deadline, time.monotonic() + self._timeout)
        pause = STATUS_LAST_PAUSE
        while (left := deadline - time.monotonic()) > 0:
            status = self._status()
            try:
                self._write(client, status, left)
            except Busy as busy:
                self._log_once(busy)
                pause = max(pause * 2, busy.retry_after or 0.0)
                if pause >= left:
                    return
                time.sleep(pause)
            except Refused as refused:
                self._log_once(refused)
                return
            else:
                if status.has_figures:
                    return
