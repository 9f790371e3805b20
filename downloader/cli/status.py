"""Constructs the reporter for the AIMArtifact, if the environment names one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from downloader.config import ClusterSettings
    from downloader.redaction import Redactor
    from downloader.reporters import Reporter


def status_reporter(cluster: ClusterSettings, redactor: Redactor, interval: float) -> Reporter | None:
    """Return the reporter that patches the AIMArtifact at most every `interval` seconds; None if none is named."""
    if not cluster.artifact_name:  # without its libraries then
        return None
    from downloader.reporters.kubernetes import ClusterAccess, KubernetesReporter

    access = ClusterAccess.of(cluster, interval)
    return KubernetesReporter(access, redactor=redactor) if access is not None else None
