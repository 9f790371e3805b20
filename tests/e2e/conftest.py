"""What a run has around it: a cluster whose AIMArtifact it patches, a mirror near by, and who signs with a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.canaries import TOKEN, Mine
from tests.servers.broken import BrokenWeb
from tests.servers.kubernetes_pod import Pod
from tests.signing.signers import KeyOwner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.hub import Hub
    from tests.servers.kubernetes import KubernetesServer
    from tests.servers.repository import Repository


@dataclass
class Watched:
    """A pod, its artifact, and what the status has said."""

    api: KubernetesServer
    pod: Pod
    name: str = "llama"

    @property
    def environment(self) -> dict[str, str]:
        """What the command needs to patch the status."""
        return {
            **self.pod.environment,
            "ARTIFACT_NAME": self.name,
            "ARTIFACT_NAMESPACE": "models",
            "AIM_SERVICE_ACCOUNT": str(self.pod.service_account),
        }

    @property
    def status(self) -> dict[str, Any]:
        """The status now."""
        found: dict[str, Any] = self.api.artifact("models", self.name).get("status", {})
        return found

    def messages(self) -> list[str]:
        """Return everything that `download.message` ever said."""
        return [state.get("download", {}).get("message", "") for state in self.api.history("models", self.name)]

    def wait_for_message(self, words: str) -> None:
        """Return once `download.message` has held these words."""
        self.api.wait_for(lambda: any(words in message for message in self.messages()))


@pytest.fixture
def watched(kubernetes: KubernetesServer, tmp_path: Path) -> Watched:
    """An artifact that the command is told to report to."""
    kubernetes.create_artifact("models", "llama")
    return Watched(kubernetes, Pod(kubernetes, tmp_path / "serviceaccount"))


@pytest.fixture
def mine(watched: Watched, tmp_path: Path) -> Mine:
    """Where a run with secrets works, and where one could be found afterwards."""
    (tmp_path / "mine").mkdir()
    return Mine(tmp_path / "mine", watched)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache of the Hub's library that does not exist yet."""
    return tmp_path / "cache"


@pytest.fixture
def repository(hub: Hub, request: pytest.FixtureRequest) -> Repository:
    """The repository org/model with one commit: the FILES of the test's module."""
    repository = hub.create("org/model")
    repository.commit(request.module.FILES)
    return repository


@pytest.fixture
def stocked(hub: Hub, request: pytest.FixtureRequest) -> Hub:
    """A Hub that knows the canary as a token, and has the FILES of the test's module in org/model."""
    hub.tokens[TOKEN] = "alice"
    hub.create("org/model").commit(request.module.FILES)
    return hub


@pytest.fixture
def near() -> Iterator[BrokenWeb]:
    """A web server near by; a test puts files on it."""
    with BrokenWeb() as server:
        yield server


@pytest.fixture
def owner(tmp_path: Path) -> KeyOwner:
    """Signs models with a key."""
    return KeyOwner(tmp_path / "keys")
