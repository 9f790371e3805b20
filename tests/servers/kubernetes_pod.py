"""What the kubelet gives a pod to reach the API server: the ServiceAccount's folder and two variables."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Protocol

from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


class Cluster(Protocol):
    """What our own server and a real kube-apiserver have in common."""

    host: str
    port: int

    @property
    def authority(self) -> bytes:
        """PEM of the CA that issued the server's certificate."""

    def create_artifact(self, namespace: str, name: str) -> dict[str, Any]:
        """Create an AIMArtifact, as a user would; return it."""

    def delete_artifact(self, namespace: str, name: str) -> None:
        """Remove it, as a user would."""

    def artifact(self, namespace: str, name: str) -> dict[str, Any]:
        """Return the AIMArtifact as it is now."""

    def write_status(self, namespace: str, name: str, patch: dict[str, Any]) -> None:
        """Merge this into the status, as the operator would."""

    def token(self, namespace: str, account: str = "default") -> str:
        """Mint a token for a ServiceAccount."""

    def wait_for_status(self, namespace: str, name: str, expected: dict[str, Any], timeout: float = AT_LAST) -> None:
        """Return when the status holds all that `expected` names, or raise TimeoutError after so many seconds."""


class Pod:
    """The part of a pod that a client of the API server sees. Files are replaced as the kubelet does it."""

    def __init__(self, cluster: Cluster, folder: Path, *, namespace: str = "models", account: str = "default") -> None:
        """`folder` stands for /var/run/secrets/kubernetes.io/serviceaccount and is created."""
        self.service_account = folder
        self.namespace = namespace
        self._cluster = cluster
        self._account = account
        self._generations = itertools.count(1)
        folder.mkdir(parents=True)
        self.refresh()
        for name in ("token", "ca.crt", "namespace"):
            (folder / name).symlink_to(f"..data/{name}")

    @property
    def environment(self) -> dict[str, str]:
        """What every container of the pod finds in its environment."""
        return {"KUBERNETES_SERVICE_HOST": self._cluster.host, "KUBERNETES_SERVICE_PORT": str(self._cluster.port)}

    @property
    def token(self) -> str:
        """The token in the folder."""
        return (self.service_account / "token").read_text()

    def refresh(self) -> None:
        """Put a new token and the cluster's present CA into the folder, all in one instant."""
        generation = self.service_account / f"..generation-{next(self._generations)}"
        generation.mkdir()
        (generation / "token").write_text(self._cluster.token(self.namespace, self._account))
        (generation / "ca.crt").write_bytes(self._cluster.authority)
        (generation / "namespace").write_text(self.namespace)
        link = self.service_account / "..data_tmp"
        link.symlink_to(generation.name)
        link.replace(self.service_account / "..data")
