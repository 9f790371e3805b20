"""Whether the status of the AIMArtifact can be patched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.doctor.finding import note, ok
from downloader.reporters.kubernetes import ClusterAccess, NotWritten, try_patch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.config import Settings
    from downloader.doctor.finding import Finding

NAME = "kubernetes"
HARMLESS = "see docs/kubernetes.md; a download works all the same, but its artifact shows no progress"


def check_cluster(settings: Settings, timeout: float) -> Iterator[Finding]:
    """Have the API server check a patch of the status, if an AIMArtifact is named. A download needs none of it."""
    cluster = settings.cluster
    if not cluster.artifact_name:
        return
    access = ClusterAccess.of(cluster, settings.job.progress_interval)
    if access is None:
        missing = "KUBERNETES_SERVICE_HOST" if cluster.artifact_namespace else "ARTIFACT_NAMESPACE"
        yield note(NAME, f"ARTIFACT_NAME is set without {missing}, so no status is patched", f"set {missing}")
        return
    named = f"{access.namespace}/{access.name}"
    try:
        try_patch(access, timeout=timeout)
    except NotWritten as refused:
        yield note(
            NAME, f"the status of {named} cannot be patched at {access.url}: {refused.reason}", HARMLESS, access.host
        )
    else:
        yield ok(NAME, f"the status of {named} may be patched at {access.url}", access.host)
