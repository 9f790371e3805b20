"""A pod with an AIMArtifact, and its reporter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from downloader.reporters.kubernetes import ClusterAccess, KubernetesReporter
from tests.contract.status_runs import FAILED, report_to
from tests.servers.kubernetes_pod import Pod

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.kubernetes import KubernetesServer


@pytest.fixture(scope="session", autouse=True)
def _client() -> None:
    """What a reporter's thread imports first: on a busy machine that alone may outlast the timeout of a test."""
    import downloader.reporters.kubernetes.client  # noqa: F401, PLC0415


@pytest.fixture
def api(kubernetes: KubernetesServer) -> KubernetesServer:
    """An API server that has the AIMArtifact `llama`."""
    kubernetes.create_artifact("models", "llama")
    return kubernetes


@pytest.fixture
def pod(api: KubernetesServer, tmp_path: Path) -> Pod:
    """The pod that downloads it."""
    return Pod(api, tmp_path / "serviceaccount")


@pytest.fixture
def access(api: KubernetesServer, pod: Pod) -> ClusterAccess:
    """Its way to the API server."""
    return ClusterAccess(
        host=api.host,
        port=api.port,
        namespace="models",
        name="llama",
        interval=0.05,
        service_account=pod.service_account,
    )


@pytest.fixture
def reporter(access: ClusterAccess, api: KubernetesServer) -> Iterator[KubernetesReporter]:
    """Its reporter; it is closed after the test."""
    reporter = report_to(access)
    yield reporter
    api.behave()
    reporter.close(FAILED)
