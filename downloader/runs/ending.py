"""`Ending`: what there is to say at once when a download has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from downloader.errors import DownloadError
    from downloader.progress import Snapshot


@dataclass(frozen=True, slots=True)
class Ending:
    """How a download ended."""

    uri: str
    """The URI of the artifact, without a login."""
    target: Path
    snapshot: Snapshot
    """The final one: its phase is DONE or FAILED."""
    message: str
    """What the run was doing last."""
    seconds: float
    """Duration of the run."""
    error: DownloadError | None = None
