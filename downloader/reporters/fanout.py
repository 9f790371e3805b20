"""One reporter that passes everything on to several."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from downloader.progress import Snapshot
    from downloader.reporters import Reporter

log = logging.getLogger(__name__)


class FanOut:
    """Passes each snapshot on to all reporters. After an exception a reporter only gets the final one."""

    def __init__(self, reporters: Iterable[Reporter]) -> None:
        self._reporters = tuple(reporters)
        self._broken: set[int] = set()
        self._closed = False

    def report(self, snapshot: Snapshot) -> None:
        """Pass a snapshot to every reporter that has not raised."""
        for position, reporter in enumerate(self._reporters):
            if position not in self._broken:
                self._try(position, reporter.report, snapshot)

    def close(self, final: Snapshot) -> None:
        """Close every reporter once, also those that have raised: they may have connections and threads."""
        if self._closed:
            return
        self._closed = True
        for position, reporter in enumerate(self._reporters):
            self._try(position, reporter.close, final)

    def _try(self, position: int, tell: Callable[[Snapshot], None], snapshot: Snapshot) -> None:
        try:
            tell(snapshot)
        except KeyboardInterrupt:  # in the thread that called the run, whose user wants it to end
            raise
        except BaseException as error:
            # No bug of a reporter may end the download, and no `sys.exit` in one the thread that also looks for stalls.
            if position not in self._broken:
                self._broken.add(position)
                name = type(self._reporters[position]).__name__
                log.warning("the reporter %s failed and is disabled", name, exc_info=error)
