"""Where a run in a cluster reports: its AIMArtifact and the API server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from downloader.config.env import count, path, variable

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet puts token, ca.crt and namespace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """The AIMArtifact and its API server."""

    artifact_name: str = variable(
        "ARTIFACT_NAME",
        "name of the AIMArtifact whose status is patched. If it is set, the log is worded for the operator",
        default="",
    )
    artifact_namespace: str = variable("ARTIFACT_NAMESPACE", "its namespace", default="")
    host: str = variable("KUBERNETES_SERVICE_HOST", "the API server's host", default="")
    port: int = variable(
        "KUBERNETES_SERVICE_PORT_HTTPS KUBERNETES_SERVICE_PORT", "its port", parse=count(1, 65535), default=443
    )
    service_account: Path = variable(
        "AIM_SERVICE_ACCOUNT",
        "folder that contains token, ca.crt and namespace",
        parse=path,
        default=SERVICE_ACCOUNT,
    )
