"""The thread in which a process helps others with an artifact while it waits for the lease."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from downloader.cancellation import Cancellation
from downloader.deadlines import TRANSFER_GRACE
from downloader.errors import DownloadError, LeaseLost, VolumeError, unexpected

if TYPE_CHECKING:
    from collections.abc import Callable

LOOKS = 8
"""Looks at the work of the others after which it certainly goes on: another machine may show it a moment longer."""

log = logging.getLogger(__name__)


class Helper:
    """Helps the leader in a thread of its own, whenever there is a board to help with."""

    def __init__(self, help_: Callable[[Cancellation], None], has_board: Callable[[], bool]) -> None:
        self._help = help_
        self._has_board = has_board
        self._stopped: Cancellation | None = None
        self._thread: threading.Thread | None = None
        self._errors: list[DownloadError] = []
        self._woken = threading.Event()
        self._given_up: VolumeError | None = None
        self._looks = 0
        """At the work of the others since this process gave up."""

    @property
    def is_running(self) -> bool:
        """Whether the thread helps."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def has_ended(self) -> bool:
        """Whether the thread has helped, and there is nothing to help with any more."""
        return self._thread is not None and not self._thread.is_alive()

    def wait(self, seconds: float, cancellation: Cancellation) -> None:
        """Wait until the thread ends, so long at most. Raises the reason of the cancellation."""
        with cancellation.waking(self._woken.set):
            self._woken.wait(seconds)
        cancellation.check()

    def look(self) -> bool:
        """Help if there is something to help with; return whether the thread does. Raises its error."""
        if not self.is_running:
            if self._errors:
                raise self._errors[0]
            if self._has_board():
                if self._given_up is not None:
                    self._explain(self._given_up)
                    return False
                self._stopped = Cancellation()
                self._woken.clear()
                self._thread = threading.Thread(target=self._run, name="help", args=(self._stopped,), daemon=True)
                self._thread.start()
        return self.is_running

    def _explain(self, error: VolumeError) -> None:
        """Say once why this process does not help any more, if it was not for the end of the work."""
        self._looks += 1
        if self._looks == LOOKS:
            log.warning("%s; the others go on without this process, which waits for them", error)

    def _run(self, stopped: Cancellation) -> None:
        try:
            self._help(stopped)
        except VolumeError as error:
            # Mostly the leader has finished and removed what was being written to. If not, the next leader will see.
            log.debug("this process helps no more: %s", error)
            self._given_up = error
        except DownloadError as error:
            if stopped.reason is None:
                self._errors.append(error)
        except Exception as error:
            log.debug("a bug", exc_info=True)
            self._errors.append(unexpected(error))
        finally:
            self._woken.set()

    def stop(self) -> None:
        """End the help and wait for its end: what has arrived is recorded by then."""
        if self._stopped is not None and self._thread is not None:
            self._stopped.cancel(LeaseLost("this process leads from now on"))
            self._thread.join(TRANSFER_GRACE + 1)
