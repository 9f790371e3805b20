"""Constructs the reporter for the AIMArtifact, if the environment names one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from downloader.config import ClusterSettings
    from downloader.redaction import Redactor
    from downloader.reporters import Reporter


def status_reporter(cluster: ClusterSettings, redactor: Redactor, interval: float) -> Reporter | None:
    """Return the reporter that patches the AIMArtifact at most every `interval` seconds; None if none is named."""
    if not (cluster.artifact_name and cluster.artifact_namespace and cluster.host):
        return None
    from downloader.reporters.kubernetes import ClusterAccess, KubernetesReporter

    access = ClusterAccess(
        host=cluster.host,
        port=cluster.port,
        namespace=cluster.artifact_namespace,
        name=cluster.artifact_name,
        interval=interval,
        service_account=cluster.service_account,
    )
    return KubernetesReporter(access, redactor=redactor)
