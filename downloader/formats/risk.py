"""`Risk`: what is said against a file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Risk:
    """Why a file may do harm when it is loaded, or why that cannot be told."""

    path: str
    """Relative to the artifact's folder."""
    what: str
    """In words that follow the path: `is a pickle that imports os.system`."""
    refused: bool = True
    """The policy `safe` refuses it; otherwise it is only named."""

    def __str__(self) -> str:
        return f"{self.path} {self.what}"
