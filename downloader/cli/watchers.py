"""Who is shown a run: the console always, the AIMArtifact where the environment names one."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from downloader.reporters.console import Console

if TYPE_CHECKING:
    from downloader.config import Settings
    from downloader.redaction import Redactor
    from downloader.reporters import Reporter


def watchers(settings: Settings, stream: TextIO, redactor: Redactor, *, quiet: bool) -> list[Reporter]:
    """Return the reporters of a run."""
    job, cluster = settings.job, settings.cluster
    reporters: list[Reporter] = [Console(stream, interval=job.progress_interval, quiet=quiet)]
    if job.artifact_name and job.artifact_namespace and cluster.host:
        from downloader.reporters.kubernetes.access import ClusterAccess
        from downloader.reporters.kubernetes.reporter import KubernetesReporter

        access = ClusterAccess(
            host=cluster.host,
            port=cluster.port,
            namespace=job.artifact_namespace,
            name=job.artifact_name,
            interval=job.progress_interval,
            service_account=cluster.service_account,
        )
        reporters.append(KubernetesReporter(access, redactor=redactor))
    return reporters
