"""Reporters show the progress of a run. Each one implements `Reporter`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from downloader.progress import Snapshot


class Reporter(Protocol):
    """Shows snapshots of a run. It must never block, slow or fail the download.

    Both methods are called from threads of the run: `report` from its ticker, `close` from the thread that started the
    run, after the last `report`. An exception is logged once; afterwards the reporter only gets the final snapshot.
    `docs/contributing/common-changes.md` says how one is added.
    """

    def report(self, snapshot: Snapshot) -> None:
        """Take the latest snapshot and return at once. It comes about twice a second, and at changes."""

    def close(self, final: Snapshot) -> None:
        """Show the final snapshot, whose phase is DONE or FAILED. Called exactly once; must return within seconds."""
