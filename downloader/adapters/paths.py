"""Where things are on the adapter disk. All paths are relative to its root."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

STAGING: Final = ".staging"
"""Adapters on their way, by service."""
ASIDE: Final = ".aside"
"""Adapters that wait for their successor's rename, by service."""
UNLOADED: Final = ".unload-tmp"
"""What nobody needs any more, by service: slots with one thing each."""

DOWNLOAD: Final = "adapter."
"""How the name of the download in a Job's staging folder begins; the token of its owner follows."""

SLOT_ADAPTER: Final = "adapter"
"""What a slot holds: an adapter that was taken out of a service's folder."""
SLOT_PARTIAL: Final = "partial"
"""Or it holds this: a download that failed, which the next pod of the same Job takes back."""

_LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class AdapterPaths:
    """One adapter of one service, and one Job's work on it."""

    service: str
    adapter: str
    job: str
    token: str
    """Names this very process's work: no other one has it."""

    @property
    def live(self) -> str:
        """Where readers find the adapter."""
        return f"{self.service}/{self.adapter}"

    @property
    def staging(self) -> str:
        """The Job's own folder; only the holder of its lease changes what is in it."""
        return f"{STAGING}/{self.service}/{entry(self.adapter, self.job)}"

    @property
    def download(self) -> str:
        """Where this process's download goes."""
        return f"{self.staging}/{DOWNLOAD}{self.token}"

    @property
    def aside(self) -> str:
        """The folder of what was moved out of the way of a successor."""
        return f"{ASIDE}/{self.service}/{self.adapter}"

    @property
    def parked(self) -> str:
        """The slot for what a failed pod leaves to the next one."""
        return f"{UNLOADED}/{self.service}/{entry(self.adapter, self.job)}"


def entry(adapter: str, suffix: str) -> str:
    """Return `<adapter>.<suffix>`, or something shorter that is as unique where a file system has no room for that."""
    name = f"{adapter}.{suffix}"
    if len(name.encode(errors="surrogateescape")) <= _LONGEST_NAME:
        return name
    return f"{name[:48]}.{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()}"
