"""Constructs the reporter for the AIMArtifact, if the environment names one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.config import ClusterSettings
    from downloader.redaction import Redactor
    from downloader.reporters import Reporter


def status_reporter(
    cluster: ClusterSettings, redactor: Redactor, interval: float, *, left: Callable[[float], float] = float
) -> Reporter | None:
    """Return the reporter that patches the AIMArtifact at most every `interval` seconds; None if none is named.

    `left` returns how many of the given seconds its last patch may take.
    """
    if not cluster.artifact_name:  # without its libraries then
        return None
    from downloader.reporters.kubernetes import ClusterAccess, KubernetesReporter

    access = ClusterAccess.of(cluster, interval)
    return KubernetesReporter(access, redactor=redactor, left=left) if access is not None else None
