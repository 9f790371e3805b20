"""Tries whether the status of an AIMArtifact may be patched, without changing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.loading import LOADING

if TYPE_CHECKING:
    from downloader.reporters.kubernetes.access import ClusterAccess


def try_patch(access: ClusterAccess, *, timeout: float) -> None:
    """Have the API server check a patch of the status that it does not store, within about `timeout` seconds.

    That needs no other right than the patches of a run. Raises NotWritten with the reason if it is refused.
    """
    with LOADING:
        from downloader.reporters.kubernetes.client import StatusClient  # noqa: PLC0415 - takes a quarter of a second

    StatusClient(access).write({"status": {"download": {"attempt": 1}}}, timeout=timeout, trial=True)
