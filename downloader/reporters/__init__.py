"""Reporters: whoever is told how a run goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from downloader.progress import Snapshot


class Reporter(Protocol):
    """Somebody who is shown snapshots. Must never block, slow or fail the download."""

    def report(self, snapshot: Snapshot) -> None:
        """Take the newest snapshot and return at once."""

    def close(self, final: Snapshot) -> None:
        """Show the final snapshot. Called exactly once, and must return within a few seconds."""
