"""A Job of the operator on any API server: pods that share a volume and an artifact, and everything its status was."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.command import Result, environment, finish, spawn
from tests.servers.kubernetes_pod import Pod
from tests.waiting import Stopwatch

if TYPE_CHECKING:
    import subprocess

    from tests.servers.kubernetes_pod import Cluster

ENTRYPOINT = Path(__file__).parents[2] / "entrypoint.sh"
PODS = 3
BACKOFF = 10 + 20
"""Seconds that the Job controller waits before the second and the third pod."""
POLL = 0.02


class Watch:
    """Polls an AIMArtifact; keeps every status that it saw, oldest first."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self._name = name
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.states: list[tuple[float, dict[str, Any]]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._take()

    def _look(self) -> None:
        while not self._over.wait(POLL):
            self._take()

    def _take(self) -> None:
        status = self._cluster.artifact("models", self._name).get("status", {})
        if not self.states or self.states[-1][1] != status:
            self.states.append((time.monotonic(), status))

    @property
    def progress(self) -> list[dict[str, Any]]:
        """What `status.progress` was, one after the other."""
        return [status.get("progress", {}) for _, status in self.states]


@dataclass
class Job:
    """A download Job and the check-size Job before it; each pod starts its entry point, as under the kubelet."""

    cluster: Cluster
    name: str
    folder: Path
    """Everything of this Job: entry points, ServiceAccount and volume."""
    uri: str
    settings: dict[str, str] = field(default_factory=dict)
    """What the operator and the RuntimeConfig say."""
    undisturbed: float = 0.0
    """Seconds that the last pod ran, on a machine that is not busy (`Stopwatch`)."""

    def __post_init__(self) -> None:
        self.cluster.create_artifact("models", self.name)
        self.folder.mkdir(parents=True)
        self.pod = Pod(self.cluster, self.folder / "serviceaccount")
        for entry_point in ("entrypoint.sh", "check-size.sh"):
            (self.folder / entry_point).symlink_to(ENTRYPOINT)

    @property
    def volume(self) -> Path:
        """The artifact's folder on its volume."""
        return self.folder / "volume"

    @property
    def status(self) -> dict[str, Any]:
        """The status now."""
        status: dict[str, Any] = self.cluster.artifact("models", self.name).get("status", {})
        return status

    @property
    def attempt(self) -> dict[str, Any]:
        """What it says of the attempt."""
        return {name: value for name, value in self.status["download"].items() if name != "message"}

    def run(self, **extra: str) -> Result:
        """Run one pod of the download Job to its end."""
        own = {
            **self.pod.environment,
            "AIM_SERVICE_ACCOUNT": str(self.pod.service_account),
            "ARTIFACT_NAME": self.name,
            "ARTIFACT_NAMESPACE": "models",
            "AIM_DOWNLOADER_PROTOCOL": "XET,HF_TRANSFER",
            "TARGET_DIR": str(self.volume),
            "HF_HOME": str(self.folder / "hf"),
        }
        began = Stopwatch()
        result = finish(self._start("entrypoint.sh", {**own, **self.settings, **extra}))
        self.undisturbed = began.undisturbed
        return result

    def check_size(self) -> Result:
        """Run a pod of the check-size Job, which is told nothing of the artifact but its filters and credentials."""
        return finish(self._start("check-size.sh", {"ARTIFACT_NAME": "", **self.settings}))

    def _start(self, entry_point: str, extra: dict[str, str]) -> subprocess.Popen[str]:
        path = os.pathsep.join((str(Path(__file__).parents[2] / ".venv/bin"), os.environ["PATH"]))
        return spawn(self.folder / entry_point, self.uri, env=environment({"PATH": path, **extra}))
