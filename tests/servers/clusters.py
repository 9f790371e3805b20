"""The API servers that a test can run on: our own always, a real one where KUBEBUILDER_ASSETS is set."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.servers.certificates import Authority
from tests.servers.envtest import Envtest, assets
from tests.servers.kubernetes import KubernetesServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.kubernetes_pod import Cluster

OURS, REAL = "our server", "kube-apiserver"
KINDS = [OURS] if assets() is None else [OURS, REAL]


@contextmanager
def start(kind: str, folder: Path, *, newest: bool = True) -> Iterator[Cluster]:
    """Run an API server with the CRD and RBAC of the operator for as long as the block lasts."""
    authority = Authority(folder / "authority")
    binaries = assets()
    if kind == REAL and binaries is not None:
        with Envtest(binaries, folder / "envtest", authority, newest=newest) as real:
            yield real
    else:
        with KubernetesServer(authority, newest=newest) as ours:
            yield ours
