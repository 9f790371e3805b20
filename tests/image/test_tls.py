"""The tests of TLS once more, on the Python of the image: what it asks of a certificate changes with its version.

So does what the API server's client asks, whose CA is the cluster's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.adversarial.test_tls import *  # noqa: F403 - the same tests, with the image in the place of the command
from tests.command import model
from tests.image.job import ARTIFACT, NAMESPACE, Job
from tests.servers.certificates import OldAuthority
from tests.servers.kubernetes import KubernetesServer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.adversarial.test_tls import Download
    from tests.command import Result
    from tests.image.container import Containers
    from tests.servers.certificates import Authority
    from tests.servers.hub import Hub

ROOT = "0:0"
"""Who may read the folders of pytest."""


@pytest.fixture  # type: ignore[no-redef]
def download(containers: Containers, tmp_path_factory: pytest.TempPathFactory) -> Download:
    """Runs the image, which finds everything under the same paths."""
    base = tmp_path_factory.getbasetemp()

    def run(uri: str, target: Path, extra: Mapping[str, str]) -> Result:
        environment = {"STALL_TIMEOUT": "30", "TARGET_DIR": str(target), **extra}
        return containers.run(uri, user=ROOT, environment=environment, mounts={base: str(base)})

    return run


def test_a_cluster_whose_ca_is_old_gets_the_status(
    containers: Containers, authority: Authority, hub: Hub, tmp_path: Path
) -> None:
    with KubernetesServer(OldAuthority(tmp_path / "old")) as cluster:
        (tmp_path / "job").mkdir()
        job = Job(containers, cluster, tmp_path / "job", authority)
        hub.create("org/small").commit({"config.json": b"{}"})
        result = job.run("hf://org/small", {"HF_ENDPOINT": hub.endpoint, "AIM_CA_BUNDLE": "/etc/test/ca.pem"})
        assert result.status == 0, result.stderr
        assert model(job.volume) == {"config.json": b"{}"}
        assert cluster.artifact(NAMESPACE, ARTIFACT)["status"]["progress"]["percentage"] == 100
