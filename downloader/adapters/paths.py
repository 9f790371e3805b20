"""The paths of the adapter disk, relative to its root."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

STAGING: Final = ".staging"
"""Adapters that are being downloaded, by service."""
ASIDE: Final = ".aside"
"""Adapters that were moved out of the way of their successors, by service: see `promote.py`."""
UNLOADED: Final = ".unload-tmp"
"""The trash, by service: entries that hold one file or folder each."""

DOWNLOAD: Final = "adapter."
"""Prefix of the download's name in a Job's staging folder; the token of the process that holds the lease follows."""

TRASHED_ADAPTER: Final = "adapter"
"""In a trash entry: an adapter that was moved out of a service's folder."""
PARKED_DOWNLOAD: Final = "partial"
"""In a trash entry: a download that failed, which the next pod of the same Job resumes."""

_MAX_NAME_LENGTH = 255


@dataclass(frozen=True, slots=True)
class AdapterPaths:
    """The paths of one adapter of one service, and of one Job that stages it."""

    service: str
    adapter: str
    job: str
    token: str
    """Identifies this process: no other one has the same."""

    @property
    def live(self) -> str:
        """Where readers find the adapter."""
        return f"{self.service}/{self.adapter}"

    @property
    def staging(self) -> str:
        """The Job's own folder; only the process that holds its lease changes what is in it."""
        return f"{STAGING}/{self.service}/{entry_name(self.adapter, self.job)}"

    @property
    def download(self) -> str:
        """The target of this process's download."""
        return f"{self.staging}/{DOWNLOAD}{self.token}"

    @property
    def aside(self) -> str:
        """The folder of adapters that were moved out of the way of a successor."""
        return f"{ASIDE}/{self.service}/{self.adapter}"

    @property
    def parked(self) -> str:
        """The trash entry for the download that a failed pod leaves to the next one."""
        return f"{UNLOADED}/{self.service}/{entry_name(self.adapter, self.job)}"


def entry_name(adapter: str, suffix: str) -> str:
    """Return `<adapter>.<suffix>`, or an equally unique name if that is longer than file systems allow."""
    name = f"{adapter}.{suffix}"
    if len(name.encode(errors="surrogateescape")) <= _MAX_NAME_LENGTH:
        return name
    return f"{name[:48]}.{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()}"
