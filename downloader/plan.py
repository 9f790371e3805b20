"""Pure planning: which protocols are tried for a source, in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from downloader.artifact import Protocol


def in_force(
    configured: tuple[Protocol, ...], fitting: frozenset[Protocol], default: tuple[Protocol, ...]
) -> tuple[Protocol, ...]:
    """Return the sequence for a source: what fits of the configured one, else the source's own default."""
    return tuple(protocol for protocol in configured if protocol in fitting) or default
