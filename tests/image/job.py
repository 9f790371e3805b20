"""The download Job as the operator makes it: environment, mounts, ServiceAccount, and the status that it fills."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.image.container import OPERATOR, volume
from tests.servers.kubernetes_pod import Pod

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.command import Result
    from tests.image.container import Container, Containers
    from tests.servers.certificates import Authority
    from tests.servers.kubernetes import KubernetesServer

NAMESPACE = "models"
ARTIFACT = "llama"
MOUNT = "/cache/models"
BUNDLE = "/etc/test/ca.pem"
OPERATOR_SETS = {
    "AIM_DOWNLOADER_PROTOCOL": "XET,HF_TRANSFER",
    "TARGET_DIR": MOUNT,
    "MOUNT_PATH": MOUNT,
    "ARTIFACT_NAME": ARTIFACT,
    "ARTIFACT_NAMESPACE": NAMESPACE,
    "STALL_TIMEOUT": "120",
    "DU_TIMEOUT": "300",
    "HF_HOME": "/tmp/.hf",  # noqa: S108 - inside the container
    "TMPDIR": "/tmp/",  # noqa: S108 - as above
}


class Job:
    """One Job, its volume, its artifact, and its pods one after the other."""

    def __init__(
        self,
        containers: Containers,
        cluster: KubernetesServer,
        folder: Path,
        authority: Authority,
        user: str = OPERATOR,
    ) -> None:
        """`folder` takes what stands for the volume and for what the kubelet mounts."""
        cluster.create_artifact(NAMESPACE, ARTIFACT)
        self.cluster = cluster
        self.volume = volume(folder / "volume", user)
        self._containers = containers
        self._pod = Pod(cluster, folder / "account", namespace=NAMESPACE)
        self._termination_message = folder / "termination-log"
        self._bundle = authority.bundle
        self._user = user

    def start(self, uri: str, extra: Mapping[str, str] | None = None) -> Container:
        """Start a pod; `extra` is what a user adds to the environment."""
        self._termination_message.write_text("")
        self._termination_message.chmod(0o666)
        return self._containers.start(
            uri,
            user=self._user,
            environment={**self._pod.environment, **OPERATOR_SETS, "PROGRESS_INTERVAL": "0.2", **(extra or {})},
            mounts={
                self.volume: MOUNT,
                self._pod.service_account: "/var/run/secrets/kubernetes.io/serviceaccount:ro",
                self._termination_message: "/dev/termination-log",
                self._bundle: f"{BUNDLE}:ro",
            },
        )

    def run(self, uri: str, extra: Mapping[str, str] | None = None) -> Result:
        """Start a pod and wait for its end."""
        return self.start(uri, extra).result()

    @property
    def termination_message(self) -> str:
        """The termination message of the last pod."""
        return self._termination_message.read_text()

    @property
    def status(self) -> dict[str, Any]:
        """The artifact's status as it is now."""
        status: dict[str, Any] = self.cluster.artifact(NAMESPACE, ARTIFACT).get("status", {})
        return status
