"""Groups of checks, each in a thread of its own: one that hangs does not hold up the others."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from downloader.deadlines import CHECK_INTERVAL
from downloader.doctor.finding import problem
from downloader.errors import DownloadError, unexpected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from downloader.cancellation import Cancellation
    from downloader.doctor.finding import Finding

log = logging.getLogger(__name__)


class Group:
    """Checks that follow each other, which have to end within `limit` seconds from their start."""

    def __init__(
        self, name: str, checks: Callable[[], Iterator[Finding]], limit: float, late: Callable[[], Finding]
    ) -> None:
        """`late` is called if they do not, and returns the finding that says so. `name` is that of an error's check."""
        self._name = name
        self._checks = checks
        self._limit = limit
        self._late = late
        self._found: list[Finding] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"doctor {name}", daemon=True)
        self._deadline = 0.0

    def start(self) -> Group:
        """Start the checks."""
        self._deadline = time.monotonic() + self._limit
        self._thread.start()
        return self

    def findings(self, cancellation: Cancellation) -> list[Finding]:
        """Wait for the checks and return what they found. Raises the reason of the cancellation."""
        while not self._ended.wait(CHECK_INTERVAL) and time.monotonic() < self._deadline:
            cancellation.check()
        if self._ended.is_set():
            return self._found
        return [*self._found, self._late()]

    def settle(self, seconds: float) -> None:
        """Wait a while for checks that have to put things in order."""
        self._ended.wait(seconds)

    def _run(self) -> None:
        try:
            for finding in self._checks():
                self._found.append(finding)
        except DownloadError as error:
            self._found.append(problem(self._name, error))
        except Exception as error:  # a bug of one check must not hide what the others find
            log.debug("a bug", exc_info=True)
            self._found.append(problem(self._name, unexpected(error)))
        finally:
            self._ended.set()
